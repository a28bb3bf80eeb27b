"""Files: images read as a command line or a ``run.yaml`` says."""

from __future__ import annotations

import contextlib
import logging
import math
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bayesjoint.log import log

if TYPE_CHECKING:
    from bayesjoint.images import Image

__all__ = [
    "absolute", "beta", "labels", "read", "read_one", "speaking_of_options", "translated",
]  # fmt: skip

BETA = 2.5
"""Of a Moffat function, where nothing else is said."""
ARGUMENTS = (
    (r",? or wcs=(?! or)", ""), (r", center= or origin=", ""),
    (r"variance='estimate'", "--estimate-noise"),
    (r"or move the image by \.shifted\(dx, dy\)", "or add a Shift to the --scene"),
    (r"move the image by \.shifted\(dx, dy\)", "add a Shift to the --scene"),
    (r"\bwcs= or pixel_scale=", "--pixel-scale"), (r"\bpixel_scale\b=?", "--pixel-scale "),
    (r"\bzeropoint=", "--zeropoint "), (r"\boversampling=", "--psf-oversampling "), (r"\bsigma=", "--sigma "),
    (r"\bvariance=", "--variance "), (r"\bivar=", "--ivar "),
    (r"\bmask=None", "--mask none"), (r"\bmask=", "--mask "),
    (r"; got psf=(None|a \w+)\. Give psf=bj\.PSF\(array, oversampling=\.\.\.\) instead", ". Give --psf PATH"),
    (r"\bpsf_oversampling\b=?", "--psf-oversampling "), (r"(?<![\w-])oversampling must", "--psf-oversampling must"),
    (r"\bpsf=None", "--psf none"), (r"\bpsf=", "--psf "), (r"\bbad_bits\b=?", "--bad-bits "),
    (r"\bbands?=", "--bands "), (r"\bname=", "--names "), (r"\bwcs=", "--pixel-scale "),
)  # fmt: skip
"""Arguments of `bayesjoint.Image.read` that messages speak of, and the command line's options for them."""


def translated(message: str) -> str:
    """A message of the package, its arguments named as options of the command line."""
    for argument, option in ARGUMENTS:
        message = re.sub(argument, option, message)
    return re.sub(r"(--[\w-]+) (?=[\s.,;:)]|$)", r"\1", message)


@contextlib.contextmanager
def speaking_of_options() -> Iterator[None]:
    """Name arguments as options of the command line in what is raised and logged."""

    def translate(record: logging.LogRecord) -> bool:
        record.msg, record.args = translated(record.getMessage()), None
        return True

    log.addFilter(translate)
    try:
        yield
    except ValueError as e:
        raise ValueError(translated(str(e))) from e
    finally:
        log.removeFilter(translate)


def read(told: Sequence[Mapping[str, Any]]) -> list[Image]:
    """Images of files; those of one name in different folders are told apart by their folders.

    Parameters
    ----------
    told : sequence of mapping
        ``file``, and arguments of `bayesjoint.Image.read` that replace what the file says; a `psf` may be ``"moffat"`` or ``"moffat:BETA"``.

    Raises
    ------
    ValueError, OSError
        For a file that is not there or lacks something; the sentence begins with its name.
    """
    files, images = [one["file"] for one in told], []
    for one in told:
        try:
            images.append(read_one(one))
        except ValueError as e:
            if str(e).startswith("Nothing is left") and len(told) > 1:
                log.warning(f"{one['file']}: left out, for it has no data: {e}")
                images.append(None)
                continue
            raise ValueError(f"{one['file']}: {translated(str(e))}") from e
    left = [(f, im) for f, im in zip(files, images, strict=True) if im is not None]
    if not left:
        raise ValueError(f"None of the {len(files)} files has data: all their pixels are masked. Check masks and noise with bayesjoint info.")
    files, images = [f for f, _ in left], [im for _, im in left]
    names = [im.name for im in images]
    for k, path in enumerate(files):
        if names.count(names[k]) > 1 and len(set(files)) == len(files):
            images[k] = images[k].replace(name=f"{pathlib.Path(path).resolve().parent.name}_{names[k]}")
    return images


def read_one(one: Mapping[str, Any]) -> Image:
    """One of them; what is said on the way begins with the file's name."""
    from bayesjoint.images import Image

    arguments = {k: v for k, v in one.items() if k != "file"}
    word = one.get("psf")
    slope = beta(arguments.pop("psf")) if isinstance(word, str) and word.startswith("moffat") else None
    with _named(one["file"], deaf=slope is not None):
        image = Image.read(one["file"], **arguments)
        if slope is None:
            return image
        if image.psf is None:
            raise ValueError(
                "there is no PSF whose width --psf moffat could take. Leave it out, or add an "
                "extension PSF."
            )
        return image.replace(psf=image.psf.as_moffat(slope))


def labels(one: Mapping[str, Any]) -> set[str]:
    """What a file may be called by on the command line: its path, name, stem, and the name and band of its image."""
    from bayesjoint.images.files import opened, stem_of
    from bayesjoint.images.readers.bands import band_of

    path = str(one["file"])
    names = {path, pathlib.PurePath(path).name, stem_of(path), one.get("name"), one.get("band")}
    if one.get("band") is None:
        with contextlib.suppress(OSError, ValueError), opened(path) as file:
            for plane in file.planes:
                if plane.is_image or plane.index == 0:
                    names.add(band_of(plane.header, file.primary.header, file.stem)[0])
    return {n for n in names if n}


def beta(psf: str) -> float:
    """The slope that ``moffat`` or ``moffat:BETA`` names.

    Raises
    ------
    ValueError
        For another word, or a slope that is not above 1.
    """
    word, _, number = psf.partition(":")
    try:
        slope = float(number) if number else BETA
    except ValueError:
        slope = math.nan
    if word != "moffat" or psf == "moffat:" or not 1 < slope < math.inf:
        raise ValueError(
            "--psf must be file, none, moffat, moffat:BETA with BETA above 1, or the path of a file; "
            f"got {psf!r}. Give one of these."
        )
    return slope


def absolute(told: Sequence[Mapping[str, Any]], folder: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """The same with whole paths, from `folder` on (default, where the process is), those of companions too; addresses stay."""
    start = pathlib.Path() if folder is None else folder

    def whole(key: str, value: Any) -> Any:
        path = key == "file" or (key in ("sigma", "variance", "ivar", "mask", "psf") and isinstance(value, str))
        word = (key == "psf" and str(value).startswith("moffat")) or value == "estimate"
        return str((start / pathlib.Path(value).expanduser()).resolve()) if path and not word and "://" not in value else value

    return [{k: whole(k, v) for k, v in one.items()} for one in told]


@contextlib.contextmanager
def _named(file: str, deaf: bool) -> Iterator[None]:
    """Begin what is logged with the file's name; what is said of a PSF that is replaced is left away where `deaf`."""

    def name(record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if isinstance(record.args, tuple) and str(record.msg).startswith("%s: "):  # the image's own name
            said = said.removeprefix(f"{record.args[0]}: ")
        record.msg, record.args = f"{file}: {translated(said)}", None
        return not (deaf and "The PSF" in said)

    log.addFilter(name)
    try:
        yield
    finally:
        log.removeFilter(name)
