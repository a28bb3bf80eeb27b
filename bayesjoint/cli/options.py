"""Options: what several commands take."""

from __future__ import annotations

import argparse
import contextlib
import math
import pathlib
import re
from typing import Any

import shtab

from bayesjoint.cli.files import beta

__all__ = ["COMPANIONS", "check_sampling", "command", "files", "sampling", "speech", "told"]


def command(commands: Any, name: str, run: Any, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Add a command that calls `run`; its description and examples stand as they are written."""
    made = commands.add_parser(name, help=help, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.set_defaults(run=run)
    return made


def speech(parser: argparse.ArgumentParser, quiet: str = "no warnings, no words") -> None:
    """Add what a command says, and how."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, for scripts, in place of words")
    parser.add_argument("--quiet", action="store_true", help=quiet)


def sampling(parser: argparse.ArgumentParser, draws: int, out: str) -> None:
    """Add how to sample, and where to write."""
    parser.add_argument(
        "--sampler",
        choices=("nuts", "svi", "laplace", "none"),
        default="nuts",
        help="how to sample the posterior (default nuts; laplace: seconds; none: the fit alone)",
    )
    parser.add_argument("--draws", type=int, default=draws, help="draws a chain (default %(default)s)")
    parser.add_argument("--warmup", type=int, help="warm-up steps a chain (default: 30, and 100 where the posterior is far from Normal)")
    parser.add_argument("--chains", type=int, default=4, help="chains of nuts (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default %(default)s)")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path(out), help=f"folder of the results (default {out}/)"
    ).complete = shtab.DIRECTORY
    parser.add_argument(
        "--checkpoint",
        type=pathlib.Path,
        help="folder in which nuts keeps its chains as they grow; a run that was stopped goes on from there (with --overwrite)",
    ).complete = shtab.DIRECTORY
    parser.add_argument("--overwrite", action="store_true", help="put the results in the place of an earlier run's in that folder")
    parser.add_argument("--strict", action="store_true", help="exit status 3 where the posterior has not converged, too, as where the fit has not")
    parser.add_argument(
        "--force",
        action="store_true",
        help="sample although the fit has not converged, or is singular at a bound; else its results alone are written",
    )
    speech(parser, "no progress bars, no warnings, no summary")


def check_sampling(options: argparse.Namespace) -> None:
    """Refuse what sampling cannot do with, before anything is read.

    Raises
    ------
    ValueError
        For a number that is too small, or a checkpoint of what keeps none.
    """
    for name, least in (("draws", 1), ("chains", 1), ("warmup", 0), ("seed", 0)):
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}; got {getattr(options, name)}. Give a larger number.")
    if options.checkpoint is not None and options.sampler != "nuts":
        raise ValueError(f"--checkpoint is for --sampler nuts; got {options.sampler}. Leave it out, or sample with nuts.")


COMPANIONS = ("sigma", "variance", "ivar", "mask", "psf")
"""Arguments of `bayesjoint.Image.read` that the command line takes as paths."""


def files(parser: argparse.ArgumentParser) -> None:
    """Add what may be said of files: bands, names, zeropoints, scale, noise, mask, PSF."""
    parser.add_argument("--bands", help="band of each file, in order, joined by commas")
    parser.add_argument("--names", help="name of each image, in order, joined by commas")
    parser.add_argument("--zeropoint", help="AB magnitude of one unit: one number for all files, or one a file joined by commas")
    parser.add_argument("--pixel-scale", help="arcsec per pixel, for files without a WCS: one for all, or one a file joined by commas")
    where = "PATH for all images, one an image in order (joined by commas, or the option again), or NAME=PATH; [EXTENSION] may follow a path"
    for name, what in (("sigma", "standard deviation of pixels"), ("variance", "variance"), ("ivar", "inverse variance")):
        parser.add_argument(f"--{name}", action="append", metavar="PATH", help=f"{what}: a file or a number; {where}")
    parser.add_argument("--mask", action="append", metavar="PATH", help=f"mask, non-zero or its bad bits ignored: {where}; none: ignore the files' masks")
    parser.add_argument("--bad-bits", metavar="LIST", help="bits of masks that are bad, joined by commas: names of planes, and numbers counted from 0")
    parser.add_argument(
        "--psf",
        action="append",
        metavar="{file,none,moffat,moffat:BETA,PATH}",
        help="none: ignore the files' PSF; moffat: a Moffat function of the same FWHM in its place, BETA 2.5 unless said (for a PSF with negative wings); "
        f"else a file: {where} (./none is a file)",
    )
    parser.add_argument("--psf-oversampling", type=float, metavar="N", help="samples a pixel of PSFs whose files do not say it (any number, 4 or 2.5)")
    parser.add_argument("--estimate-noise", action="store_true", help="measure the noise from the pixels instead of reading it")


def told(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each file, with what the options say of it: arguments of `bayesjoint.Image.read`; none where no file is named.

    Raises
    ------
    ValueError
        For lists of another length than the files', for words where numbers belong, and for names of no image.
    """
    for word in options.psf or ():
        if word.startswith("moffat"):
            beta(word)
    if not options.files:
        return []
    out: list[dict[str, Any]] = [{"file": f} for f in options.files]
    for name, key, kind in (("bands", "band", str), ("names", "name", str), ("zeropoint", "zeropoint", float), ("pixel_scale", "pixel_scale", float)):
        given = getattr(options, name)
        if given is None:
            continue
        option, values = f"--{name.replace('_', '-')}", [v.strip() for v in given.split(",")]
        if len(values) == 1 and kind is float:
            values *= len(out)
        if len(values) != len(out):
            raise ValueError(
                f"{option} must name one a file, {len(out)} joined by commas; got {len(values)}. Give "
                "as many as there are files."
            )
        for one, value in zip(out, values, strict=True):
            one[key] = value if kind is str else _number(option, value)
    for key in COMPANIONS:
        for one, value in zip(out, _shared(key, getattr(options, key), out), strict=True):
            if value is not None and not (key == "psf" and value == "file"):
                one[key] = _companion(key, value)
    samples, bits = options.psf_oversampling, options.bad_bits
    if samples is not None and not 0 < samples < math.inf:
        raise ValueError(f"--psf-oversampling must be positive; got {samples:g}. Give samples a pixel.")
    with_psf = [one for one in out if isinstance(one.get("psf"), str) and not one["psf"].startswith("moffat")]
    with_psf = with_psf or [one for one in out if "psf" not in one]
    if samples is not None and not with_psf:
        raise ValueError("--psf-oversampling must come with a PSF of a file; got --psf none or moffat. Leave one of them out.")
    chosen = None if bits is None else [b for b in (t.strip() for t in bits.split(",")) if b]
    if chosen == []:
        raise ValueError(f"--bad-bits must name planes of masks, or bits from 0; got {bits!r}. Give for example --bad-bits SAT,8.")
    for one in out:
        if samples is not None and one in with_psf:
            one["psf_oversampling"] = samples
        if chosen is not None:
            one["bad_bits"] = [int(b) if b.isdigit() else b for b in chosen]
        if options.estimate_noise:
            one["variance"] = "estimate"
        noises = [f"--{k}" for k in ("sigma", "variance", "ivar") if k in one and one[k] != "estimate"] + ["--estimate-noise"] * options.estimate_noise
        if len(noises) > 1:
            raise ValueError(f"The noise of {one['file']} must be given once; got {' and '.join(noises)}. Leave one of them out.")
    return out


def _shared(key: str, given: list[str] | None, out: list[dict[str, Any]]) -> list[str | None]:
    """What an option says of each file: one for all, one a file in order, or by name."""
    option, values = f"--{key}", [v for text in given or () for v in _split(text)]
    if not values:
        return [None] * len(out)
    pairs = [None if _is_file(v) else re.match(r"^([^=\[\]]+)=(.+)$", v, re.S) for v in values]
    if all(pairs):
        return _named(option, {m[1]: m[2] for m in pairs if m}, out)
    if any(pairs):
        raise ValueError(f"{option} must name all images, NAME=PATH, or none; got {', '.join(values)}. Give one form.")
    if len(values) == 1:
        return values * len(out)
    if len(values) != len(out):
        raise ValueError(f"{option} must be one for all images or one an image ({len(out)}); got {len(values)}. Give as many as there are images, or NAME=PATH.")
    return list(values)


def _named(option: str, by_name: dict[str, str], out: list[dict[str, Any]]) -> list[str | None]:
    """What is given by an image's name, band or file, in the order of the files."""
    from bayesjoint.cli.files import labels

    found, left = [], set(by_name)
    for one in out:
        mine = [n for n in by_name if n in labels(one)]
        if len(mine) > 1:
            raise ValueError(f"{option} must be given once an image; got {' and '.join(mine)} for {one['file']}. Leave one of them out.")
        found.append(by_name[mine[0]] if mine else None)
        left -= set(mine)
    if left:
        names = ", ".join(dict.fromkeys(n for one in out for n in sorted(labels(one))))
        raise ValueError(f"{option} must name one of the images: {names}; got {sorted(left)[0]!r}. Use one of these names.")
    return found


def _companion(key: str, value: str) -> Any:
    """A path, a number for the noise, or None for what is to be ignored.

    Raises
    ------
    ValueError
        For what is no file.
    """
    if key in ("psf", "mask") and value == "none":
        return None
    if key == "psf" and value.startswith("moffat"):
        return value
    if key in ("sigma", "variance", "ivar"):
        with contextlib.suppress(ValueError):
            return float(value)
    if "://" not in value and not _is_file(value):
        words = {"psf": "file, none, moffat, moffat:BETA or the path of a file", "mask": "none or the path of a file"}
        raise ValueError(f"--{key} must be {words.get(key, 'a number or the path of a file')}; got {value!r}, which is no file. Check the path.")
    return value


def _is_file(path: str) -> bool:
    """Whether a path, which may name an extension, is that of a file."""
    file = re.sub(r"(\[[^\[\]]*\])+$", "", path)
    return any(pathlib.Path(f).expanduser().is_file() for f in (path, file))


def _number(option: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        number = float(text)
        if math.isfinite(number):
            return number
    raise ValueError(f"{option} must be numbers; got {text!r}. Give one for all files, or one a file joined by commas.")


def _split(text: str) -> list[str]:
    """Parts of a list that are joined by commas outside of brackets; a file whose name holds commas is one."""
    if pathlib.Path(text).expanduser().exists():
        return [text]
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]
