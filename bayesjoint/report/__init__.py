"""Report: one page that says what was fitted, how well, and how to do it again."""

from bayesjoint.report.report import report

__all__ = ["report"]
