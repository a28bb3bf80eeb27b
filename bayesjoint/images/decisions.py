"""Decision: one thing that reading a file decided, and why; printed by ``bayesjoint info``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True)
class Decision:
    """One thing that was decided about an image while its file was read.

    Parameters
    ----------
    about : {"pixels", "noise", "mask", "zeropoint", "place", "band", "PSF", "epoch", "gain"}
        What it concerns.
    text : str
        What was decided and why, as a short sentence without a final stop: ``"31.4 from BUNIT nJy"``.
    warning : bool
        Whether it may make a number wrong: it is then logged as a warning when the image is read.
    """

    about: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"
