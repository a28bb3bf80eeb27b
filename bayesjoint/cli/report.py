"""``bayesjoint report``: one HTML page of a run."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import shtab

from bayesjoint.cli import options as given
from bayesjoint.cli.folder import Folder

__all__ = ["add", "run"]

DESCRIPTION = """\
Write one HTML page of a run that needs nothing else: verdicts, parameters, pictures, how to do it again, what to cite.
The images are read again, from where they were.
"""
EPILOG = """\
examples:
  bayesjoint report run/                     run/report.html
  bayesjoint report run/ --out ngc1234.html
  bayesjoint report run/ --json              parameters, verdicts and files of the run, for scripts
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = given.command(commands, "report", run, "one HTML page of a run", DESCRIPTION, EPILOG)
    parser.add_argument("folder", type=pathlib.Path, metavar="RUN", help="what demo or fit wrote").complete = shtab.DIRECTORY
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE.html", help="where to write it (default RUN/report.html)").complete = shtab.FILE
    given.speech(parser)


def run(options: argparse.Namespace) -> int:
    """Run it."""
    out = options.out or options.folder / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out is to be an HTML file, and {str(out)!r} came.")
    made = Folder(options.folder)
    from bayesjoint.cli.summary import say, summary
    from bayesjoint.report import report

    post, best = made.post, made.best
    if post is not None:
        post.scene = best.scene
    report(post or best, out, fit=best, command=made.command)
    if options.json:
        say(summary(best, post, [out], command=made.command))
    elif not options.quiet:
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB.")
    return 0
