"""Reader: how a family of files is recognised, and what its planes mean; subclass it for another.

A reader decides and says why; `bayesjoint.images.readers.read` makes an `Image` of what it found.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from astropy.io import fits
from scipy import ndimage

from bayesjoint.images.celestial import celestial
from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import SUFFIXES, FitsFile, Plane, opened, stem_of, tags
from bayesjoint.images.frame import Frame, Placement
from bayesjoint.images.image import as_mask
from bayesjoint.images.noise import (
    BRIGHT_SIGMA,
    SENTINEL,
    estimate_sigma,
    hidden_bright,
    is_huge,
)
from bayesjoint.images.planes import NOISE_KINDS
from bayesjoint.images.psf import PSF
from bayesjoint.images.readers import bands, photometry
from bayesjoint.images.readers.fpm import fpm_mask
from bayesjoint.images.readers.header_wcs import has_wcs
from bayesjoint.images.readers.masks import Meaning, bad_pixels, checked_bits, meaning_of
from bayesjoint.images.readers.place import Place, inherits, place_of
from bayesjoint.units import to_float

__all__ = ["NOISES", "Reader", "Reading", "readers"]

NOISES = ("variance", "sigma", "ivar")
PLACES = ("wcs", "pixel_scale")
DOUBTFUL_WEIGHT_FACTOR, WEIGHT_FACTOR = 1.6, 3.0
"""Ratio of a weight map's sigma to the pixels' own scatter from which on it is named, and refused."""
SIGMA_FACTOR = 10.0
"""The same for planes that say what they are, from which on it is said."""
SENTINELS = np.array([-99, -999, -9999, -99999, -32768, -32767, -2147483648.0])
"""Whole numbers that stand for "no data" among pixels that are not whole."""
FRACTIONS = 0.99
"""Share of the pixels that are not whole, from which on a sentinel is no value by chance."""
SQUARE = np.ones((3, 3), bool)
LONE_SHARE = 0.2
"""Share of single pixels at the edge of a block, from which on the block is counts of 0."""
SQUARE_SIDES = 0.01
"""Relative difference of a pixel's sides up to which it is taken as square."""
DIFFERENT_SIGMA = 1.2
"""Ratio of the sigmas of two planes of noise from which on it is said."""
MISPLACED_PX = 2.0
"""How far a companion's WCS may be from the image's."""
NOISE_POWERS = {"sigma": 1.0, "variance": 0.5, "ivar": -0.5}
"""Power of the noise that is a sigma."""
UNCERTAINTIES = {
    "": "sigma", "STD": "sigma", "STDDEVUNCERTAINTY": "sigma", "VAR": "variance",
    "VARIANCEUNCERTAINTY": "variance", "IVAR": "ivar", "INVERSEVARIANCE": "ivar",
}  # fmt: skip
"""What UTYPE of astropy's CCDData says."""


@dataclass
class Reading:
    """What was read of a file.

    Parameters
    ----------
    arguments : dict
        Of `bayesjoint.Image`.
    decisions : list of Decision
        What was decided and why.
    missing : list of str
        What no image can be without and nothing gives: "noise", "place".
    family : str
        The reader's name.
    parent : (int, int)
        Pixel (x, y) of the original image, 0-based, at which this one begins.
    crop : (int, int)
        Pixel (x, y) of the WCS's image at which it begins.
    shift : (float, float)
        Arcsec East and North, of files that `Image.write` wrote.
    telescope : str or None
        With its instrument; None where the user names the band.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    family: str = ""
    parent: tuple[int, int] = (0, 0)
    crop: tuple[int, int] = (0, 0)
    shift: tuple[float, float] = (0.0, 0.0)
    telescope: str | None = None

    def decide(self, about: str, text: str, warning: bool = False) -> None:
        """Note a decision."""
        self.decisions.append(Decision(about, text, warning))


class Reader:
    """A family of files: says which are of it, and what their planes mean.

    A subclass is registered when it is defined, and asked before those of the package. Its
    `matches` must be narrow; its other methods replace what the usual layouts mean.

    Attributes
    ----------
    family : str
        Name, for ``bayesjoint info``.
    order : int
        Families are asked from the highest on.
    """

    family: ClassVar[str] = "FITS"
    order: ClassVar[int] = 100

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _REGISTRY.append(cls)

    def __init__(self, file: FitsFile, given: dict[str, Any]) -> None:
        self.file, self.given = file, given
        self.reading = Reading(family=self.family)
        self.trusted = True

    # -- what a family may say ---------------------------------------------------------------------
    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """Whether a file is of this family."""
        return False

    def science(self) -> Plane:
        """The plane that holds the image.

        Raises
        ------
        ValueError
            Where there is none, or several and the path names none.
        """
        named = self.file.named_plane()
        if named is not None:
            if not named.is_image:
                raise ValueError(
                    f"Extension {named.tag} of {self.file.label} must hold an image; it holds none. "
                    f"Name one of: {tags(self.images()) or 'none, the file has no image'}."
                )
            return named
        found = self.images()
        if not found:
            held = [p for p in self.file.planes if p.is_image]
            there = tags(held) or ", ".join(p.name or type(p.hdu).__name__ for p in self.file.planes)
            remedy = "Name the one that is meant" if held else "Give a file with an image"
            raise ValueError(
                f"No image was found in {self.file.label}: expected pixels in the primary HDU or an "
                f"extension SCI; it holds {there}. {remedy}."
            )
        if len(found) > 1:
            path = self.file.address.file or "FILE.fits"
            name = pathlib.PurePath(path).name
            raise ValueError(
                f"{self.file.label} holds {len(found)} images: {tags(found)}. Name the one that is "
                f"meant after the path, as in {name}{found[0].tag}."
            )
        return found[0]

    def images(self) -> list[Plane]:
        """Planes that may be the image: what is called so; else the primary's and what has no name.

        An extension of another name than those of `bayesjoint.images.planes` is not meant,
        where there is another image.
        """
        held = [p for p in self.file.planes if p.is_image]
        primary = self.file.primary
        science = [p for p in held if p.kind == "science"]
        if primary.is_image and not primary.kind:
            nameless = [p for p in held if p is primary or not (p.kind or p.name)]
            return [*nameless, *science]
        return science or [p for p in held if not p.kind]

    def partner(self, sci: Plane, kinds: Sequence[str]) -> Plane | None:
        """The plane of one of these kinds that belongs to an image: of the same group and version."""
        for kind in kinds:
            found = [
                p
                for p in self.file.planes
                if p is not sci and p.kind == kind
                and (p.is_image or p.constant is not None or (kind == "psf" and is_psf_table(p)))
            ]
            if not found:
                continue
            alike = [p for p in self.images() if (p.group, p.version) == (sci.group, sci.version)]
            same = [p for p in found if (p.group, p.version) == (sci.group, sci.version)]
            if len(same) == len(alike) and sci in alike:  # the first image has the first of them
                return same[alike.index(sci)]
            if same:  # what lies between the image and the next
                end = min((p.index for p in alike if p.index > sci.index), default=np.inf)
                between = [p for p in same if sci.index < p.index < end]
                if between or len(alike) < 2:
                    return (between or same)[0]
                continue
            versions = {p.header["EXTVER"] for p in (sci, *found) if "EXTVER" in p.header}
            if len(found) > 1 or len(versions) > 1:
                continue
            if len(self.images()) == 1 or (sci.kind != "science" and not found[0].group):
                return found[0]
        return None

    def noise(self, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray] | None:
        """Kind ("variance", "sigma" or "ivar") and values of the noise; None where there is none."""
        plane = self.partner(sci, NOISE_KINDS)
        if plane is None:
            return None
        return self.noise_of(plane, sci, data)

    def other_noise(self, taken: Plane, sci: Plane, data: np.ndarray, sigma: float) -> None:
        """Say where another plane of noise has another sigma than the one that is taken."""
        for kind in ("sigma", "variance", "ivar", "uncertainty"):
            plane = self.partner(sci, (kind,))
            if plane is None or plane is taken or plane.shape[-2:] != sci.shape[-2:]:
                continue
            kind, values = kind_of_noise(plane), np.asarray(plane.image(data.shape), float)
            values = self._in_unit(values, kind, plane, sci, plane.tag)
            usable = ~no_data(kind, values) & (values > 0) & np.isfinite(data)
            if not usable.any():
                continue
            ratio = float(np.median(values[usable])) ** NOISE_POWERS[kind] / sigma
            if not 1 / DIFFERENT_SIGMA < ratio < DIFFERENT_SIGMA:
                text = f"{plane.tag} means a sigma {ratio:.3g} times that of {taken.tag}, which is taken"
                self.reading.decide("noise", f"{text}; give sigma= if that is wrong", warning=True)

    def noise_of(self, plane: Plane, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray]:
        """Kind and values of the noise that a plane holds."""
        kind, values = kind_of_noise(plane), np.asarray(plane.image(data.shape), float)
        values = self._in_unit(values, kind, plane, sci, plane.tag)
        self.reading.decide("noise", f"{kind} from {plane.tag}")
        return kind, values

    def _in_unit(
        self, values: np.ndarray, kind: str, plane: Plane, sci: Plane, label: str
    ) -> np.ndarray:
        """Noise in the unit of the image's pixels, where its plane has a BUNIT of its own."""
        unit = photometry.unit_of(sci.header, self._inherited(sci))
        own = photometry.unit_of(plane.header)
        if unit is None or own is None or own in (unit, u.dimensionless_unscaled):
            return values  # the unit of the image is often copied to its variance
        wanted = _noise_unit(unit, kind)
        try:
            new = photometry.converted(values * own, wanted, kind)
        except ValueError:
            text = f"BUNIT of {label} is {own}, which is not that of a {kind} of pixels in {unit}"
            text += f": it is taken in {wanted}; give {kind}= with a unit if that is wrong"
            self.reading.decide("noise", text, warning=True)
            return values
        if not np.allclose(new, values, equal_nan=True):
            self.reading.decide("noise", f"{kind} of {label} converted from {own} to {wanted}")
        return new

    def meaning(self, plane: Plane, sci: Plane) -> Meaning | None:
        """What the values of a mask plane mean."""
        headers = (plane.header, plane.file.primary.header, sci.header, self.file.primary.header)
        return meaning_of(*headers, name=plane.name)

    def psf(self, sci: Plane) -> Any:
        """The PSF in the file; None where there is none."""
        plane = self.partner(sci, ("psf",))
        self._left_out("psf", plane, sci)
        return None if plane is None else self._psf_hdu(plane, sci)

    def band(self, sci: Plane) -> tuple[str, list[Decision]]:
        """Band of an image."""
        return bands.band_of(sci.header, self._inherited(sci), self._name(sci))

    def calibration(self, sci: Plane, area: float | None) -> photometry.Calibration:
        """AB magnitude of one unit of an image whose pixels cover `area` steradian."""
        headers = sci.header, self._inherited(sci)
        return photometry.calibration(*headers, pixel_area_sr=area, wcs_trusted=self.trusted)

    # -- how a file is read ------------------------------------------------------------------------
    def examine(self) -> Reading:
        """Read the file: what `Image` needs, what was decided, and what is missing."""
        r, given, args = self.reading, self.given, self.reading.arguments
        sci = self.science()
        primary = self._inherited(sci)
        self._unparsable(sci)
        if self.file.cut_short:
            text = f"{self.file.label} is cut short, or something else follows its last extension"
            r.decide("pixels", f"{text}: extensions may be missing; give a whole file", warning=True)
        data = np.asarray(sci.image())
        section = self.file.address.section or ()
        if len(section) > max(2, len(sci.shape)):
            raise ValueError(
                f"A section must have as many axes as the image, {len(sci.shape)}; got "
                f"{len(section)} for {sci.tag}. Give FIRST:LAST for each axis."
            )
        if data.ndim != 2:
            raise ValueError(
                f"{sci.tag} of {self.file.label} must be an image of two axes; got shape {data.shape}. "
                "Name another extension."
            )
        if sci is not self.file.primary or len(self.file.planes) > 1:
            r.decide("pixels", f"from {sci.tag}")
        r.telescope = None if "band" in given else bands.identity(sci.header, primary) or None
        self._place(sci, data.shape)
        area = self._pixel_area(data.shape)
        self.trusted = not any(d.about == "place" and d.warning for d in r.decisions)
        calibration = self.calibration(sci, area)
        unit = calibration.unit
        if "zeropoint" not in given:
            args["zeropoint"] = calibration.zeropoint
            r.decisions += calibration.decisions
            self._not_inherited(sci, calibration, area)
        elif isinstance(given["zeropoint"], u.Quantity):
            args["zeropoint"] = photometry.zeropoint_from(
                given["zeropoint"], pixel_area=area, unit=unit
            )
        hidden = self._noise(sci, data, unit)
        bad = self._mask(sci, data.shape)
        bad = self._zero_fill(data, sci, bad, hidden)
        args["mask"] = bad
        self._psf(sci)
        for key, find in (
            ("epoch", photometry.epoch_of), ("gain", photometry.gain_of),
            ("wavelength", photometry.wavelength_of),
        ):  # fmt: skip
            if key not in given:
                args[key] = find(sci.header, primary, r.decisions)
        if "band" not in given:
            args["band"], decisions = self.band(sci)
            r.decisions += decisions
        if "name" not in given:
            name = sci.header.get("BJNAME") or self._name(sci)
            args["name"] = bands.cleaned(name) if name else None
        unused = [p for p in self.file.planes if p.is_image and not p.kind and p not in self.images()]
        if unused := [p for p in unused if p is not sci]:
            r.decide("pixels", f"not used: {tags(unused)}")
        for plane in {id(p): p for p in (sci, *self.file.planes)}.values():
            r.decisions += [d for d in plane.decisions if d not in r.decisions]
        args["data"] = data
        self._written_by_us(sci)
        return r

    def _not_inherited(
        self, sci: Plane, found: photometry.Calibration, area: float | None
    ) -> None:
        """Say where a zeropoint rests on the primary header and the extension inherits nothing."""
        if found.zeropoint is None or sci is self.file.primary or inherits(sci.header) is not False:
            return
        own = photometry.calibration(sci.header, None, pixel_area_sr=area).zeropoint
        if own is None or abs(own - found.zeropoint) > photometry.AGREE:
            text = "the zeropoint rests on cards of the primary header, though the extension says "
            text += "INHERIT = F; give zeropoint= if it is wrong"
            self.reading.decide("zeropoint", text, warning=True)

    def _name(self, sci: Plane) -> str | None:
        stem = self.file.stem
        if stem is None or self.file.address.extension is None or len(self.images()) < 2:
            return stem
        return f"{stem}_{sci.group or sci.tag.strip('[]').replace(',', '_')}"

    def _inherited(self, sci: Plane) -> fits.Header | None:
        """The primary header, for an image in an extension."""
        return None if sci is self.file.primary else self.file.primary.header

    def _unparsable(self, sci: Plane) -> None:
        bad = list(dict.fromkeys([*sci.unparsable, *self.file.primary.unparsable]))
        if bad:
            self.reading.decide(
                "pixels", f"card {', '.join(bad)} of the header cannot be parsed: its value is read as text"
            )
        for header in (sci.header, *([] if (first := self._inherited(sci)) is None else [first])):
            for key in photometry.MEASURES & set(header):
                values = list(dict.fromkeys(str(header[key, k]) for k in range(header.count(key))))
                if len(values) > 1:
                    text = f"{key} is in the header with {' and with '.join(values)}"
                    text += f": {values[0]} is taken; give zeropoint= or band= if that is wrong"
                    self.reading.decide("pixels", text, warning=True)

    def _place(self, sci: Plane, shape: tuple[int, int]) -> None:
        r, given = self.reading, self.given
        crop = sci.offset
        if any(k in given for k in PLACES):
            r.parent = _parent(sci, crop)
            return
        place: Place = place_of(
            sci.header, self._inherited(sci), self.file.hdus, sci.shape[-2:], self.file.label
        )
        r.decisions += place.decisions
        r.parent = place.parent[0] + crop[0], place.parent[1] + crop[1]
        if place.wcs is not None:
            r.arguments["wcs"], r.crop = place.wcs, crop
        elif place.pixel_scale is not None:
            r.arguments["pixel_scale"] = place.pixel_scale
        else:
            r.missing.append("place")

    def _placement(self, shape: tuple[int, int]) -> Placement | None:
        """Where pixels of a shape lie, North up where only their scale is known; None where not."""
        given, args = self.given, self.reading.arguments
        if "pixel_scale" in given:
            scale = to_float(given["pixel_scale"], "arcsec", "pixel_scale")
        elif "wcs" in given:
            return Placement(shape, wcs=celestial(given["wcs"], shape)[0])
        elif "wcs" in args:
            return Placement(shape, wcs=args["wcs"], crop=self.reading.crop)
        else:
            scale = args.get("pixel_scale")
        return None if scale is None else Placement(shape, scale=scale)

    def _pixel_area(self, shape: tuple[int, int]) -> float | None:
        """Area of the middle pixel in steradian; None where the place is not known."""
        place = self._placement(shape)
        return None if place is None else float((place.pixel_scale * u.arcsec).to_value(u.rad) ** 2)

    def _pixel_sides(self, shape: tuple[int, int]) -> float | tuple[float, float] | None:
        """Sides (y, x) of the middle pixel in arcsec; one number where it is square."""
        place = self._placement(shape)
        if place is None or place.wcs is None:
            return None if place is None else place.pixel_scale
        sx, sy = np.linalg.norm(Frame(place.sky_middle).jacobian(place, *place.middle), axis=0)
        return place.pixel_scale if abs(sx / sy - 1) < SQUARE_SIDES else (float(sy), float(sx))

    # -- noise
    def _noise(self, sci: Plane, data: np.ndarray, unit: u.UnitBase | None) -> np.ndarray:
        """Put the noise into the arguments; return which pixels its plane says have no data."""
        given, r = self.given, self.reading
        hidden = np.zeros(data.shape, bool)
        kind = next((k for k in NOISES if k in given), None)
        if kind is not None:
            value = given[kind]
            if is_file(value) and not (isinstance(value, str) and value == "estimate"):
                values = self._companion_noise(kind, value, sci, data)
                r.arguments[kind] = self._checked_noise(kind, values, data, hidden, _label(value))
            elif isinstance(value, u.Quantity):
                r.arguments[kind] = photometry.converted(value, _noise_unit(unit, kind), kind)
            else:
                r.arguments[kind] = value
            plane = self.partner(sci, NOISE_KINDS)
            if plane is not None:
                self._no_data(plane, data.shape, hidden)
            return hidden
        found = self.noise(sci, data)
        if found is None:
            r.missing.append("noise")
            return hidden
        kind, values = found
        plane = self.partner(sci, NOISE_KINDS)
        label = plane.tag if plane is not None else "the noise"
        weight = plane is not None and plane.kind == "weight"
        values = self._checked_noise(kind, values, data, hidden, label, weight)
        r.arguments[kind] = values
        usable = np.isfinite(values) & (values > 0) & np.isfinite(data)
        if plane is not None and usable.any():
            sigma = float(np.median(values[usable])) ** NOISE_POWERS[kind]
            self.other_noise(plane, sci, data, sigma)
        return hidden

    def _companion_noise(
        self, kind: str, source: Any, sci: Plane, data: np.ndarray
    ) -> np.ndarray:
        kinds = {"sigma": ("sigma", "uncertainty"), "variance": ("variance", "uncertainty"),
                 "ivar": ("ivar", "weight", "uncertainty")}  # fmt: skip
        path = _label(source)
        with companion_file(source, kind) as other:
            plane = companion(other, kinds[kind], kind)
            if plane.kind in NOISE_KINDS and (found := kind_of_noise(plane)) != kind:
                raise ValueError(
                    f"{kind} must be a {kind}; {plane.tag} of {path} is a {found} by its name. Give "
                    f"it as {found}=."
                )
            values = np.asarray(plane.image(data.shape), float)
            self.reading.decisions += plane.decisions
            values = self._cut(values, sci, data.shape, kind, path)
            self._check_place(plane, sci, data.shape, path)
            values = self._in_unit(values, kind, plane, sci, path)
        self.reading.decide("noise", f"{kind} from {path}")
        return values

    def _check_place(self, plane: Plane, sci: Plane, shape: tuple[int, int], label: str) -> None:
        """Say where a companion has a WCS, and it is that of another field."""
        wcs = self.reading.arguments.get("wcs")
        if wcs is None or not has_wcs(plane.header):
            return
        whole = plane.file.address.section is None and plane.shape[-2:] == sci.shape[-2:]
        own = sci.offset if whole else plane.offset
        try:
            other = place_of(plane.header, None, plane.file.hdus, plane.shape[-2:], label).wcs
        except ValueError:
            return
        if other is None:
            return
        x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
        a, b = (
            Placement(shape, wcs=w, crop=crop)
            for w, crop in ((wcs, self.reading.crop), (other, own))
        )
        frame = Frame(a.sky_middle)
        off = np.hypot(*frame.to_sky(b, x, y)) / a.pixel_scale
        if not off < MISPLACED_PX:
            away = f"{off:.4g} pixels away" if np.isfinite(off) else "on another side of the sky"
            text = f"{label} lies {away} by its WCS, and is taken pixel by pixel; give the file that "
            text += "belongs to the image"
            self.reading.decide("place", text, warning=True)

    def _cut(
        self, a: np.ndarray, sci: Plane, shape: tuple[int, int], what: str, path: Any
    ) -> np.ndarray:
        """Cut a companion of the whole image to the section that the path of the image names."""
        if a.shape != shape and self.file.address.section is not None and a.shape == sci.shape[-2:]:
            x0, y0 = sci.offset
            a = a[y0 : y0 + shape[0], x0 : x0 + shape[1]]
        if a.shape != shape:
            raise ValueError(
                f"{what} must have the shape of the image, {shape}; {path} has {a.shape}. Give the "
                "file that belongs to the image, or name its extension."
            )
        return a

    def _no_data(self, plane: Plane, shape: tuple[int, int], hidden: np.ndarray) -> None:
        """Pixels to which a plane of the file gives no weight have no data, whatever noise is given."""
        try:
            kind, values = kind_of_noise(plane), np.asarray(plane.image(shape), float)
        except (OSError, ValueError):
            return
        if values.shape != shape:
            return
        empty = no_data(kind, values) | (values < 0)
        if empty.any() and not empty.all():
            hidden |= empty
            self.reading.decide(
                "mask", f"{int(empty.sum())} pixels to which {plane.tag} gives no weight"
            )

    def _checked_noise(
        self,
        kind: str,
        values: np.ndarray,
        data: np.ndarray,
        hidden: np.ndarray,
        label: str,
        weight: bool = False,
    ) -> np.ndarray:
        """Count sentinels, and compare sigma with the pixels' own scatter."""
        if values.shape != data.shape:
            raise ValueError(
                f"{kind} must have the shape of the image, {data.shape}; {label} has {values.shape}. "
                f"Give {kind}= as an array or a file of that shape."
            )
        r = self.reading
        empty = no_data(kind, values)
        if empty.all():
            return values  # refused by Image, in words
        if empty.any():
            r.decide("mask", f"{int(empty.sum())} pixels to which {label} gives no weight")
            hidden |= empty
        ok = ~empty & np.isfinite(data)
        ok[ok] = data[ok] != 0 if (data[ok] == 0).mean() > 0.2 else True
        if ok.sum() < 100:
            return np.where(empty, np.nan, values)
        middle = float(np.median(values[ok]))
        sigma = {"sigma": middle, "variance": np.sqrt(abs(middle))}.get(kind)
        sigma = abs(middle) ** -0.5 if sigma is None and middle != 0 else sigma
        try:
            scatter = estimate_sigma(np.where(ok, data, 0.0).astype(float), ok)
        except ValueError:
            return np.where(empty, np.nan, values)
        if not sigma or middle < 0:
            return np.where(empty, np.nan, values)
        ratio = sigma / scatter
        limit = DOUBTFUL_WEIGHT_FACTOR if weight else SIGMA_FACTOR
        if not 1 / limit < ratio < limit:
            text = (
                f"{label} taken as {kind} means sigma {sigma:.3g} a pixel, {ratio:.3g} times the "
                f"scatter of neighbouring pixels, {scatter:.3g}"
            )
            if weight and not 1 / WEIGHT_FACTOR < ratio < WEIGHT_FACTOR:
                raise ValueError(
                    f"{text}: it is no inverse variance, but perhaps exposure time or a relative "
                    "weight. Give sigma=, variance= or ivar=, or measure the noise with "
                    "variance='estimate'."
                )
            r.decide("noise", f"{text}; check that it is {kind}", warning=True)
        return np.where(empty, np.nan, values)

    # -- mask
    def _mask(self, sci: Plane, shape: tuple[int, int]) -> np.ndarray:
        """Pixels that the file's mask, or the one given, says are bad."""
        given, r = self.given, self.reading
        bits = checked_bits(given.get("bad_bits"))
        bad = np.zeros(shape, bool)
        if "mask" in given:
            value = given["mask"]
            if value is None:
                if bits is not None:
                    raise ValueError(
                        "bad_bits chooses bits of a mask; got mask=None. Leave one of them out."
                    )
                return bad
            if is_file(value):
                name = pathlib.PurePath(_label(value)).name
                with companion_file(value, "mask") as other:
                    spans = fpm_mask(other)
                    if spans is not None:
                        values, meaning = spans
                        x0, y0 = r.parent
                        values = values[y0 : y0 + shape[0], x0 : x0 + shape[1]]
                    else:
                        plane = companion(other, ("mask",), "mask")
                        if plane.kind in (*NOISE_KINDS, "psf"):
                            raise ValueError(
                                f"mask must be a mask; {plane.tag} of {name} is a {plane.kind} by its "
                                "name. Name another extension."
                            )
                        values, meaning = plane.image(shape), self.meaning(plane, sci)
                        self._check_place(plane, sci, shape, name)
                    values = self._cut(values, sci, shape, "mask", name)
                    found = bad_pixels(values, meaning, bits, name)
                r.decisions += found[1]
                return found[0]
            booleans = as_mask(value, shape)
            if bits is not None:
                found = bad_pixels(np.asarray(value), None, bits, "mask")
                r.decisions += found[1]
                return found[0]
            return booleans
        plane = self.partner(sci, ("mask",))
        self._left_out("mask", plane, sci)
        if plane is None:
            if bits is not None:
                raise ValueError(
                    f"bad_bits chooses bits of a mask, and {self.file.label} has none. Give mask=, or "
                    "leave bad_bits out."
                )
            return bad
        values = plane.image(shape)
        if values.shape != shape:
            raise ValueError(
                f"The mask {plane.tag} must have the shape of the image, {shape}; got {values.shape}. "
                "Give mask= as an array or a file of that shape."
            )
        found = bad_pixels(values, self.meaning(plane, sci), bits, plane.tag)
        r.decisions += found[1]
        return found[0]

    def _left_out(self, kind: str, taken: Plane | None, sci: Plane) -> None:
        """Say which planes of a kind may belong to an image and are not taken."""
        others = {id(self.partner(im, (kind,))) for im in self.images() if im is not sci}
        left = [
            p.tag
            for p in self.file.planes
            if p.kind == kind and p is not taken and id(p) not in others
            and (taken is None or (p.is_image and p.group in ("", sci.group) and p.version == sci.version))
            and (p.is_image or "TFIELDS" in p.header)
        ]  # fmt: skip
        if left:
            what = kind.upper() if kind == "psf" else kind
            beside = f"beside {taken.tag}" if taken is not None else f"as the {what} of {sci.tag}"
            text = f"{', '.join(left)} {'is' if len(left) == 1 else 'are'} not taken {beside}"
            self.reading.decide(what, f"{text}; give {kind}= if it is to be used", warning=True)

    def _zero_fill(
        self, data: np.ndarray, sci: Plane, bad: np.ndarray, hidden: np.ndarray
    ) -> np.ndarray:
        """Add the pixels without data to the mask, and say where a mask hides what is bright."""
        r = self.reading
        bad_by_mask = bad.copy()
        nan = ~np.isfinite(data)
        if nan.any():
            r.decide("mask", f"{int(nan.sum())} pixels are not finite")
        filled, values = filled_blocks(data, bad | hidden)
        if filled.any():
            shown = " or ".join(f"{v:g}" for v in values)
            r.decide("mask", f"{int(filled.sum())} pixels of exactly {shown}: no data")
        text = hidden_bright(data, bad_by_mask, hidden | nan | filled)
        if text:
            text += "; invert it, choose its bits with bad_bits=, or drop it with mask=None"
            r.decide("mask", text, warning=True)
        return bad | hidden | filled

    # -- PSF
    def _psf(self, sci: Plane) -> None:
        from bayesjoint.images import psf_files

        given, r = self.given, self.reading
        scale = self._pixel_sides(sci.shape[-2:])
        if "psf" in given:
            value = given["psf"]
            if is_file(value):
                band = given.get("band") or self.band(sci)[0]
                options = {"pixel_scale": scale, "band": band}
                options["oversampling"] = given.get("psf_oversampling")
                try:
                    value, decisions = psf_files.inspect(value, **options)
                except ValueError as e:
                    if pathlib.PurePath(_label(given["psf"])).name in str(e):
                        raise
                    raise ValueError(f"{_label(given['psf'])}: {e}") from e
                r.decisions += decisions
                r.decide("PSF", f"from {_label(given['psf'])}")
            value = self._begun(value, sci)
            if given.get("psf_oversampling") is not None and not is_file(given["psf"]):
                came = "None" if value is None else f"a {type(value).__name__}"
                raise ValueError(
                    f"psf_oversampling= must come with a file as psf=, or a PSF in the image's file; "
                    f"got psf={came}. Give psf=bj.PSF(array, oversampling=...) instead."
                )
            r.arguments["psf"] = value
            return
        found = self.psf(sci)
        if found is not None:
            r.arguments["psf"] = found
        elif given.get("psf_oversampling") is not None:
            raise ValueError(
                f"psf_oversampling= must come with a PSF; {self.file.label} has none. Give psf=, or "
                "leave psf_oversampling= out."
            )

    def _psf_hdu(self, plane: Plane, sci: Plane) -> Any:
        from bayesjoint.images import psf_files

        scale = self._pixel_sides(sci.shape[-2:])
        options = {"pixel_scale": scale, "oversampling": self.given.get("psf_oversampling")}
        psf, decisions = psf_files.from_hdu(plane.hdu, **options, hdus=self.file.hdus)
        self.reading.decisions += decisions
        return self._begun(psf, sci)

    def _begun(self, psf: Any, sci: Plane) -> Any:
        """A PSF that varies, where the image begins: as it says itself, else as the header does."""
        if not (isinstance(psf, PSF) and psf.varies):
            return psf
        told = psf.origin != (0.0, 0.0)
        cut = any(sci.header.get(k) for k in ("LTV1", "LTV2"))
        if not told and cut and self.reading.parent == sci.offset:
            self.reading.decide(
                "PSF",
                "it varies, and LTV1, LTV2 are not used: it is taken as that of this image's own "
                "pixels; give psf=bj.PSF.read(path, origin=(x, y)) if it is of the parent image's",
                warning=True,
            )
        psf = psf.cropped(*(sci.offset if told else self.reading.parent))
        if psf.origin != (0.0, 0.0):
            x, y = psf.origin
            self.reading.decide("PSF", f"pixel (0, 0) of the image is ({x:g}, {y:g}) of its frame")
        return psf

    def _written_by_us(self, sci: Plane) -> None:
        given = {*PLACES, "center", "origin"} & set(self.given)
        if not given and ("BJSHIFTX" in sci.header or "BJSHIFTY" in sci.header):
            h = sci.header
            self.reading.shift = float(h.get("BJSHIFTX", 0.0)), float(h.get("BJSHIFTY", 0.0))


_REGISTRY: list[type[Reader]] = []


def readers() -> list[type[Reader]]:
    """All families, in the order in which they are asked: the user's first."""
    return sorted(_REGISTRY, key=lambda c: (-c.order, -_REGISTRY.index(c)))


def _parent(sci: Plane, crop: tuple[int, int]) -> tuple[int, int]:
    """Pixel of the original image at which an image begins, by LTV1 and LTV2."""
    values = [sci.header.get(k, 0) for k in ("LTV1", "LTV2")]
    ok = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    ltv = [round(-v) for v in values] if ok else [0, 0]
    return ltv[0] + crop[0], ltv[1] + crop[1]


def is_file(value: Any) -> bool:
    """Whether a companion is given as a path, file object or HDUList rather than as pixels."""
    opened = hasattr(value, "read") and hasattr(value, "seek")  # a PSF, and NDData, have a read
    return isinstance(value, str | os.PathLike | fits.HDUList) or opened


def is_psf_table(plane: Plane) -> bool:
    """Whether a table is one of PSFEx, or of a PSF that we wrote."""
    names = getattr(getattr(plane.hdu, "columns", None), "names", None) or ()
    return "BJPSF" in plane.header or "PSF_MASK" in {n.upper() for n in names}


@contextlib.contextmanager
def companion_file(source: Any, what: str) -> Iterator[FitsFile]:
    """Open a companion of an image; what cannot be opened is said with the argument's name."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(opened(source))
        except OSError as e:
            raise type(e)(f"{what}={_label(source)!r}: {e}") from e
        yield file


def _label(source: Any) -> str:
    """How to call a companion's file in a sentence."""
    if isinstance(source, fits.HDUList):
        return source.filename() or "the HDUList"
    return str(getattr(source, "name", "the file") if hasattr(source, "read") else source)


def _noise_unit(unit: u.UnitBase | None, kind: str) -> u.UnitBase | None:
    if unit is None:
        return None
    return {"sigma": unit, "variance": unit**2, "ivar": unit**-2}[kind]


def kind_of_noise(plane: Plane) -> str:
    """Whether a plane of noise is a sigma, variance or ivar.

    Raises
    ------
    ValueError
        For an uncertainty of another kind.
    """
    if plane.kind != "uncertainty":
        return "ivar" if plane.kind == "weight" else plane.kind
    text = str(plane.header.get("UTYPE", "")).strip().upper()
    if text not in UNCERTAINTIES:
        raise ValueError(
            f"The uncertainty in {plane.tag} must be a standard deviation, variance or inverse "
            f"variance; got UTYPE {text!r}. Give sigma=, variance= or ivar=."
        )
    return UNCERTAINTIES[text]


def companion(other: FitsFile, kinds: Sequence[str], what: str) -> Plane:
    """The plane of a companion file that holds a kind of thing.

    It is what the path names, else the only image, else the plane of that name.

    Raises
    ------
    ValueError
        Where it cannot be told.
    """
    named = other.named_plane()
    if named is not None:
        if not named.is_image and named.constant is None:
            raise ValueError(
                f"{what} must be an image; extension {named.tag} of {other.address.file} is none. "
                "Name another extension."
            )
        return named
    held = [p for p in other.planes if p.is_image or p.constant is not None]
    fitting = [p for p in held if p.kind in kinds]
    for found in (fitting, held):
        if len(found) == 1:
            return found[0]
        if found:
            break
    if not held:
        raise ValueError(
            f"{what} must be an image; {other.address.file} holds none. Give another file."
        )
    raise ValueError(
        f"{what} must be one image; {other.address.file} holds {tags(held)}. Name the one that is "
        f"meant, as in {pathlib.PurePath(other.address.file).name}{held[0].tag}."
    )


def no_data(kind: str, values: np.ndarray) -> np.ndarray:
    """Pixels whose noise is a sentinel: not finite, no weight, or beyond any noise (1e30).

    Negative values are left: they are refused or named by what makes an `Image`.
    """
    finite = np.isfinite(values)
    if kind == "ivar":
        return ~finite | (values == 0)
    positive = values[finite & (values > 0)]
    if not positive.size:
        return np.zeros(values.shape, bool)
    power = 2 if kind == "variance" else 1
    floor = float(np.percentile(positive, 1))
    return ~finite | (values == 0) | (values > floor * SENTINEL**power)


def filled_blocks(data: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Pixels without data that hold one value: blocks, rows and columns of it, and sentinels.

    A block is of 0, or of the smallest or largest value of all, beside pixels that differ from it:
    what lies beyond a mosaic's edge, or is saturated. Counts of 0 between counts are data, and so
    is light without noise that fades to 0. Sentinels are `SENTINELS`, wherever they are.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    known : ndarray of bool
        Pixels that are masked already.

    Returns
    -------
    filled : ndarray of bool
    values : list of float
        Those with which pixels are filled.
    """
    out, values = np.zeros(data.shape, bool), []
    usable = np.isfinite(data) & ~known
    if usable.sum() < 18:
        return out, values
    rest = data[usable]
    sentinel, huge = np.isin(rest, SENTINELS), is_huge(rest)
    plain = rest[~sentinel & ~huge & (rest != 0)]
    fractions = plain.size >= 18 and (plain != np.round(plain)).mean() > FRACTIONS
    for value in np.unique(rest[huge | sentinel if fractions else huge]):
        out |= (data == value) & usable
        values.append(float(value))
    rest = data[usable & ~out]
    for value in dict.fromkeys((0.0, float(rest.min()), float(rest.max()))) if rest.size else ():
        same = (data == value) & usable
        if same.sum() < 9:
            continue
        block = _blocks(same)
        other = usable & ~same & ~out
        edge = ndimage.binary_dilation(block, SQUARE) & other
        if edge.sum() < 3 or other.sum() < 9:
            continue
        lone = edge & ~ndimage.binary_opening(~same, SQUARE)
        if lone.sum() > LONE_SHARE * edge.sum():  # single counts among zeros
            continue
        step = float(np.median(np.abs(data[edge] - value)))
        if (data[other] == np.round(data[other])).all():
            try:
                least = BRIGHT_SIGMA * estimate_sigma(np.where(other, data, 0).astype(float), other)
            except ValueError:
                continue
        else:
            least = 1e-6 * float(np.abs(data[other] - value).max())
        if step > least:
            out |= block
            values.append(value)
    return out, values


def _blocks(same: np.ndarray) -> np.ndarray:
    """Those of some pixels that touch a square of 3 x 3 of them, or a run of 9."""
    cores = np.zeros(same.shape, bool)
    for shape in ((3, 3), (1, 9), (9, 1)):
        cores |= ndimage.binary_opening(same, np.ones(shape))
    labels, _ = ndimage.label(same, SQUARE)
    return np.isin(labels, np.unique(labels[cores])) & same if cores.any() else cores


IMAGE_WORDS = {
    "image", "img", "sci", "science", "data", "drz", "drc", "i2d", "int", "ooi", "osi", "bgsub",
    "flux", "stk", "stack", "coadd",
}  # fmt: skip
NOISE_WORDS = {
    "err", "error", "rms", "sigma", "sig", "std", "stddev", "unc", "uncertainty", "noise", "var",
    "variance", "ivar", "invvar", "weight", "wht", "wgt", "wt", "w", "oow", "osw",
}  # fmt: skip
"""Words of files' names, by which the noise of an image is found beside it."""


def sibling(path: str, most: int = 3) -> list[str]:
    """Files beside an image whose names differ from its own by a word that means noise."""
    here = pathlib.Path(path).expanduser()
    if "://" in path or not here.is_file():
        return []

    def words(name: str) -> list[str]:
        return [w for w in re.split(r"[-_. ]+", stem_of(name).lower()) if w]

    def rest(name: str) -> list[str]:
        return [w for w in words(name) if w not in IMAGE_WORDS | NOISE_WORDS]

    own = set(words(here.name))
    found = [
        other
        for other in sorted(here.parent.iterdir())
        if other != here
        and NOISE_WORDS & (set(words(other.name)) - own)
        and rest(other.name) == rest(here.name)
        and other.name.lower().removesuffix(".gz").removesuffix(".fz").endswith(SUFFIXES)
    ]
    return [str(f) for f in found[:most]]
