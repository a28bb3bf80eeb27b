"""Command line: one command a file, none of which imports torch before it runs."""

from bayesjoint.cli.entry import main

__all__ = ["main"]
