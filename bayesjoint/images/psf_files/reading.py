"""Reading a PSF: which kind a source is, what was decided, and errors that name the file."""

from __future__ import annotations

import os
import pathlib
import struct
from typing import Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import Address, FitsFile, opened
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_files.base import Options, PSFFile, kinds
from bayesjoint.log import log

__all__ = ["from_hdu", "inspect", "read"]

NO_NAME = "The file"
AFW = ("ARCHIVE_INDEX", "ARCHIVE_DATA")
"""Extensions of the archive tables in which afw keeps a PSF."""
HDUS = (
    fits.HDUList, fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU, fits.BinTableHDU,
    fits.TableHDU,
)  # fmt: skip
BROKEN = (
    VerifyError, KeyError, IndexError, TypeError, AttributeError, UnicodeError, ArithmeticError,
    RuntimeError, AssertionError, struct.error,
)  # fmt: skip


def read(source: Any, **options: Any) -> PSF:
    """Read a PSF from a file, or take over another package's PSF object.

    Parameters
    ----------
    source : path, URL, file object, HDUList, HDU, array or object
        See `PSF.read`.
    **options
        Those of `PSF.read`.

    Returns
    -------
    PSF
        What may be wrong with it is logged as a warning.

    Notes
    -----
    Reading a file of Piff unpickles the WCS in it, which can run any code: read only such files as
    you trust. No other kind does.

    Raises
    ------
    FileNotFoundError, OSError
        Where there is no such file, or it cannot be read.
    ValueError
        Where it holds no PSF that is known, or does not say what is needed.
    ImportError
        Where a package that reads it is not installed.
    """
    psf, decisions = inspect(source, **options)
    for decision in decisions:
        if decision.warning:
            log.warning("%s: %s.", _name(source), decision.text)
    return psf


def inspect(source: Any, **options: Any) -> tuple[PSF, list[Decision]]:
    """Read a PSF, and say what was decided and why.

    Parameters
    ----------
    source, **options
        See `read`.

    Returns
    -------
    psf : PSF
    decisions : list of Decision
        About "PSF"; nothing is logged.
    """
    checked = Options.of(**options)
    if isinstance(source, HDUS):
        return _from_file(_as_file(source), checked)
    is_path = isinstance(source, str | os.PathLike)
    first = Address.of(os.fspath(source)) if is_path else source
    kind = _kind(first)
    if kind is not None:
        return _tried(kind, first, checked, _name(source))
    if not is_path and not (hasattr(source, "read") and hasattr(source, "seek")):
        came = f"{type(source).__module__.split('.')[0]}'s {type(source).__name__}"
        raise ValueError(
            "A PSF must be a path, an open FITS file, an array, a model with samples of photutils, "
            f"or a PSF of GalSim, Piff or lsst-images; got {came}. Give one of these, or its values "
            "on a grid, as an array."
        )
    with opened(source) as file:
        return _from_file(file, checked)


def from_hdu(
    hdu: Any,
    *,
    pixel_scale: Any = None,
    oversampling: Any = None,
    hdus: fits.HDUList | None = None,
) -> tuple[PSF, list[Decision]]:
    """Make a PSF of an extension of an image's own file.

    Parameters
    ----------
    hdu : HDU
        A 2-D image, with optional cards OVERSAMP, PIXRESP (OPTICAL, SUBPIXEL or NATIVE), PSFNORM,
        PIXELSCL; a table of PSFEx; or what `to_hdu` wrote.
    pixel_scale : float or Quantity, optional
        Arcsec per pixel of the image, with which a scale that is stated for the PSF is compared.
    oversampling : float or (float, float), optional
        Samples per pixel, in place of what its cards say.
    hdus : HDUList, optional
        The file that it is in; not needed for the kinds known here.

    Returns
    -------
    psf : PSF
    decisions : list of Decision

    Raises
    ------
    ValueError
        For cards that say nothing sensible, naming them.
    """
    return _from_file(_as_file(hdu), Options.of(oversampling, pixel_scale=pixel_scale))


def _as_file(hdus: Any) -> FitsFile:
    several = hdus if isinstance(hdus, fits.HDUList) else [hdus]
    path = hdus.filename() if isinstance(hdus, fits.HDUList) else None
    return FitsFile(several, Address(path or ""), named=path is not None)


def _from_file(file: FitsFile, options: Options) -> tuple[PSF, list[Decision]]:
    label = repr(pathlib.PurePath(file.address.file).name) if file.address.file else NO_NAME
    kind = _kind(file)
    if kind is None:
        held = ", ".join(_described(p) for p in file.planes) or "nothing"
        if any(p.name in AFW for p in file.planes):
            remedy = (
                "Its PSF is in archive tables of LSST's afw: let the stack compute an image of it"
            )
        else:
            known = ", ".join(k.kind for k in kinds() if k.in_files)
            remedy = f"Give a file of one of these kinds: {known}"
        raise ValueError(f"{label} must hold a PSF of a kind that is known; got {held}. {remedy}.")
    return _tried(kind, file, options, label)


def _tried(
    kind: type[PSFFile], source: Any, options: Options, label: str
) -> tuple[PSF, list[Decision]]:
    """Read; errors speak of the file, and none of astropy's own come out."""
    reader = kind(source, options)
    try:
        psf = reader.read()
    except ImportError:
        raise
    except (ValueError, OSError) as e:
        text = " ".join(str(e).split())
        if label == NO_NAME or label.strip("'\"") in text:
            raise
        error = OSError if isinstance(e, OSError) else ValueError
        raise error(f"{label}: {text}") from e
    except BROKEN as e:
        text = " ".join(str(e).split())[:200].rstrip(".")
        raise ValueError(
            f"{label} must be a whole {kind.kind} PSF; it looks like one and cannot be read "
            f"({type(e).__name__}: {text}). Fetch or make it anew."
        ) from e
    return psf, reader.decisions


def _kind(source: Any) -> type[PSFFile] | None:
    return next((k for k in kinds() if k.matches(source)), None)


def _described(plane: Any) -> str:
    names = getattr(getattr(plane.hdu, "columns", None), "names", None)
    if names:
        return f"{plane.tag} a table of {', '.join(names[:4])}{', …' if len(names) > 4 else ''}"
    if plane.shape:
        return f"{plane.tag} an image of shape {plane.shape}"
    return f"{plane.tag} without pixels"


def _name(source: Any) -> str:
    if isinstance(source, str | os.PathLike):
        return repr(pathlib.PurePath(os.fspath(source)).name)
    name = getattr(source, "name", None) if hasattr(source, "read") else None
    if isinstance(source, fits.HDUList):
        name = source.filename()
    return repr(pathlib.PurePath(str(name)).name) if name else f"PSF ({type(source).__name__})"
