"""FITS files as readers see them: what a path names, and planes of pixels with clean headers."""

from __future__ import annotations

import contextlib
import copy
import os
import pathlib
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from bayesjoint.images.decisions import Decision
from bayesjoint.images.planes import classify

__all__ = ["Address", "FitsFile", "Plane", "clean", "opened", "stem_of", "tags", "to_number"]

SUFFIXES = (".fits", ".fit", ".fts")
PACKED = (".gz", ".fz", ".bz2", ".xz", ".zip", ".z")
SECTION = re.compile(r"^(\*|-?\d+:-?\d+|\d+)(,(\*|-?\d+:-?\d+|\d+))+$")
LUPTON = 2.5 / np.log(10)
"""Pogson's ratio: asinh magnitudes of Pan-STARRS' files (Waters et al. 2020, ApJS 251, 4)."""
ASINH = ("BSOFTEN", "BOFFSET")
LONGEST_NAME = 30
"""Characters of an extension's name from which on a sentence calls it by its number."""


@dataclass(frozen=True)
class Address:
    """A file, and what of it a path names, as CFITSIO and DS9 write it.

    Parameters
    ----------
    file : str
        Path or URL, without what stands in brackets.
    extension : int, (str, int or None) or None
        Number of an HDU (0 is the primary), or its name with its version.
    section : tuple of (int, int) or None, optional
        By FITS axis: first and last pixel, 1-based and inclusive; None for all of an axis.
    """

    file: str
    extension: int | tuple[str, int | None] | None = None
    section: tuple[tuple[int, int] | None, ...] | None = None

    @classmethod
    def of(cls, path: Any) -> Address:
        """Take a path apart: ``f.fits[SCI,2]``, ``f.fits[3]``, ``f.fits[1][101:200,1:100]``.

        Raises
        ------
        ValueError
            For brackets that name neither an extension nor a section.
        """
        text = str(path)
        if not text.endswith("]") or (
            "://" not in text and pathlib.Path(text).expanduser().is_file()
        ):
            return cls(text)
        extension: Any = None
        section: Any = None
        rest, parts = text, []
        while (m := re.match(r"^(.*)\[([^\[\]]*)\]$", rest, re.S)) is not None:
            rest, part = m[1], m[2].strip()
            parts.insert(0, part)
        for part in parts:
            dense = part.replace(" ", "")
            if SECTION.match(dense) and section is None:
                section = tuple(_axis(p, text) for p in dense.split(","))
            elif extension is None and section is None and part:
                name, comma, version = (t.strip() for t in part.partition(","))
                if comma and not (name and version.isdigit()):
                    raise ValueError(
                        f"An extension must be named as [NAME], [NAME,VERSION] or [NUMBER]; "
                        f"got [{part}] in {text!r}. Write for example {rest}[SCI,2]."
                    )
                numbered = name.isdigit() and not version
                extension = int(name) if numbered else (name, int(version) if version else None)
            else:
                raise ValueError(
                    f"A path may name an extension and then a section, as in "
                    f"f.fits[SCI,2][101:200,1:100]; got {text!r}. Write it so."
                )
        return cls(rest, extension, section)

    @property
    def stem(self) -> str:
        """The file's name without folder and FITS endings."""
        return stem_of(self.file)


def _axis(text: str, path: str) -> tuple[int, int] | None:
    if text == "*":
        return None
    lo, _, hi = text.partition(":")
    first, last = int(lo), int(hi or lo)
    if first < 1 or last < first:
        raise ValueError(
            f"A section must be FIRST:LAST by axis, counted from 1; got {text!r} in {path!r}. "
            "Give the smaller number first."
        )
    return first, last


@dataclass(eq=False)
class Plane:
    """One HDU of a file; in its header, values that cannot be parsed are text.

    Attributes
    ----------
    header : `~astropy.io.fits.Header`
    unparsable : list of str
        Keywords of the cards whose values are kept as text.
    kind : str
        What its name says it is: "science", "sigma", "variance", "ivar", "weight", "mask", "psf",
        "other", or "" where it says nothing.
    group : str
        What of its name tells it from other planes of its kind: a detector, a band.
    decisions : list of Decision
        What was done to its pixels.
    """

    hdu: Any
    index: int
    header: fits.Header
    unparsable: list[str]
    file: FitsFile
    kind: str = ""
    group: str = ""
    decisions: list[Decision] = field(default_factory=list)

    @property
    def name(self) -> str:
        """EXTNAME in capitals; "" where there is none."""
        name = str(self.header.get("EXTNAME", "")).strip().upper()
        return "" if name in ("PRIMARY", "COMPRESSED_IMAGE") else name

    @property
    def version(self) -> int:
        """EXTVER; 1 where there is none."""
        value = self.header.get("EXTVER", 1)
        return value if isinstance(value, int) and not isinstance(value, bool) else 1

    @property
    def tag(self) -> str:
        """How a path names it: [SCI,2], or its number where the name is not unique."""
        same = [p for p in self.file.planes if p.name == self.name]
        unique = len({p.version for p in same}) == len(same)
        if not self.name or len(self.name) > LONGEST_NAME or not unique:
            return f"[{self.index}]"
        return f"[{self.name}]" if len(same) == 1 else f"[{self.name},{self.version}]"

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array in the file; () where there is none."""
        h = self.header
        try:
            if not self.hdu.is_image:
                return ()
            return tuple(int(h[f"NAXIS{k}"]) for k in range(h.get("NAXIS", 0), 0, -1))
        except (AttributeError, KeyError, ValueError, TypeError, VerifyError):
            return ()

    @property
    def constant(self) -> float | None:
        """Value of all its pixels, where it holds no array but PIXVALUE (STScI)."""
        return None if self.shape else to_number(self.header.get("PIXVALUE"))

    @property
    def is_image(self) -> bool:
        """Whether it has pixels on at least two axes longer than 1."""
        return sum(n > 1 for n in self.shape) >= 2 or (
            len(self.shape) == 2 and int(np.prod(self.shape)) > 0
        )

    @property
    def axes(self) -> tuple[int, ...]:
        """Lengths of the axes beyond the two of the image that are longer than 1, FITS order."""
        return tuple(n for n in self.shape[:-2][::-1] if n > 1)

    @cached_property
    def pixels(self) -> np.ndarray:
        """Its pixels as stored, scaled by BZERO and BSCALE, any number of axes; float or integer.

        BLANK pixels are NaN. Asinh pixels are linear. Nothing of the user's HDU is changed.

        Raises
        ------
        OSError
            Where the file is cut short.
        ValueError
            For asinh pixels without both of their parameters.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                data = self.hdu.data
        except Exception as e:  # astropy's errors have many classes, those of compression most
            raise OSError(
                f"The pixels of HDU {self.tag} cannot be read: is the file cut short? ({_one_line(e)}) "
                "Give a file that is whole."
            ) from e
        if data is None:
            raise ValueError(f"HDU {self.tag} holds no pixels. Name another extension.")
        return self._linear(self._scaled(np.asarray(data)))

    def _scaled(self, a: np.ndarray) -> np.ndarray:
        """Pixels that astropy left as integers: BLANK made NaN, BSCALE and BZERO applied.

        It leaves those of unsigned integers without BLANK, and all where the user opened the file
        with ``do_not_scale_image_data``.
        """
        h = self.header
        stored = {8: "u1", 16: "i2", 32: "i4", 64: "i8"}.get(h.get("BITPIX"))
        if stored is None:  # floats have NaN, and no BLANK
            return a
        scale, zero = (to_number(h.get(k)) for k in ("BSCALE", "BZERO"))
        scale, zero = 1.0 if scale is None else scale, zero or 0.0
        unscaled = a.dtype.newbyteorder("=") == np.dtype(stored) and (scale, zero) != (1.0, 0.0)
        hit = np.isnan(a) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
        if "BLANK" in h:
            blank = to_number(h["BLANK"])
            if blank is None:
                text = f"BLANK of {self.tag} must be a whole number; got {h['BLANK']!r}: no pixel"
                text += " is taken as blank; give mask= where some are"
                self.decisions.append(Decision("mask", text, warning=True))
            else:
                value = blank if unscaled else blank * scale + zero
                hit |= a == (a.dtype.type(value) if a.dtype.kind == "f" else value)
        if unscaled:
            a = a.astype(float) * scale + zero
        if hit.any():
            a = np.where(hit, np.nan, a)
            text = f"{int(hit.sum())} pixels of {self.tag} are BLANK"
            self.decisions.append(Decision("mask", text))
        return a

    def _linear(self, a: np.ndarray) -> np.ndarray:
        """Asinh-scaled pixels made linear, by cards of their own header or else of the primary's."""
        own, first = self.header, self.file.primary.header
        alone = self.kind in ("", "science")
        h = first if alone and not any(k in own for k in ASINH) else own
        soft, offset = (h.get(k) for k in ASINH)
        if soft is None and offset is None:
            return a
        soft, offset = to_number(soft), to_number(offset)
        if soft is None or offset is None or not soft > 0:
            raise ValueError(
                f"Asinh-scaled pixels (BSOFTEN, BOFFSET) must have both numbers to be made linear; "
                f"got BSOFTEN {h.get('BSOFTEN')!r} and BOFFSET {h.get('BOFFSET')!r}. Add the missing "
                "card, or convert the pixels to linear fluxes and remove both cards."
            )
        self.decisions.append(
            Decision("pixels", f"asinh scaling of {self.tag} undone (BSOFTEN {soft:g})")
        )
        return offset + 2 * soft * np.sinh(np.asarray(a, float) / LUPTON)

    def image(self, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Its pixels on two axes, cut to the section that the path names.

        Parameters
        ----------
        shape : (ny, nx), optional
            Of a plane without pixels but with PIXVALUE.

        Raises
        ------
        ValueError
            For a cube of which no plane is named, and a section off the image.
        """
        if self.constant is not None and shape is not None:
            return np.full(shape, self.constant)
        a = self.pixels
        section = self.file.address.section
        wanted = section or (None, None)
        axes = a.shape[::-1]
        more = list(wanted[2:])
        index: list[Any] = []
        for k, n in enumerate(axes[2:], start=3):
            chosen = more.pop(0) if more else None
            if n == 1:
                index.append(0)
            elif chosen is not None and chosen[0] == chosen[1] and chosen[1] <= n:
                index.append(chosen[0] - 1)
            else:
                raise ValueError(self._cube_message(k, n))
        a = a[(*index[::-1], slice(None), slice(None))] if index else a
        if section is None:
            return a
        cut = []
        for n, part in zip(a.shape[::-1], wanted[:2], strict=True):
            if part is not None and part[1] > n:
                raise ValueError(
                    f"A section must lie on the image of {a.shape[1]} x {a.shape[0]} pixels; got "
                    f"{part[0]}:{part[1]} on an axis of {n}. Give a smaller one."
                )
            cut.append(slice(None) if part is None else slice(part[0] - 1, part[1]))
        return a[cut[1], cut[0]]

    def _cube_message(self, axis: int, n: int) -> str:
        bands = str(self.header.get("BANDS", "")).strip()
        held = f" ({bands})" if bands else ""
        return (
            f"{self.tag} is a cube: its axis {axis} (NAXIS{axis}) has {n} planes{held}, and an "
            f"image is one of them. Name the plane, counted from 1, as a section: "
            f"{self.file.address.file}[{self.index}][*,*,{'1' if axis == 3 else '1,1'}]."
        )

    @property
    def offset(self) -> tuple[int, int]:
        """Pixel (x, y), 0-based, at which the section that the path names begins."""
        section = self.file.address.section or (None, None)
        return tuple(0 if part is None else part[0] - 1 for part in section[:2])


class FitsFile:
    """An open FITS file: its planes, and what of it the path named.

    Parameters
    ----------
    hdus : HDUList
    address : Address
        What the user wrote; file "" for what has no path.
    named : bool
        Whether there is a path, whose stem may name the image.

    Attributes
    ----------
    cut_short : bool
        Whether extensions seem to be lost at its end.
    """

    def __init__(self, hdus: fits.HDUList, address: Address, named: bool = True) -> None:
        self.hdus, self.address = hdus, address
        self.stem = address.stem if named and address.stem else None
        self.cut_short = False
        self.planes: list[Plane] = []
        for k, hdu in enumerate(hdus):
            header, unparsable = clean(hdu.header)
            self.planes.append(Plane(hdu, k, header, unparsable, self))
        for plane in self.planes:
            plane.kind, plane.group = classify(plane)

    @property
    def label(self) -> str:
        """What to call the file in a sentence."""
        return repr(self.stem) if self.stem else "the file"

    @property
    def primary(self) -> Plane:
        """The first HDU."""
        return self.planes[0]

    def named_plane(self) -> Plane | None:
        """The plane that the path names; None where it names none.

        Raises
        ------
        ValueError
            Where the file has no such plane.
        """
        wanted = self.address.extension
        if wanted is None:
            return None
        have = tags([p for p in self.planes if p.is_image or p.name])
        if isinstance(wanted, int):
            found = [p for p in self.planes if p.index == wanted]
        else:
            name, version = wanted
            found = [p for p in self.planes if p.name == name.upper()]
            if version is not None:
                found = [p for p in found if p.version == version]
            if not found and name.upper() == "PRIMARY":
                found = [self.planes[0]]
        if not found:
            text = wanted if isinstance(wanted, int) else ",".join(str(v) for v in wanted if v)
            raise ValueError(
                f"{self.label} has no extension [{text}]; it has {have or 'the primary alone'}. "
                "Name one of them."
            )
        if len(found) > 1 and not isinstance(wanted, int):
            raise ValueError(
                f"{self.label} has {len(found)} extensions {wanted[0]!r}: {tags(found)}. "
                "Name one of them."
            )
        return found[0]


def stem_of(path: Any) -> str:
    """The file's name without what says that it is FITS, and how it is packed.

    Parameters
    ----------
    path : path or URL
        ``rings.v3.skycell.0812.050.stk.g.unconv.fits`` keeps all its dots but the last.
    """
    text = str(path)
    if "://" in text:
        text = urlsplit(text).path
    name = pathlib.PurePath(text).name
    for suffix in PACKED:
        whole = name[: -len(suffix)] if name.lower().endswith(suffix) else ""
        if whole.lower().endswith(SUFFIXES):
            name = whole
            break
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def clean(header: fits.Header) -> tuple[fits.Header, list[str]]:
    """Copy a header, the values that cannot be parsed (nan, 12,5) as text; name their cards.

    Cards without a value are left out.
    """
    out, bad = fits.Header(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for card in header.cards:
            new = copy.copy(card)
            try:
                empty = isinstance(new.value, fits.card.Undefined)
            except (VerifyError, ValueError, TypeError):
                new, empty = _as_text(card), False
                bad.append(new.keyword)
            if empty:
                continue
            try:
                out.append(new, end=True)
            except (ValueError, VerifyError):
                bad.append(new.keyword)
    return out, bad


def _as_text(card: fits.Card) -> fits.Card:
    """A card whose value cannot be parsed, its value as text; "?" where it is not even text."""
    new = copy.copy(card)
    try:
        new.verify("silentfix")
        return fits.Card(new.keyword, str(new.value).strip(), new.comment)
    except (VerifyError, ValueError, TypeError):
        return fits.Card(card.keyword, "?")


def to_number(value: Any) -> float | None:
    """A card's value as a finite number, also where it stands there as text; None for the rest."""
    if isinstance(value, bool | np.bool_) or value is None:
        return None
    try:
        number = float(value.strip().upper().replace("D", "E") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


@contextlib.contextmanager
def opened(source: Any) -> Iterator[FitsFile]:
    """Open a path (with extension and section), URL, file object or HDUList.

    What the user opened stays open.

    Raises
    ------
    FileNotFoundError, OSError
        Where there is no such file, or it is no FITS file.
    ValueError
        For brackets in a path that name nothing.
    """
    if isinstance(source, fits.HDUList):
        yield FitsFile(source, Address(""), named=False)
        return
    readable = hasattr(source, "read")
    if not readable and not isinstance(source, str | os.PathLike):
        raise ValueError(
            "A file must be a path, URL, file object or HDUList; got "
            f"{type(source).__name__}. Give one of these."
        )
    if readable:
        name = getattr(source, "name", None)
        address = Address(str(name) if name is not None else "")
        named, target = name is not None, source
    else:
        address, named = Address.of(source), True
        target = address.file
        if "://" not in target:
            target = path = pathlib.Path(target).expanduser()
            if not path.is_file():
                what = "it is a folder" if path.is_dir() else "it is not there"
                raise FileNotFoundError(
                    f"There is no file {str(path)!r}: {what}. Give the path of a FITS file."
                )
            if path.stat().st_size == 0:
                raise OSError(f"{str(path)!r} is empty: it holds no FITS image. Give a whole file.")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hdus = fits.open(target, memmap=False)
            len(hdus)  # all headers, so that what is broken in them is met here
    except Exception as e:  # astropy's errors have many classes
        shown = str(source) if not readable else (address.file or "the file")
        raise OSError(
            f"{shown!r} cannot be read as FITS: {_cause(target, e)}. Give a FITS file that is whole."
        ) from e
    try:
        file = FitsFile(hdus, address, named)
        file.cut_short = any(_is_cut_short(str(w.message)) for w in caught)
        yield file
    finally:
        hdus.close(closed=not readable)


def _cause(target: Any, error: Exception) -> str:
    """Why astropy cannot read a file: a card of its first header, or what it says."""
    bad: list[str] = []
    if not hasattr(target, "read") and "://" not in str(target):
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bad = clean(fits.Header.fromfile(target))[1]
    if bad:
        return f"card {', '.join(bad)} of its header cannot be parsed"
    return _one_line(error)


def _is_cut_short(text: str) -> bool:
    """Whether astropy's warning is of HDUs that are lost, rather than of padding at the end."""
    sizes = re.search(r"actual file length \((\d+)\) is smaller than the expected size \((\d+)\)", text)
    lost = int(sizes[2]) - int(sizes[1]) if sizes else 0
    return "Error validating header" in text or lost >= 2880


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def tags(planes: Sequence[Plane], most: int = 6) -> str:
    """Name planes in a sentence, with their bands where they have one."""
    shown = []
    for p in planes[:most]:
        band = p.header.get("BAND", p.header.get("FILTER"))
        shown.append(p.tag + (f" ({band})" if isinstance(band, str) and band.strip() else ""))
    return ", ".join(shown) + (f" and {len(planes) - most} more" if len(planes) > most else "")
