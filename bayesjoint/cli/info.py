"""``bayesjoint info``: what FITS files are taken for."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

import shtab

from bayesjoint.cli import options as given
from bayesjoint.cli.files import read_one

if TYPE_CHECKING:
    from bayesjoint.images import Image

__all__ = ["add", "run"]

DESCRIPTION = """\
Say what FITS files are taken for: shape, scale, place, noise, mask, PSF, zeropoint; and all that they lack, with the option of
fit that supplies it.
"""
EPILOG = """\
examples:
  bayesjoint info r.fits
  bayesjoint info *.fits --json | jq '.images[] | [.name, .zeropoint_ab]'
"""

STAND_IN: dict[str, tuple[str, float]] = {"noise": ("sigma", 1.0), "place": ("pixel_scale", 1.0)}
NUMBERS = {"noise": ("sigma",), "place": ("pixel_scale_arcsec", "psf_fwhm_arcsec")}
"""What that number goes into, of what is said."""
NAMES = {"place": "WCS"}
REMEDIES = {
    "noise": "an extension VAR, ERR, IVAR or WHT, or --estimate-noise",
    "place": "a celestial WCS or the keyword PIXSCALE, or --pixel-scale",
    "PSF": "an extension PSF; without one the model is integrated over pixels, and not blurred",
    "zeropoint": "the keyword MAGZERO, or --zeropoint; without one fluxes are in image units",
    "mask": "an extension MASK or DQ; without one only pixels that are not finite or have no variance are ignored",
}


def add(commands: Any) -> None:
    """Add the command."""
    parser = given.command(commands, "info", run, "what a FITS file is taken for", DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE.fits", help="images").complete = shtab.FILE
    given.speech(parser, "no warnings")


def run(options: argparse.Namespace) -> int:
    """Run it."""
    found = [{"file": f} | _what(f) for f in options.files]
    if options.json:
        from bayesjoint.cli.summary import say

        say({"images": found})
        return 0
    for one in found:
        print(one.pop("file"))
        missing = one.pop("missing")
        for key, value in one.items():
            shown = f"{value:.6g}" if isinstance(value, float) else value
            print(f"  {key:<20} {'not known' if value is None else shown}")
        for lack in missing:
            print(f"  no {lack['what'] + ':':<17} {'NEEDED' if lack['needed'] else 'optional'}; {lack['remedy']}")
    return 0


def _what(file: str) -> dict[str, Any]:
    """What a file is taken for, and what it lacks; where an image cannot be without that, a number stands in for it."""
    from bayesjoint.images.reading import Missing

    lacking: list[str] = []
    while True:
        try:
            im = read_one({"file": file} | dict(STAND_IN[what] for what in lacking))
            break
        except Missing as e:
            lacking.append(e.what)
        except ValueError as e:
            raise ValueError(f"{file}: {e}") from e
    known = _known(im) | {name: None for what in lacking for name in NUMBERS[what]}
    lacking += [k for k, there in (("PSF", im.psf is not None), ("zeropoint", im.zeropoint is not None), ("mask", _has_mask(file))) if not there]
    return known | {"missing": [{"what": NAMES.get(k, k), "needed": k in STAND_IN, "remedy": REMEDIES[k]} for k in lacking]}


def _has_mask(file: str) -> bool:
    from astropy.io import fits

    from bayesjoint.images.reading import MASKS

    with fits.open(pathlib.Path(file).expanduser() if "://" not in file else file) as hdus:
        return any(h.name.upper() in MASKS for h in hdus[1:])


def _known(im: Image) -> dict[str, Any]:
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
