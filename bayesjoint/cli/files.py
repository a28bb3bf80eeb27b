"""Files: images read as a command line or a ``run.yaml`` says."""

from __future__ import annotations

import contextlib
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bayesjoint.log import log

if TYPE_CHECKING:
    from bayesjoint.images import PSF, Image

__all__ = ["absolute", "beta", "read", "read_one"]

BETA = 2.5
"""Of a Moffat function, where nothing else is said."""
OPTIONS = {"variance": "--estimate-noise measures the noise from the pixels", "pixel_scale": "--pixel-scale gives arcsec per pixel"}
"""What the command line has for an argument of `bayesjoint.Image` that an error speaks of."""


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
            hints = [words for name, words in OPTIONS.items() if f"{name}=" in str(e) and name not in one]
            raise ValueError(f"{one['file']}: {e}" + (f" On the command line, {' and '.join(hints)}." if hints else "")) from e
    names = [im.name for im in images]
    for k, path in enumerate(files):
        if names.count(names[k]) > 1 and len(set(files)) == len(files):
            images[k] = images[k].replace(name=f"{pathlib.Path(path).resolve().parent.name}_{names[k]}")
    return images


def read_one(one: Mapping[str, Any]) -> Image:
    """One of them; what is said on the way begins with the file's name."""
    from bayesjoint.images import Image
    from bayesjoint.images.reading import read_psf

    arguments = {k: v for k, v in one.items() if k != "file"}
    slope = beta(arguments.pop("psf")) if isinstance(one.get("psf"), str) else None
    with _named(one["file"], deaf=slope is not None):
        if slope is None:
            return Image.read(one["file"], **arguments)
        image = Image.read(one["file"], psf=None, **arguments)
        return image.replace(psf=_moffat(image, read_psf(one["file"]), slope))


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
        raise ValueError(f"--psf is to be file, none, moffat or moffat:BETA with BETA above 1, and {psf!r} came.")
    return slope


def absolute(told: Sequence[Mapping[str, Any]], folder: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """The same with whole paths, from `folder` on (default, where the process is); addresses stay."""
    start = pathlib.Path() if folder is None else folder
    return [{**one, "file": one["file"] if "://" in one["file"] else str((start / pathlib.Path(one["file"]).expanduser()).resolve())} for one in told]


def _moffat(image: Image, psf: PSF | None, slope: float) -> PSF:
    """A Moffat function as wide as the PSF of the image's file; what of it is larger than the image counts as light that is lost."""
    if psf is None:
        raise ValueError("there is no PSF whose width --psf moffat could take: leave it away, or add an extension PSF.")
    made, room = psf.as_moffat(slope), (min(image.shape) - 1) // 2
    return made if max(made.native_shape) // 2 <= room else psf.as_moffat(slope, radius=room)


@contextlib.contextmanager
def _named(file: str, deaf: bool) -> Iterator[None]:
    """Begin what is logged with the file's name; what is said of a PSF that is replaced is left away where `deaf`."""

    def name(record: logging.LogRecord) -> bool:
        said = record.getMessage()
        record.msg, record.args = f"{file}: {said.removeprefix(f'{pathlib.Path(file).stem}: ')}", None
        return not (deaf and said.startswith("The PSF"))

    log.addFilter(name)
    try:
        yield
    finally:
        log.removeFilter(name)
