"""PSFFile: how one kind of PSF file or object is recognised and read; subclass it to add a kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.psf import PSF, VaryingPSF
from bayesjoint.images.psf_field import CellField, Field
from bayesjoint.units import to_float

__all__ = ["FROM_FILE", "Options", "PSFFile", "Say", "kinds", "planes_meant"]

FROM_FILE = "file"
"""Value of `pixel_response` that leaves it to what files of the kind hold."""
RESPONSES = (FROM_FILE, "native", "subpixel", None)
Say = Callable[..., None]
"""Notes a decision: say(text) or say(text, warning=True)."""


@dataclass(frozen=True)
class Options:
    """What the user says about a PSF, checked.

    Parameters
    ----------
    oversampling : (float, float) or None
        Samples per image pixel along (y, x); None where the file says.
    pixel_response : {"file", "native", "subpixel", None}
    normalize : bool
    origin : (float, float)
        0-based pixel (x, y) of the PSF's frame at which the image begins.
    pixel_scale : (float, float) or None
        Arcsec per image pixel along (y, x).
    chip, band : optional
        Which PSF of a file that holds several.
    """

    oversampling: tuple[float, float] | None = None
    pixel_response: str | None = FROM_FILE
    normalize: bool = True
    origin: tuple[float, float] = (0.0, 0.0)
    pixel_scale: tuple[float, float] | None = None
    chip: Any = None
    band: str | None = None

    @classmethod
    def of(
        cls,
        oversampling: Any = None,
        pixel_response: str | None = FROM_FILE,
        normalize: bool = True,
        origin: Any = (0, 0),
        pixel_scale: Any = None,
        chip: Any = None,
        band: str | None = None,
    ) -> Options:
        """Check what the user gave.

        Raises
        ------
        ValueError
            For numbers that are not positive, and a pixel response that is not known.
        """
        if pixel_response not in RESPONSES:
            raise ValueError(f"pixel_response must be one of {RESPONSES}; got {pixel_response!r}.")
        if np.shape(origin) != (2,):
            raise ValueError(f"origin must be a pixel (x, y); got {origin!r}.")
        x0, y0 = _two(origin, "", "origin")
        return cls(
            None if oversampling is None else _positive(oversampling, "", "oversampling"),
            pixel_response,
            bool(normalize),
            (x0, y0),
            None if pixel_scale is None else _positive(pixel_scale, "arcsec", "pixel_scale"),
            chip,
            None if band is None else str(band),
        )


class PSFFile:
    """A kind of PSF file, or of PSF object: says which it is, and reads it.

    A subclass is registered when it is defined, and asked before those of the package. Its
    `matches` must be narrow, and must not raise.

    Parameters
    ----------
    source : Address, FitsFile or object
        What `matches` said yes to.
    options : Options
        What the user says about it.

    Attributes
    ----------
    kind : str
        Name, for ``bayesjoint info`` and messages.
    order : int
        Kinds are asked from the highest on; those of the package are below 100.
    in_files : bool
        Whether there are files of it, for messages.
    decisions : list of Decision
        What was decided, filled by `say`.

    Examples
    --------
    >>> class Pickled(PSFFile):
    ...     kind = "my PSF"
    ...
    ...     @classmethod
    ...     def matches(cls, source):
    ...         return isinstance(source, MyPSF)
    ...
    ...     def read(self):
    ...         return self.constant(self.source.samples, (1.0, 1.0), "native")
    """

    kind: ClassVar[str] = "PSF"
    order: ClassVar[int] = 100
    in_files: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _REGISTRY.insert(0, cls)

    def __init__(self, source: Any, options: Options) -> None:
        self.source, self.options = source, options
        self.decisions: list[Decision] = []

    # -- what a kind says --------------------------------------------------------------------------
    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether a source is of this kind.

        Parameters
        ----------
        source : Address, FitsFile or object
            First what the user gave (a path as an `Address`, not yet opened; or an object); where
            no kind takes that, the open FITS file.
        """
        return False

    def read(self) -> PSF:
        """Make the PSF.

        Raises
        ------
        ValueError
            If what was found cannot be a PSF of this kind, in one sentence.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method read.")

    # -- what they share ---------------------------------------------------------------------------
    def say(self, text: str, warning: bool = False) -> None:
        """Note what was decided and why; `warning` where it may make a number wrong."""
        self.decisions.append(Decision("PSF", text, warning))

    @property
    def file(self) -> FitsFile:
        """The open FITS file."""
        return self.source

    def response(self, default: str | None) -> str | None:
        """The pixel's response in it: as the user says, else as files of this kind have it."""
        given = self.options.pixel_response
        return default if given == FROM_FILE else given

    def constant(
        self,
        array: ArrayLike,
        oversampling: tuple[float, float],
        response: str | None,
        normalize: bool = True,
    ) -> PSF:
        """One PSF for all places; what is suspect about it is a decision."""
        psf = PSF.silent(
            array,
            oversampling=oversampling,
            pixel_response=self.response(response),
            normalize=self.options.normalize and normalize,
        )
        for text in psf.warnings():
            self.say(text, warning=True)
        return psf

    def varying(
        self,
        field: Field,
        oversampling: tuple[float, float],
        response: str | None,
        normalize: bool = True,
    ) -> VaryingPSF:
        """A PSF that differs from place to place, evaluated once so that faults are met here.

        Fields of cells are not: one that has no PSF matters only where a source lies in it.
        """
        psf = VaryingPSF(
            field,
            oversampling=oversampling,
            pixel_response=self.response(response),
            normalize=self.options.normalize and normalize,
            origin=self.options.origin,
        )
        if not isinstance(field, CellField):
            _ = psf.array
        return psf


def planes_meant(source: Any) -> list[Plane]:
    """The plane that a file's path names, else all its planes; none of what is no FITS file.

    `matches` looks at these alone: of a file with several kinds, a path decides which is read.
    """
    if not isinstance(source, FitsFile):
        return []
    try:
        named = source.named_plane()
    except ValueError:  # said by what reads plain images
        return []
    return source.planes if named is None else [named]


_REGISTRY: list[type[PSFFile]] = []


def kinds() -> list[type[PSFFile]]:
    """All kinds in the order in which they are asked: the user's, the latest first, then ours."""
    return sorted(_REGISTRY, key=lambda c: -c.order)


def _two(value: Any, unit: str, what: str) -> tuple[float, float]:
    """One number for both axes, or one for each."""
    try:
        pair = len(value) == 2
    except TypeError:
        pair = False
    first, last = (value[0], value[1]) if pair else (value, value)
    return to_float(first, unit, what), to_float(last, unit, what)


def _positive(value: Any, unit: str, what: str) -> tuple[float, float]:
    pair = _two(value, unit, what)
    if not np.all(np.array(pair) > 0):
        raise ValueError(f"{what} must be a positive number, or two of them (y, x); got {value!r}.")
    return pair
