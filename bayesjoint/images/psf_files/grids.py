"""PSFs on a grid of places: STPSF's psf_grid files, STDPSF files, and photutils' objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from bayesjoint.images.files import Plane
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_field import GridField
from bayesjoint.images.psf_files.base import PSFFile, planes_meant
from bayesjoint.images.psf_files.sampling import in_words, parse_factors

__all__ = ["STDPSF", "PhotutilsPSF", "STPSFGrid"]

STDPSF_SAMPLES = 4
"""Samples a pixel of STDPSF files: all have it, and none says so."""
SORTED_SINCE, UNSORTED_UNTIL = (1, 3, 0), (1, 2, 1)
"""First version of WebbPSF that sorts a grid's PSFs but not its cards; last that does not."""


def _grid(
    reader: PSFFile, stamps: np.ndarray, places: np.ndarray, sampling: tuple[float, float]
) -> PSF:
    """A PSF of stamps whose values are those of photutils: per pixel, whatever the sampling."""
    stamps = np.asarray(stamps, dtype=float) / (sampling[0] * sampling[1])
    given = reader.options.oversampling or sampling
    if len(stamps) == 1:
        return reader.constant(stamps[0], given, "native")
    return reader.varying(GridField(stamps, places), given, "native")


def _spread(stamps: np.ndarray, sampling: tuple[float, float]) -> str:
    sums = stamps.sum((1, 2)) / (sampling[0] * sampling[1])
    lo, hi = float(sums.min()), float(sums.max())
    return f"sums {lo:.3f}" + (f" to {hi:.3f}" if hi - lo > 5e-4 else "")


class STPSFGrid(PSFFile):
    """A grid of PSFs of one detector that STPSF's (WebbPSF's) ``psf_grid`` wrote.

    Notes
    -----
    The box of the detector's pixel is in it: psf_grid convolves with it. Values are multiplied by
    oversampling². The cards ``DET_YX{i}`` hold (y, x), counted from 0. Up to version 1.2.1 the
    i-th PSF lies where the i-th card says; since 1.3 the PSFs are written sorted by y, then x
    (spacetelescope/webbpsf#779), and the cards in the order of before: x slowest. Readers that take
    the cards as they stand then transpose the field.
    """

    kind = "STPSF grid"
    order = 68

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether a plane has cards DET_YX."""
        return any(_has_places(p) for p in planes_meant(source))

    def read(self) -> PSF:
        """A varying PSF, or one for all places where there is only one."""
        plane = next(p for p in planes_meant(self.file) if _has_places(p))
        h = plane.header
        stamps = np.asarray(plane.pixels, dtype=float)
        stamps = stamps[None] if stamps.ndim == 2 else stamps
        places = _det_yx(h)
        if stamps.ndim != 3 or len(places) != len(stamps):
            raise ValueError(
                "A grid of STPSF must be a cube of as many PSFs as it has cards DET_YX; got "
                f"shape {stamps.shape} and {len(places)} cards. Write the grid anew."
            )
        n = self._samples(h, stamps.shape)
        places = self._in_order(places, h)
        what = " ".join(str(h[k]) for k in ("INSTRUME", "DETECTOR", "FILTER") if k in h)
        self.say(
            f"STPSF grid{' ' if what else ''}{what}, {len(stamps)} places, {in_words((n, n))}, "
            f"pixel response included, {_spread(stamps, (n, n))}"
        )
        return _grid(self, stamps, places, (n, n))

    def _samples(self, h: fits.Header, shape: tuple[int, ...]) -> float:
        """OVERSAMP, which is the transforms' own, unless the field of view says otherwise."""
        cards = [c for c in ("OVERSAMP", "DET_SAMP") if c in h]
        if not cards:
            raise ValueError(
                "A grid of STPSF must have a card OVERSAMP; it has none. Give oversampling=, and "
                "the cubes of other tools as a photutils GriddedPSFModel."
            )
        values = [parse_factors(h[c], c)[0] for c in cards]
        field = h.get("FOVPIXEL")
        if len(set(values)) > 1 and isinstance(field, int) and field > 0:
            by_size = shape[-1] / field
            if by_size in (*values, 1.0):
                return by_size
            self.say(f"{cards[0]} {values[0]:g} and {cards[1]} {values[1]:g} differ", warning=True)
        return values[0]

    def _in_order(self, places: np.ndarray, h: fits.Header) -> np.ndarray:
        """Places (x, y) in the order of the PSFs."""
        by_row = places[np.lexsort((places[:, 0], places[:, 1]))]
        if np.array_equal(by_row, places):
            return places
        version = _version(h.get("VERSION"))
        if version is not None and version >= SORTED_SINCE:
            self.say(f"written by version {h['VERSION']}: its PSFs are sorted by y, then x")
            return by_row
        if version is None or version > UNSORTED_UNTIL:
            self.say(
                "PSFs of a grid are taken in the order of the cards DET_YX; VERSION is "
                f"{h.get('VERSION')!r}, and if STPSF 1.3 or later wrote it, x and y of the places "
                "are exchanged",
                warning=True,
            )
        return places


class STDPSF(PSFFile):
    """A library of effective PSFs (STDPSF; Anderson 2016, WFC3 ISR 2016-12) of some detectors.

    Notes
    -----
    4 samples a pixel, the pixel's response included; places count from 1. Files of ACS/WFC,
    WFC3/UVIS, WFPC2 and NIRCam's short-wave channel hold several detectors: choose with ``chip=``,
    by name ("WFC1", "UVIS2", "WF3", "B4") or by photutils' detector number.
    """

    kind = "STDPSF"
    order = 70

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether a plane has cards NXPSFS and NYPSFS."""
        return any(_is_stdpsf(p) for p in planes_meant(source))

    def read(self) -> PSF:
        """A varying PSF, or one for all places where there is only one."""
        plane = next(p for p in planes_meant(self.file) if _is_stdpsf(p))
        h = plane.header
        stamps = np.asarray(plane.pixels, dtype=float)
        if stamps.ndim == 2:
            stamps = stamps[None]
        nx, ny = (_count(h, k) for k in ("NXPSFS", "NYPSFS"))
        x, y = _stdpsf_axes(h, nx, ny)
        if stamps.ndim != 3 or len(stamps) != nx * ny:
            raise ValueError(
                f"An STDPSF cube must have NXPSFS x NYPSFS = {nx} x {ny} PSFs; got shape "
                f"{stamps.shape}. Fetch the file anew."
            )
        cube = stamps.reshape(ny, nx, *stamps.shape[1:])
        detectors = DETECTORS.get((nx, ny))
        name = ""
        if detectors is not None:
            detector = self._detector(detectors)
            rows, columns = detector.rows(ny), detector.columns(nx)
            cube, x, y = cube[rows, columns], x[columns] - detector.x0, y[rows] - detector.y0
            name = f" {detector.name}"
        places = np.stack([g.ravel() for g in np.meshgrid(x, y)], 1)
        stamps = cube.reshape(-1, *cube.shape[2:])
        n = float(STDPSF_SAMPLES)
        self.say(
            f"STDPSF{name}, {len(y)} x {len(x)} places, 4 samples a pixel (as all of its kind), "
            f"pixel response included, {_spread(stamps, (n, n))}"
        )
        return _grid(self, stamps, places, (n, n))

    def _detector(self, detectors: Sequence[Detector]) -> Detector:
        chip = self.options.chip
        word = str(chip).strip().upper().replace(" ", "")
        for detector in detectors:
            if word in detector.names:
                return detector
        number = int(word) if word.isdigit() else None
        found = [d for d in detectors if d.number == number]
        if not found:
            names = ", ".join(d.name for d in detectors)
            raise ValueError(
                f"chip must be one of the detectors of this STDPSF file, {names}; got {chip!r}. "
                f"Give chip={detectors[0].name!r}, say."
            )
        chosen = found[0]
        if len(detectors) == 2:  # CCDCHIP counts the other way round
            self.say(
                f"chip {number} is taken as photutils counts, {chosen.name}; CCDCHIP {number} is "
                f"{next(d.name for d in detectors if d is not chosen)}: give chip={chosen.name!r} "
                "to be sure",
                warning=True,
            )
        return chosen


@dataclass(frozen=True)
class Detector:
    """Part of an STDPSF cube: block (i, j) of blocks along x and y, pixel (x0, y0) of the whole."""

    name: str
    names: tuple[str, ...]
    number: int
    block: tuple[int, int]
    blocks: tuple[int, int]
    x0: int
    y0: int

    def columns(self, nx: int) -> slice:
        """Its columns of a cube of `nx`."""
        n = nx // self.blocks[0]
        return slice(self.block[0] * n, (self.block[0] + 1) * n)

    def rows(self, ny: int) -> slice:
        """Its rows of a cube of `ny`."""
        n = ny // self.blocks[1]
        return slice(self.block[1] * n, (self.block[1] + 1) * n)


def _detectors(
    names: Sequence[str], blocks: tuple[int, int], size: int, numbers: Sequence[int], other: str
) -> tuple[Detector, ...]:
    """Detectors by name, from the lower left block on, rows by rows."""
    made = []
    for k, (name, number) in enumerate(zip(names, numbers, strict=True)):
        i, j = k % blocks[0], k // blocks[0]
        more = tuple(f"{p}{name}" for p in other.split())
        made.append(Detector(name, (name, *more), number, (i, j), blocks, i * size, j * size))
    return tuple(sorted(made, key=lambda d: d.number))


# Which part of a cube belongs to which detector, and where it begins in the coordinates of the
# whole,
# as the files' own comments and photutils' model_io.py lay it out; numbers are photutils'.
DETECTORS = {
    (9, 10): _detectors(("WFC2", "WFC1"), (1, 2), 2048, (1, 2), "ACS ACS/"),
    (7, 8): _detectors(("UVIS2", "UVIS1"), (1, 2), 2048, (1, 2), "WFC3 WFC3/"),
    (6, 6): _detectors(("WF3", "WF4", "WF2", "PC"), (2, 2), 800, (3, 4, 2, 1), "WFPC2 WFPC2/"),
    (20, 10): _detectors(
        ("A1", "A3", "B4", "B2", "A2", "A4", "B3", "B1"),
        (4, 2),
        2048,
        (1, 3, 8, 6, 2, 4, 7, 5),
        "NRC NRC/ NIRCAM",
    ),
}


class PhotutilsPSF(PSFFile):
    """An ``ImagePSF`` or ``GriddedPSFModel`` of photutils, or an object like them.

    Notes
    -----
    Both hold effective PSFs, their values those per pixel: a sum of oversampling². Between the
    samples photutils uses cubic splines, bayesjoint the samples' Fourier series.
    """

    kind = "photutils PSF"
    order = 60
    in_files = False

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is a model of photutils with samples."""
        ours = any(c.__module__.startswith("photutils.") for c in type(source).__mro__)
        return ours and hasattr(source, "data") and hasattr(source, "oversampling")

    def read(self) -> PSF:
        """A varying PSF for grids of more than one place."""
        model = self.source
        oy, ox = (float(v) for v in np.broadcast_to(model.oversampling, 2))
        data = np.asarray(model.data, dtype=float)
        name = type(model).__name__
        if hasattr(model, "grid_xypos"):
            self.say(
                f"photutils {name}, {len(data)} places, {in_words((oy, ox))}, pixel "
                f"response included, {_spread(data, (oy, ox))}"
            )
            return _grid(self, data, np.asarray(model.grid_xypos, dtype=float), (oy, ox))
        data, moved = self._centred(model, data)
        self.say(
            f"photutils {name}, {in_words((oy, ox))}, pixel response included, "
            f"{_spread(data[None], (oy, ox))}{moved}"
        )
        return _grid(self, data[None], np.zeros((1, 2)), (oy, ox))

    def _centred(self, model: Any, data: np.ndarray) -> tuple[np.ndarray, str]:
        """Samples about the model's origin, which is where a source lies."""
        origin = np.asarray(getattr(model, "origin", None), dtype=float)
        centre = (np.array(data.shape[::-1]) - 1) / 2
        if origin.shape != (2,) or np.allclose(origin, centre, atol=1e-9):
            return data, ""
        text = f", centred on its origin ({origin[0]:g}, {origin[1]:g})"
        twice = np.round(2 * origin)
        if np.allclose(
            2 * origin, twice, atol=1e-9
        ):  # its own samples, with zeros where it has none
            pads = []
            for n, t in zip(data.shape, twice[::-1].astype(int), strict=True):
                left = int(max(0, n - 1 - t))
                pads.append((left, int(max(0, t - (n - 1)))))
            return np.pad(data, pads), text
        reach = np.ceil(np.maximum(origin, np.array(data.shape[::-1]) - 1 - origin)).astype(int)
        x, y = (np.arange(-r, r + 1) + o for r, o in zip(reach, origin, strict=True))
        inside = ((y >= 0) & (y <= data.shape[0] - 1))[:, None] & (
            (x >= 0) & (x <= data.shape[1] - 1)
        )
        from scipy.interpolate import RectBivariateSpline

        spline = RectBivariateSpline(*(np.arange(n) for n in data.shape), data)
        return np.where(inside, spline(y, x), 0.0), f"{text} by photutils' own splines"


def _has_places(plane: Plane) -> bool:
    return any(k.startswith("DET_YX") for k in plane.header)


def _is_stdpsf(plane: Plane) -> bool:
    return "NXPSFS" in plane.header and "NYPSFS" in plane.header


def _det_yx(h: fits.Header) -> np.ndarray:
    """Places (x, y) by number of the card."""
    cards = sorted(
        (int(k[6:]), h[k]) for k in dict.fromkeys(h) if k.startswith("DET_YX") and k[6:].isdigit()
    )
    places = []
    for number, value in cards:
        numbers = re.findall(r"-?\d+\.?\d*(?:[eE][+-]?\d+)?", str(value).replace("np.float64", ""))
        if len(numbers) != 2:
            raise ValueError(
                f"DET_YX{number} must be a pair '(y, x)'; got {value!r}. Correct the card."
            )
        places.append((float(numbers[1]), float(numbers[0])))
    return np.array(places).reshape(-1, 2)


def _version(value: Any) -> tuple[int, ...] | None:
    numbers = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", str(value or ""))
    if numbers is None:
        return None
    version = tuple(int(n or 0) for n in numbers.groups())
    unreleased = re.search(r"dev|rc|\+", str(value)) is not None
    return (1, 2, 9) if unreleased and version == SORTED_SINCE else version


def _count(h: fits.Header, card: str) -> int:
    value = h[card]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{card} must be a whole number; got {value!r}. Correct the card.")
    return value


def _stdpsf_axes(h: fits.Header, nx: int, ny: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of columns and rows, 0-based."""
    axes = []
    for letter, n in (("IPSFX", nx), ("JPSFY", ny)):
        numbered = [h.get(f"{letter}{k:02d}") for k in range(1, n + 1)]
        if all(v is not None for v in numbered):
            values = numbered
        else:  # one card a detector: IPSFXA5, IPSFXB5, ...
            values = " ".join(
                str(h[k]) for k in sorted(dict.fromkeys(h)) if re.match(f"{letter}[A-Z]5$", k)
            )
            values = values.split()
        try:
            places = np.array([float(v) for v in values]) - 1
        except (TypeError, ValueError):
            places = np.empty(0)
        if places.size != n:
            raise ValueError(
                f"An STDPSF file must have the places of its {n} "
                f"{'columns' if letter == 'IPSFX' else 'rows'} in cards {letter}01 to "
                f"{letter}{n:02d}; got {places.size}. Fetch the file anew."
            )
        axes.append(places)
    return axes[0], axes[1]
