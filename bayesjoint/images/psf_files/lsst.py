"""LSST: the PSFs of visits and cell coadds, by lsst-images (``pip install bayesjoint[lsst]``)."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import numpy as np

from bayesjoint.images.files import Address, FitsFile
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_field import CellField, FunctionField
from bayesjoint.images.psf_files.base import PSFFile

__all__ = ["LSST", "KernelStamps"]

SUFFIXES = (".h5", ".sdf", ".json")
NEEDS_PYTHON = (3, 12)


class LSST(PSFFile):
    """A file of ``lsst-images``, its image or its PSF object.

    Notes
    -----
    Places are pixels of the parent image (tract or detector), in which the image begins at ``yx0``:
    pixel (0, 0) of the image is that one. The pixel's response is in the kernels, 1 sample a pixel.
    """

    kind = "lsst-images"
    order = 74

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is an archive of lsst-images, or an object with its PSF."""
        if isinstance(source, Address):
            return source.file.lower().removesuffix(".gz").endswith(SUFFIXES)
        if isinstance(source, FitsFile):
            h = source.primary.header
            return "JSONADDR" in h and "DATAMODL" in h
        return _is_psf(source) or (
            any(c.__module__.startswith("lsst.images") for c in type(source).__mro__)
            and hasattr(source, "psf")
        )

    def read(self) -> PSF:
        """A varying PSF."""
        image = self.source
        if isinstance(image, FitsFile):
            image = _load(image.address.file)
        elif isinstance(image, Address):
            image = _load(image.file)
        psf = image if _is_psf(image) else getattr(image, "psf", None)
        if not _is_psf(psf):
            raise ValueError(
                "An archive of lsst-images must hold an image with a PSF; got "
                f"{type(image).__name__} without one. Give psf= from another file."
            )
        begins = (0.0, 0.0)
        if image is not psf and self.options.origin == (0.0, 0.0):
            begins = float(image.bbox.x.start), float(image.bbox.y.start)
            self.say(f"pixel (0, 0) of the image is ({begins[0]:g}, {begins[1]:g}) of its parent")
        field = _cells(psf) or FunctionField(KernelStamps(psf), _limits(psf), type(psf).__name__)
        self.say(f"lsst-images {type(psf).__name__}, 1 sample a pixel, pixel response included")
        made = self.varying(field, self.options.oversampling or (1.0, 1.0), "native")
        return made.cropped(*begins) if begins != (0.0, 0.0) else made


class KernelStamps:
    """Kernels of a PSF of lsst-images; called with x and y of the parent image."""

    def __init__(self, psf: Any) -> None:
        self.psf = psf

    def __call__(self, x: float, y: float) -> np.ndarray:
        """Samples, shape (odd, odd)."""
        return np.asarray(self.psf.compute_kernel_image(x=x, y=y).array, dtype=float)


def _is_psf(source: Any) -> bool:
    return hasattr(source, "compute_kernel_image")


def _limits(psf: Any) -> Any:
    box = getattr(getattr(psf, "bounds", None), "bbox", None)
    if box is None:
        return None
    return tuple((float(axis.start), float(axis.stop - 1)) for axis in (box.x, box.y))


def _cells(psf: Any) -> CellField | None:
    """A field of cells, where the PSF has them."""
    bounds, grid = getattr(psf, "bounds", None), getattr(psf, "grid", None)
    if grid is None or not hasattr(bounds, "cell_indices"):
        return None
    stamps, edges = [], []
    for index in bounds.cell_indices():
        box = grid.bbox_of(index)
        stamps.append(np.asarray(psf[index].array, dtype=float))
        edges.append([e - 0.5 for e in (box.x.start, box.x.stop, box.y.start, box.y.stop)])
    for box in bounds.missing_boxes() if stamps else ():
        stamps.append(np.full(stamps[0].shape, np.nan))
        edges.append([e - 0.5 for e in (box.x.start, box.x.stop, box.y.start, box.y.stop)])
    return CellField(stamps, edges) if stamps else None


def _load(path: str) -> Any:
    name, target = pathlib.PurePath(path).name, pathlib.Path(path).expanduser()
    if not target.is_file():
        raise FileNotFoundError(
            f"{str(target)!r} is not there: there is no file to read a PSF from. Give its path."
        )
    try:
        from lsst.images.serialization import read_archive
    except ImportError as e:
        here = ".".join(map(str, sys.version_info[:3]))
        old = (
            f" It needs Python 3.12 or newer; this is {here}."
            if sys.version_info < NEEDS_PYTHON
            else ""
        )
        raise ImportError(
            f"{name!r} must be read by lsst-images, which is not installed: pip install "
            f"'bayesjoint[lsst]'.{old}"
        ) from e
    try:
        return read_archive(str(target))
    except ImportError as e:
        raise ImportError(
            f"{name!r} must be read by lsst-images with {e.name or 'another package'}, which is "
            f"not installed: {e}. Install it."
        ) from e
