"""``bayesjoint info``: what FITS files are taken for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import shtab

from bayesjoint.cli import options as given
from bayesjoint.cli.files import read

if TYPE_CHECKING:
    from bayesjoint.images import Image

__all__ = ["add", "run"]

DESCRIPTION = """\
Say what FITS files are taken for: shape, scale, place, noise, mask, PSF, zeropoint. What is missing is said as in a fit.
"""
EPILOG = """\
examples:
  bayesjoint info r.fits
  bayesjoint info *.fits --json | jq '.images[] | [.name, .zeropoint_ab]'
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = given.command(commands, "info", run, "what a FITS file is taken for", DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE.fits", help="images").complete = shtab.FILE
    given.speech(parser, "no warnings")


def run(options: argparse.Namespace) -> int:
    """Run it."""
    told = [{"file": f} for f in options.files]
    found = [{"file": f} | _what(im) for f, im in zip(options.files, read(told), strict=True)]
    if options.json:
        from bayesjoint.cli.summary import say

        say({"images": found})
        return 0
    for one in found:
        print(one.pop("file"))
        for key, value in one.items():
            shown = f"{value:.6g}" if isinstance(value, float) else value
            print(f"  {key:<20} {'not known' if value is None else shown}")
    return 0


def _what(im: Image) -> dict[str, Any]:
    middle = im.placement.sky_middle
    return {
        "name": im.name,
        "band": im.band,
        "shape": list(im.shape),
        "pixel_scale_arcsec": im.pixel_scale,
        "ra_deg": None if middle is None else float(middle.ra.deg),
        "dec_deg": None if middle is None else float(middle.dec.deg),
        "zeropoint_ab": im.zeropoint,
        "psf_fwhm_arcsec": None if im.psf is None else im.psf.fwhm * im.pixel_scale,
        "sigma": im.typical_sigma,
        "masked": int(im.mask.sum()),
        "epoch_mjd": im.epoch,
        "gain": im.gain,
    }
