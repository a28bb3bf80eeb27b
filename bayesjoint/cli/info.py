"""``bayesjoint info``: what FITS files are taken for, what was decided about them, and what they lack."""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import shtab

from bayesjoint.cli import options as given
from bayesjoint.cli.files import translated

if TYPE_CHECKING:
    from bayesjoint.images import Image

__all__ = ["add", "run"]

DESCRIPTION = """\
Say what FITS files are taken for: shape, scale, place, noise, mask, PSF, zeropoint; what was decided and why; and all that they
lack, with the option of fit that supplies it. Of several files a table, with what may be wrong below it. The options of fit for
files (--sigma, --mask, --psf, --bad-bits, ...) may be tried here first.
"""
EPILOG = """\
examples:
  bayesjoint info r.fits
  bayesjoint info 'flc.fits[SCI,2]'
  bayesjoint info *.fits
  bayesjoint info r.fits --psf r.psf --mask r_mask.fits --bad-bits SAT,8
  bayesjoint info *.fits --json | jq '.images[] | [.name, .zeropoint_ab]'

exit status: 0 where all files can be read; 2 where one cannot, said on standard error.
"""

STAND_IN: dict[str, tuple[str, float]] = {"noise": ("sigma", 1.0), "place": ("pixel_scale", 1.0)}
NUMBERS = {"noise": ("sigma",), "place": ("pixel_scale_arcsec", "psf_fwhm_arcsec")}
"""What that number goes into, of what is said."""
NAMES = {"place": "WCS"}
REMEDIES = {
    "noise": "an extension VAR, ERR or IVAR; else --sigma, --variance or --ivar, or --estimate-noise",
    "place": "a celestial WCS or the keyword PIXSCALE, or --pixel-scale",
    "PSF": "an extension PSF, or --psf; without one the model is integrated over pixels, and not blurred",
    "zeropoint": "the keyword MAGZERO or a unit of flux, or --zeropoint; without one fluxes are in image units",
    "mask": "an extension MASK or DQ, or --mask; without one only pixels that are not finite or have no variance are ignored",
}
COLUMNS = (
    ("file", "{}"), ("band", "{}"), ("pixels", "{}"), ("scale", "{:.4g}"), ("zeropoint", "{:.3f}"), ("FWHM", "{:.3g}"), ("sigma", "{:.3g}"),
    ("masked", "{:.1%}"), ("lacks", "{}"),
)  # fmt: skip
"""Of the table of several files, with their formats; scale and FWHM in arcsec."""


def add(commands: Any) -> None:
    """Add the command."""
    parser = given.command(commands, "info", run, "what a FITS file is taken for", DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE.fits", help="images").complete = shtab.FILE
    given.files(parser)
    given.speech(parser, "no warnings")


def run(options: argparse.Namespace) -> int:
    """Run it."""
    found = [{"file": one["file"]} | _tried(one) for one in given.told(options)]
    refused = [f for f in found if "error" in f]
    if options.json:
        from bayesjoint.cli.summary import say

        say({"images": found})
    elif len(found) == 1 and not refused:
        _print_one(found[0])
    elif len(found) > 1:
        _print_table(found)
    for one in refused:
        print(f"bayesjoint: {one['file']}: {one['error']}", file=sys.stderr)
    return 2 if refused else 0


def _tried(one: dict[str, Any]) -> dict[str, Any]:
    """What a file is taken for, or why it cannot be read."""
    try:
        return _what(one)
    except (ValueError, TypeError, OSError, ImportError) as e:
        return {"error": " ".join(translated(str(e)).split())}


def _what(one: dict[str, Any]) -> dict[str, Any]:
    """What a file is taken for, and what it lacks; where an image cannot be without that, a number stands in for it."""
    from bayesjoint.cli.files import beta
    from bayesjoint.images.readers.reading import examine, image_of

    arguments = {k: v for k, v in one.items() if k != "file"}
    word = arguments.get("psf")
    slope = beta(arguments.pop("psf")) if isinstance(word, str) and word.startswith("moffat") else None
    reading = examine(one["file"], **arguments)
    lacking = list(reading.missing)
    for what in lacking:
        key, value = STAND_IN[what]
        arguments[key] = reading.arguments[key] = value
    im = image_of(reading, arguments)
    if slope is not None and im.psf is not None:
        im = im.replace(psf=im.psf.as_moffat(slope))
    known = _known(im) | {name: None for what in lacking for name in NUMBERS[what]}
    has_mask = "mask" in one or any(d.about == "mask" for d in reading.decisions)
    lacking += [k for k, there in (("PSF", im.psf is not None), ("zeropoint", im.zeropoint is not None), ("mask", has_mask)) if not there]
    if im.psf is not None and im.psf.varies:
        low, high = im.psf.fwhm_range(im.shape)
        known["psf_varies"] = f"FWHM {low * im.pixel_scale:.4g} to {high * im.pixel_scale:.4g} arcsec over the image"
    return known | {
        "reader": reading.family,
        "decisions": [{"about": d.about, "text": translated(d.text), "warning": d.warning} for d in im.decisions],
        "missing": [{"what": NAMES.get(k, k), "needed": k in STAND_IN, "remedy": REMEDIES[k]} for k in lacking],
    }


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


def _print_one(one: dict[str, Any]) -> None:
    """All that is known of one file."""
    one = dict(one)
    print(one.pop("file"))
    missing, decisions = one.pop("missing"), one.pop("decisions")
    for key, value in one.items():
        shown = f"{value:.6g}" if isinstance(value, float) else value
        print(f"  {key:<20} {'not known' if value is None else shown}")
    if decisions:
        print("  decided")
    for d in decisions:
        print(f"    {'! ' if d['warning'] else '  '}{d['about']}: {d['text']}")
    for lack in missing:
        print(f"  no {lack['what'] + ':':<17} {'NEEDED' if lack['needed'] else 'optional'}; {lack['remedy']}")


def _print_table(found: list[dict[str, Any]]) -> None:
    """A line a file; below it, what may be wrong."""
    rows = [[name for name, _ in COLUMNS]]
    for one in found:
        name = pathlib.PurePath(one["file"]).name
        if "error" in one:
            rows.append([name, "cannot be read", *[""] * (len(COLUMNS) - 2)])
            continue
        ny, nx = one["shape"]
        lacks = [m["what"] + ("!" if m["needed"] else "") for m in one["missing"]]
        values = (
            name, one["band"], f"{nx}x{ny}", one["pixel_scale_arcsec"], one["zeropoint_ab"], one["psf_fwhm_arcsec"], one["sigma"],
            one["masked"] / (nx * ny), ", ".join(lacks) or "-",
        )  # fmt: skip
        rows.append(["-" if v is None else form.format(v) for v, (_, form) in zip(values, COLUMNS, strict=True)])
    widths = [max(len(r[k]) for r in rows) for k in range(len(COLUMNS))]
    for r in rows:
        print("  ".join(text.ljust(w) for text, w in zip(r, widths, strict=True)).rstrip())
    for one in found:
        for d in one.get("decisions", ()):
            if d["warning"]:
                print(f"! {pathlib.PurePath(one['file']).name}: {d['about']}: {d['text']}")
