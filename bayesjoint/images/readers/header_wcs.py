"""The WCS cards of one FITS header, checked and made consistent, as a WCS of its image's two axes.

Needed where a file is read (`bayesjoint.images.readers.place` chooses the header). Only the cards
of the celestial axes reach astropy: no date, spectral axis or stray card of the telescope's
pointing can change or break the WCS. What can be read in one way only is read, and said where the
header departs from the FITS standard (Calabretta & Greisen 2002, A&A 395, 1077; SIP: Shupe et al.
2005, ASP Conf. 347, 491). What cannot is refused.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points

from bayesjoint.images.celestial import (
    MAX_SIP_ERROR_PX,
    SYSTEMS,
    celestial,
    celestial_frame,
    fit_error_px,
    to_icrs,
)
from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import to_number

__all__ = [
    "MAX_SCALE_ARCSEC",
    "MIN_SCALE_ARCSEC",
    "REMEDY",
    "WITNESS_TOLERANCE",
    "HeaderWCS",
    "Record",
    "axes_of",
    "check_scale",
    "has_wcs",
    "other_scales",
]

MIN_SCALE_ARCSEC, MAX_SCALE_ARCSEC = 0.0005, 120.0
"""What pixels of an image have: beyond it degrees were taken for arcsec, or CDELT is lost."""
SCALE_TOLERANCE = 0.01  # between two descriptions of the matrix
ANGLE_TOLERANCE_DEG = 0.1
PC_TOLERANCE = 0.03
"""How far the scale of a PC matrix may be from 1 beside a CDELT that holds the scale."""
WITNESS_TOLERANCE = 0.05  # between the scale of a WCS and that of PIXAR_A2, PIXSCALE and others
NEGLIGIBLE_SIP_PX = 0.02
REDUNDANT_PX = 0.1
SKEW_OF_DSS_PX = 2.0
"""The linear WCS beside a plate solution leaves its skew out: 0.4 pixels over 3 arcmin."""
EQUINOXES = (1800.0, 2100.0)

REMEDY = "Correct the header, or give wcs= or pixel_scale="
SAME_AS_ICRS = re.compile(r"((FK5|ICRS)[ /,]*)?\(?J?2000(\.0*)?\)?|ICR[SF]\d?|GAIA.*")
CTYPE = re.compile(r"(RA|DEC|[A-Z]LON|[A-Z]LAT|[A-Z]{2}L[NT](?=-))(?![A-Z0-9])(.*)")
PROJECTION = re.compile(r"[-_ ]+([A-Z]{3})([-_ ]+SIP)?[-_ ]*")
NUMBER = re.compile(
    r"(CRVAL|CRPIX|CDELT|CROTA)\d|(CD|PC|PV)\d_\d+|LONPOLE|LATPOLE|EQUINOX|EPOCH"
    r"|(A|B)P?_(ORDER|\d_\d)"
)
OTHER = re.compile(r"(CTYPE|CUNIT)\d|RADE(C?)SYS|WAT\d_\d{3}")
SIP_TERM = re.compile(r"(A|B)_(\d)_(\d)")
TABLES = re.compile(
    r"(CPDIS|D2IMDIS|CPERR|D2IMERR|CQDIS|CQERR)\d|(DP|DQ|D2IM)\d(\..*)?|AXISCORR|D2IMEXT"
)
DSS = re.compile(
    r"AMD[XY]\d+|CNPIX\d|PPO\d|[XY]PIXELSZ|PLTRA[HMS]|PLTDEC(SN|[DMS])|PLTSCALE|EQUINOX"
)
HARMLESS = re.compile(r"datfix|obsfix|unitfix|celfix|cylfix|spcfix|deprecated|DATE|MJD")
UNITS = {"": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600,
         "mas": 1 / 3.6e6, "rad": np.degrees(1.0)}  # fmt: skip
SCALE_CARDS = ("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "PIXELSCL")


class Record:
    """The decisions so far."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def note(self, text: str) -> None:
        """Add what cannot make a number wrong."""
        self.decisions.append(Decision("place", text))

    def warn(self, text: str) -> None:
        """Add what may make a number wrong."""
        self.decisions.append(Decision("place", text, True))


@dataclass(frozen=True)
class _Axis:
    """What CTYPE says of a celestial axis: RA or another name, projection or None, -SIP or not."""

    text: str
    name: str
    projection: str | None
    sip: bool


def axes_of(header: fits.Header, key: str = "") -> dict[int, _Axis]:
    """The axes of a header that are celestial, by CTYPE."""
    axes = {}
    for axis in range(1, 10):
        text = str(header.get(f"CTYPE{axis}{key}", "")).strip()
        if m := CTYPE.fullmatch(text.upper()):
            p = PROJECTION.fullmatch(m[2])
            axes[axis] = _Axis(text, m[1], p and p[1], bool(p and p[2]))
    return axes


def has_wcs(header: fits.Header) -> bool:
    """Whether a header has a WCS that may be one of the sky."""
    return bool(axes_of(header)) or _is_dss(header)


def _is_dss(header: fits.Header) -> bool:
    """Whether a header has the plate solution of a scan of the Digitized Sky Survey."""
    return "AMDX1" in header and "PLTRAH" in header


def check_scale(scale: float) -> None:
    """Refuse pixels that no image has, arcsec."""
    if not MIN_SCALE_ARCSEC <= scale <= MAX_SCALE_ARCSEC:
        raise ValueError(
            f"Pixels must be {MIN_SCALE_ARCSEC} to {MAX_SCALE_ARCSEC:g} arcsec wide; got "
            f'{scale:.5g}" from the WCS. Correct CD or CDELT, or give wcs= or pixel_scale=.'
        )


class HeaderWCS:
    """The WCS cards of one header, made consistent, and the WCS of them.

    Parameters
    ----------
    source : Header
        The header of the WCS.
    headers : (Header, Header or None)
        That of the pixels and the primary one: for the lengths of axes, and as witnesses.
    """

    def __init__(
        self,
        source: fits.Header,
        headers: tuple[fits.Header, fits.Header | None],
        hdus: fits.HDUList | None,
        shape: tuple[int, int],
        record: Record,
    ) -> None:
        self.source, self.headers, self.hdus = source, headers, hdus
        self.shape, self.record = shape, record
        self.pixels = _pixel_axes(headers[0], shape)
        self.cards: dict[str, Any] = {}
        self.axes: list[_Axis] = []
        self.name, self.latitude, self.projection = "", 0, ""  # RA or GLON, its axis, TAN or other

    def wcs(self) -> WCS:
        """Read, check and build."""
        return self._dss() if _is_dss(self.source) else self._standard()

    def _standard(self) -> WCS:
        self._celestial_axes()
        self._collect()
        self._projection()
        self._reference()
        self._system()
        self._matrix()
        left_out = self._distortion()
        tables = [c for c in self.source.cards if TABLES.fullmatch(c.keyword)]
        wcs = self._build(self.cards, tables)
        if left_out is not None:
            cards, text = left_out
            with _heard():
                other = WCS(fits.Header(cards))
            self._compare_wcs(wcs, other, text, REDUNDANT_PX)
        return wcs

    def _dss(self) -> WCS:
        """TAN and SIP of the plate solution of the DSS, which astropy evaluates but cannot write.

        The plate solution is a polynomial of third order in the tangent plane, as SIP is.
        """
        self.projection = "plate solution"
        cards = {c.keyword: c.value for c in self.source.cards if DSS.fullmatch(c.keyword)}
        plate = self._build(cards, [])
        x, y = self._lattice(23)
        sky = SkyCoord(*to_icrs(plate, celestial_frame(plate), x, y), unit="deg")
        with _heard():
            wcs = fit_wcs_from_points((x, y), sky, proj_point=sky[len(sky) // 2], sip_degree=3)
        error = fit_error_px(wcs, x, y, sky)
        if not error < MAX_SIP_ERROR_PX:
            raise ValueError(
                f"A plate solution must be within {MAX_SIP_ERROR_PX} pixels of TAN and SIP; got "
                f"{error:.2g} pixels. {REMEDY}."
            )
        self.record.note(
            "the WCS is the plate solution of the DSS (AMDX, AMDY), approximated by TAN and SIP, "
            f"at most {error:.2g} pixels off"
        )
        if axes_of(self.source):
            try:
                scratch = Record()
                other = HeaderWCS(self.source, self.headers, self.hdus, self.shape, scratch)
                by_ctype = other._standard()
            except ValueError:
                return wcs
            text = "the WCS of CTYPE, CRVAL and CD is left out"
            self._compare_wcs(wcs, by_ctype, text, SKEW_OF_DSS_PX)
        return wcs

    def _lattice(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (x, y) of n x n places from corner to corner of the image."""
        ny, nx = self.shape
        x, y = np.meshgrid(np.linspace(0, nx - 1, n), np.linspace(0, ny - 1, n))
        return x.ravel(), y.ravel()

    def _collect(self) -> None:
        """The cards of the two axes, renamed to axes 1 and 2, numbers as numbers."""
        new = {str(a): str(k) for k, a in enumerate(self.pixels, 1)}
        for card in self.source.cards:
            key = was = card.keyword.upper()
            if m := re.fullmatch(r"(PC|CD)0+(\d)_?0+(\d)", key):  # PC001002, and PC01_02 of CASA
                key = f"{m[1]}{m[2]}_{m[3]}"
            if not (NUMBER.fullmatch(key) or OTHER.fullmatch(key)):
                continue
            if m := re.fullmatch(r"(CD|PC)(\d)_(\d)", key):
                if m[2] not in new:
                    continue
                if m[3] not in new:
                    self._uncoupled(was, card.value, m[3])
                    continue
                key = f"{m[1]}{new[m[2]]}_{new[m[3]]}"
            elif m := re.fullmatch(r"([A-Z]{2,5})(\d)(_\d+)?", key):
                if m[2] not in new:
                    continue
                key = f"{m[1]}{new[m[2]]}{m[3] or ''}"
            if NUMBER.fullmatch(key):
                value = self._number(was, card.value)
                if value is None:
                    continue
            else:
                value = card.value.strip() if isinstance(card.value, str) else card.value
            if key in self.cards and self.cards[key] != value:
                raise ValueError(
                    f"{was} must be in the header once; got {self.cards[key]!r} and {value!r}. "
                    f"{REMEDY}."
                )
            self.cards[key] = value

    def _uncoupled(self, key: str, value: Any, axis: str) -> None:
        """Refuse a matrix by which RA and Dec depend on a third axis (but at its reference)."""
        if to_number(value) and to_number(self.source.get(f"CRPIX{axis}")) != 1:
            raise ValueError(
                "RA and Dec must depend on the two axes of the image alone; "
                f"got {key} = {value!r}. {REMEDY}."
            )

    def _number(self, key: str, value: Any) -> float | None:
        """A card's number; None where it has no value."""
        if isinstance(value, fits.card.Undefined) or value is None:
            return None
        number = to_number(value)
        text = isinstance(value, str)
        if number is None and text and key in ("EQUINOX", "EPOCH"):
            number = to_number(re.sub(r"^[JB]", "", value.strip().upper()))
        if number is None:
            raise ValueError(
                f"{key} must be a number; got {'the text ' if text else ''}{value!r}. {REMEDY}."
            )
        if text:
            self.record.warn(f"{key} = {value!r} is text and read as the number {number:.12g}")
        return number

    def _celestial_axes(self) -> None:
        """The celestial axes must be those of the image's pixels."""
        found = axes_of(self.source)
        axes = sorted(found)
        names = [found[a].name for a in axes]
        told = ", ".join(f"CTYPE{a} = {found[a].text!r}" for a in axes)
        pairs = [{lon, lat} for lon, lat in SYSTEMS.items()]
        if len(axes) != 2 or set(names) not in pairs:
            if len(axes) == 2 and not set(names) & set().union(*pairs):
                must = "be equatorial, galactic, supergalactic or ecliptic"
            else:
                must = "name one longitude and one latitude"
                keys = [f"CTYPE{a}" for a in self.pixels if a not in axes]
                other = [f"{k} = {self.source[k]!r}" for k in keys if k in self.source]
                told = ", ".join([told, *other])
            raise ValueError(f"CTYPE must {must}; got {told}. {REMEDY}.")
        if tuple(axes) != self.pixels:
            raise ValueError(
                f"RA and Dec must be on the axes {self.pixels[0]} and {self.pixels[1]} of the "
                f"image's pixels; got {told}. {REMEDY}."
            )
        self.axes = [found[a] for a in axes]
        self.latitude = 1 + [n in SYSTEMS.values() for n in names].index(True)
        self.name = names[2 - self.latitude]

    def _projection(self) -> None:
        """CTYPE as FITS writes it, and its projection."""
        told = ", ".join(
            f"CTYPE{a} = {axis.text!r}" for a, axis in zip(self.pixels, self.axes, strict=True)
        )
        if self.pixels != (1, 2) and any(SIP_TERM.fullmatch(k) for k in self.cards):
            raise ValueError(f"SIP must be on axes 1 and 2; got {told}. {REMEDY}.")
        for k, axis in enumerate(self.axes, 1):
            if axis.projection is None:
                raise ValueError(
                    f"CTYPE must name a projection, as {axis.name:-<4}-TAN does; got {told}. "
                    f"{REMEDY}."
                )
            right = f"{axis.name:-<4}-{axis.projection}"
            if axis.text not in (right, right + "-SIP"):
                self.record.warn(
                    f"CTYPE{self.pixels[k - 1]} = {axis.text!r} is read as "
                    f"'{right}{'-SIP' if axis.sip else ''}'"
                )
            self.cards[f"CTYPE{k}"] = right
        self.projection = self.axes[0].projection or ""
        if self.projection != self.axes[1].projection:
            raise ValueError(f"CTYPE must name one projection; got {told}. {REMEDY}.")

    def _reference(self) -> None:
        """CRVAL, CRPIX, the poles."""
        for k in (1, 2):
            if f"CRVAL{k}" not in self.cards:
                raise ValueError(f"CRVAL{k} must be in the header; got a WCS without it. {REMEDY}.")
            if f"CRPIX{k}" not in self.cards:
                self.record.warn(f"CRPIX{k} is not in the header: 0 is taken, as FITS says")
                self.cards[f"CRPIX{k}"] = 0.0
        unit = self._unit(self.latitude)
        lat = self.cards[f"CRVAL{self.latitude}"] * unit
        lon = self.cards[f"CRVAL{3 - self.latitude}"] * self._unit(3 - self.latitude)
        if abs(lat) > 90:
            raise ValueError(
                f"CRVAL{self.latitude}, a latitude, must be within -90 to 90 deg; got {lat:g}. "
                f"{REMEDY}."
            )
        if abs(lon) > 720:
            raise ValueError(
                f"CRVAL{3 - self.latitude}, a longitude, must be within 0 to 360 deg; got {lon:g}. "
                f"{REMEDY}."
            )

    def _unit(self, axis: int) -> float:
        """Degrees in the unit of an axis; 1 where it is unknown here."""
        return UNITS.get(str(self.cards.get(f"CUNIT{axis}", "")).strip().lower(), 1.0)

    def _system(self) -> None:
        """RADESYS and EQUINOX."""
        cards, record = self.cards, self.record
        system = str(cards.pop("RADECSYS", "") or "").strip().upper()
        system = str(cards.pop("RADESYS", system) or "").strip().upper()
        equinox, epoch = cards.pop("EQUINOX", None), cards.pop("EPOCH", None)
        key = "EQUINOX"
        if self.name in ("GLON", "SLON"):
            return
        if equinox is None and epoch is not None:
            if epoch in (1950.0, 2000.0):  # its meaning before EQUINOX came
                equinox, key = epoch, "EPOCH"
            elif EQUINOXES[0] <= epoch <= EQUINOXES[1]:
                record.note(f"EPOCH = {epoch:g} is not taken for an equinox")
        if equinox is not None and not EQUINOXES[0] <= equinox <= EQUINOXES[1]:
            record.warn(f"EQUINOX = {equinox:g} is no equinox: J2000 is taken")
            equinox = None
        if system not in ("", "ICRS", "FK5", "FK4", "FK4-NO-E"):
            if SAME_AS_ICRS.fullmatch(system):
                record.note(f"RADESYS = {system!r} is taken as ICRS")
            else:
                record.warn(
                    f"RADESYS = {system!r} is taken as ICRS; where its catalogue is off, move the "
                    "image by .shifted(dx, dy)"
                )
            system, equinox = "ICRS", None
        if system == "ICRS" and self.name == "RA":
            equinox = None
        old = system.startswith("FK4") or (not system and equinox is not None and equinox < 1984)
        if self.name == "RA" and equinox is not None and equinox != (1950.0 if old else 2000.0):
            name = f"FK4, B{equinox:g}" if old else f"FK5, J{equinox:g}"
            record.warn(
                f"{key} = {equinox:g}: positions are taken as {name} and precessed to ICRS; "
                "give wcs= if they are J2000"
            )
        elif self.name == "RA" and old:
            record.note("positions are FK4 (B1950) and are converted to ICRS")
        if system:
            cards["RADESYS"] = system
        if equinox is not None:
            cards["EQUINOX"] = equinox

    # -- scale and orientation
    def _matrix(self) -> None:
        """One matrix from CD, PC, CDELT and CROTA; what disagrees is said."""
        cards = self.cards
        cd = {k: cards[k] for k in [f"CD{i}_{j}" for i in (1, 2) for j in (1, 2)] if k in cards}
        pc = {k: cards[k] for k in [f"PC{i}_{j}" for i in (1, 2) for j in (1, 2)] if k in cards}
        cdelt = [cards.get(f"CDELT{k}") for k in (1, 2)]
        crota = cards.get(f"CROTA{self.latitude}", cards.get(f"CROTA{3 - self.latitude}"))
        units = np.array([self._unit(1), self._unit(2)])
        if not cd and not pc and cdelt == [None, None]:
            raise ValueError(
                f"A WCS must have a CD matrix, or CDELT, for its scale; got neither. {REMEDY}."
            )
        steps = np.array([1.0 if v is None else v for v in cdelt])
        matrix_pc = np.array(
            [[pc.get(f"PC{i}_{j}", float(i == j)) for j in (1, 2)] for i in (1, 2)]
        )
        by_pc = steps[:, None] * matrix_pc
        by_crota = _turned(steps, crota or 0.0, self.latitude)
        by_cd = np.array([[cd.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
        if cd and pc and not np.allclose(np.abs(by_pc), np.eye(2)):
            # FITS forbids the two together; astropy, whose to_header() writes PC, takes PC
            matrix = by_pc
            self._compare(by_pc, by_cd, "PC matrix", "CD", angle=True)
            drop = [*cd, "CROTA1", "CROTA2"]
            cd = {}
        elif cd:
            matrix = by_cd
            if any(v is not None and abs(v) != 1 for v in cdelt):
                name = "CDELT" if crota is None else "CDELT and CROTA"
                self._compare(by_cd, by_crota, "CD matrix", name, angle=crota is not None)
            elif crota is not None:
                unit = np.sqrt(abs(np.linalg.det(by_cd)))
                self._compare(by_cd, by_crota * unit, "CD matrix", "CROTA", angle=True)
            drop = [*pc, "CDELT1", "CDELT2", "CROTA1", "CROTA2"]
        elif pc:
            matrix = by_pc
            if crota is not None:
                self._compare(by_pc, by_crota, "PC matrix", "CROTA", angle=True, scale=False)
            drop = ["CROTA1", "CROTA2"]
        else:
            matrix, drop = by_crota, []
            lone = f"CROTA{3 - self.latitude}"
            if cards.get(lone) and f"CROTA{self.latitude}" not in cards:
                matrix = np.diag(steps)
                self.record.warn(
                    f"{lone} = {cards[lone]:g} is not used, as FITS has the rotation in "
                    f"CROTA{self.latitude}; give wcs= if the image is rotated"
                )
        self.cards = {k: v for k, v in cards.items() if k not in drop}
        matrix = matrix * units[:, None]
        size = np.abs(matrix).max()
        if not abs(np.linalg.det(matrix)) > 1e-9 * size**2:
            told = {f"CDELT{k}": v for k, v in zip((1, 2), steps, strict=True)}
            cause = ", ".join(f"{k} = {v:g}" for k, v in (cd or pc or told).items())
            raise ValueError(
                f"The WCS matrix must span an area; got {cause}, which has none. {REMEDY}."
            )
        if not any(k.startswith("PV") for k in self.cards):  # which may hold a scale of their own
            check_scale(float(np.sqrt(abs(np.linalg.det(matrix))) * 3600))
        if not cd and pc:
            self._check_pc(matrix_pc, steps * units)

    def _compare(
        self,
        used: np.ndarray,
        other: np.ndarray,
        first: str,
        second: str,
        *,
        angle: bool,
        scale: bool = True,
    ) -> None:
        """Say where two descriptions of the pixels disagree; the first is used."""
        det = [float(np.linalg.det(m)) for m in (used, other)]
        if 0 in det:
            return
        unit = 3600 * self._unit(1)
        a, b = (np.sqrt(abs(d)) * unit for d in det)
        parts = []
        if scale and abs(np.log(a / b)) > SCALE_TOLERANCE:
            parts.append(f'{a:.5g}" a pixel where {second} says {b:.5g}"')
        if angle:
            if det[0] * det[1] < 0:  # CDELT is often written without its sign
                other = other * np.array([[-1.0, 1.0]])
            m = np.linalg.inv(other) @ used
            turn = np.degrees(np.arctan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1]))
            if abs(turn) > ANGLE_TOLERANCE_DEG:
                parts.append(f"an angle {abs(turn):.2f} deg from that of {second}")
        if parts:
            self.record.warn(
                f"the {first} is used; it gives {' and '.join(parts)}; "
                "give wcs= or pixel_scale= if that is wrong"
            )

    def _check_pc(self, pc: np.ndarray, steps: np.ndarray) -> None:
        """A PC matrix beside a CDELT that holds the scale must be of scale 1."""
        if np.allclose(np.abs(steps), 1.0):
            return
        stretch = float(np.sqrt(abs(np.linalg.det(pc))))  # 0 is refused before
        if abs(stretch - 1) < PC_TOLERANCE:
            return
        by_cdelt = float(np.sqrt(abs(np.prod(steps)))) * 3600
        by_wcs = by_cdelt * stretch
        witness = other_scales(*self.headers)
        if any(abs(s / by_wcs - 1) < WITNESS_TOLERANCE for s in witness.values()):
            return
        against = [k for k, s in witness.items() if abs(s / by_cdelt - 1) < WITNESS_TOLERANCE]
        lost = pc[0, 1] == pc[1, 0] == 0 and stretch < 1
        elements = ", ".join(f"PC{i + 1}_{j + 1} = {pc[i, j]:.4g}" for i, j in np.argwhere(pc))
        text = f'{elements}: pixels of {by_wcs:.4g}" where CDELT alone says {by_cdelt:.4g}"'
        if against:
            text += f", as {against[0]} does"
        if lost or against:
            cause = "; PC1_2 and PC2_1 seem to be lost" if lost else ""
            raise ValueError(
                "PC must be a rotation (of determinant 1) where CDELT holds the scale; "
                f"got {text}{cause}. Give pixel_scale={by_cdelt:.4g} if that is the scale, or wcs= "
                "if the header is right."
            )
        self.record.warn(
            f"PC is no rotation (of determinant 1) though CDELT holds the scale, {text}; "
            f'{by_wcs:.4g}" is taken; give pixel_scale= if it is wrong'
        )

    # -- distortion
    def _distortion(self) -> tuple[dict[str, Any], str] | None:
        """SIP, TPV and their like; where both are there, the cards not taken and what to say."""
        cards, record, projection = self.cards, self.record, self.projection
        pv = [k for k in cards if re.fullmatch(r"PV\d_\d+", k)]
        self._wat()
        sip = self._sip()
        scamp = self.projection == "TPV" or any(
            self.projection == "TAN" and (int(k.split("_")[1]) >= 5 or int(k[2]) == self.latitude)
            for k in pv
        )
        if not scamp:
            return None
        by_sip = {k: v for k, v in self.cards.items() if k not in pv}
        for k in (1, 2):
            by_sip[f"CTYPE{k}"] = by_sip[f"CTYPE{k}"].replace("-TPV", "-TAN")
        told_tpv = projection == "TPV"
        by_pv = {k: v for k, v in self.cards.items() if not re.match(r"(A|B)P?_", k)}
        for k in (1, 2):
            text = by_pv[f"CTYPE{k}"].removesuffix("-SIP")
            by_pv[f"CTYPE{k}"] = text.replace("-TAN", "-TPV")
        if not sip:
            if not told_tpv:
                record.note("the PV terms beside CTYPE TAN are those of SCAMP: read as TPV")
            self.cards = by_pv
            return None
        if told_tpv:
            self.cards = by_pv
            return by_sip, "the SIP coefficients are left out, as CTYPE says TPV"
        self.cards = by_sip
        return by_pv, "the PV terms of SCAMP are left out, as there are SIP coefficients"

    def _compare_wcs(self, wcs: WCS, other: WCS, text: str, within: float) -> None:
        """Say how far a WCS that was left out is from the one that was taken."""
        x, y = self._lattice(9)
        try:
            px, py = wcs.all_world2pix(*other.all_pix2world(x, y, 0), 0, quiet=True)
            off = float(np.hypot(px - x, py - y).max())
        except Exception:  # of an inverse that is not there
            off = np.inf
        if off < within:
            self.record.note(f"{text}; the two agree within {off:.2g} pixels")
        else:
            self.record.warn(
                f"{text}; the two differ by up to {off:.2g} pixels; give wcs= if it is right"
            )

    def _wat(self) -> None:
        """IRAF's TNX and ZPX: their surfaces are in WAT cards."""
        wat = [k for k in self.cards if k.startswith("WAT")]
        if self.projection in ("TNX", "ZPX"):
            text = "".join(str(self.cards[k]) for k in sorted(wat))
            if "lngcor" not in text and "latcor" not in text and self.projection == "TNX":
                self.record.warn(
                    "CTYPE says TNX and the header has no surface lngcor or latcor in WAT cards: "
                    "read as TAN"
                )
                for k in (1, 2):
                    self.cards[f"CTYPE{k}"] = self.cards[f"CTYPE{k}"].replace("-TNX", "-TAN")
                self.projection = "TAN"
            else:
                return
        self.cards = {k: v for k, v in self.cards.items() if k not in wat}

    def _sip(self) -> bool:
        """Whether SIP is applied; makes suffix, orders and coefficients consistent."""
        cards, record = self.cards, self.record
        terms = {k: v for k, v in cards.items() if SIP_TERM.fullmatch(k) and v != 0}
        orders = {k: int(cards[f"{k}_ORDER"]) for k in "AB" if f"{k}_ORDER" in cards}
        said = any(axis.sip for axis in self.axes)
        if not terms:
            if said and not orders:
                record.warn(
                    "CTYPE says -SIP and the header has no SIP coefficients: pixels are taken as "
                    "free of distortion"
                )
            self._drop_sip()
            return False
        if said and not all(axis.sip for axis in self.axes):
            record.note("CTYPE says -SIP of one axis alone: taken for both")
        for k in "AB":
            found = [SIP_TERM.fullmatch(t) for t in terms if t.startswith(f"{k}_")]
            highest = max((int(m[2]) + int(m[3]) for m in found), default=0)
            if k not in orders:
                how = f"{highest} is taken, that of its coefficients"
                if not highest:
                    how = f"axis {'AB'.index(k) + 1} is taken as free of distortion"
                record.warn(f"{k}_ORDER is not in the header: {how}")
                orders[k] = highest
            elif highest > orders[k]:
                record.warn(f"SIP coefficients above {k}_ORDER = {orders[k]} are left out")
                for m in found:
                    if int(m[2]) + int(m[3]) > orders[k]:
                        cards.pop(m[0])
                        terms.pop(m[0])
            if orders[k] == 1:
                record.note(f"SIP terms of {k}_ORDER = 1 are applied, which astropy passes over")
            cards[f"{k}_ORDER"] = max(orders[k], 2)
        if not all(f"{k}P_ORDER" in cards for k in "AB"):
            self.cards = cards = {k: v for k, v in cards.items() if not re.match(r"[AB]P_", k)}
        for k in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
            if k in cards:
                cards[k] = int(cards[k])
        moved = self._sip_size(terms)
        if not said and self.projection != "TPV":
            headers = [h for h in self.headers if h is not None]
            drizzled = [k for k in ("D001VER", "NDRIZIM") if any(k in h for h in headers)]
            if drizzled:
                record.warn(
                    "the SIP coefficients are left out, as CTYPE does not say -SIP and "
                    f"{drizzled[0]} says that the image was drizzled"
                )
                self._drop_sip()
                return False
            text = (
                "the SIP coefficients are applied though CTYPE does not say -SIP; they move pixels "
                f"by up to {moved:.2g}"
            )
            if moved > NEGLIGIBLE_SIP_PX:
                record.warn(
                    f"{text}; if they are left over from before resampling, give wcs= without them"
                )
            else:
                record.note(text)
        for k in (1, 2):
            cards[f"CTYPE{k}"] += "-SIP"
        return True

    def _sip_size(self, terms: dict[str, float]) -> float:
        """Largest shift of a pixel of the image by SIP, pixels."""
        x, y = self._lattice(9)
        u, v = x + 1 - self.cards["CRPIX1"], y + 1 - self.cards["CRPIX2"]
        shift = {"A": np.zeros_like(u), "B": np.zeros_like(u)}
        for key, c in terms.items():
            m = SIP_TERM.fullmatch(key)
            shift[m[1]] += c * u ** int(m[2]) * v ** int(m[3])
        return float(np.hypot(shift["A"], shift["B"]).max())

    def _drop_sip(self) -> None:
        self.cards = {k: v for k, v in self.cards.items() if not re.match(r"(A|B)P?_", k)}
        for k in (1, 2):
            self.cards[f"CTYPE{k}"] = self.cards[f"CTYPE{k}"].removesuffix("-SIP")

    # -- astropy
    def _build(self, cards: dict[str, Any], tables: list[fits.Card]) -> WCS:
        """Astropy's WCS, its warnings among the decisions."""
        header = fits.Header(cards)
        for card in tables:
            header.append(card, end=True)
        hdus = self.hdus if tables else None
        with _heard() as heard:
            try:
                wcs = WCS(header, fobj=hdus)
            except Exception as e:  # wcslib's errors have many classes; missing tables more
                raise self._unreadable(e) from e
            wcs, decisions = celestial(wcs, self.shape)
        for text in heard:
            say = self.record.note if HARMLESS.search(text) else self.record.warn
            say(f"astropy: {text.rstrip('.')[:250]}")
        self.record.decisions += decisions
        return wcs

    def _unreadable(self, e: Exception) -> ValueError:
        lines = [t.strip().rstrip(".") for t in str(e).splitlines() if t.strip()]
        lines = [t for t in lines if not t.startswith("ERROR")] or lines or [type(e).__name__]
        cause = lines[-1][:200]
        if any(re.match(r"CPDIS|D2IMDIS|D2IMEXT|AXISCORR", k) for k in self.source):
            cause = f"look-up tables of distortion (CPDIS, D2IMDIS) that cannot be read ({cause})"
        elif "rojection code" in str(e):
            cause = f"the projection {self.projection!r} in CTYPE1"
        else:
            cause = f"this: {cause}"
        return ValueError(f"The WCS must be one that astropy can read; got {cause}. {REMEDY}.")


def _turned(steps: np.ndarray, degrees: float, latitude: int) -> np.ndarray:
    """The matrix of CDELT and CROTA (of the latitude axis)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if latitude == 1:
        s = -s
    return np.array([[steps[0] * c, -steps[1] * s], [steps[0] * s, steps[1] * c]])


def _pixel_axes(own: fits.Header, shape: tuple[int, int]) -> tuple[int, int]:
    """The two FITS axes of an image's pixels: those that are left without axes of length 1."""
    n = own.get("NAXIS", 2)
    if not isinstance(n, int) or n <= 2:
        return (1, 2)
    lengths = {k: own.get(f"NAXIS{k}", 1) for k in range(1, n + 1)}
    long = [k for k, v in lengths.items() if v != 1]
    if len(long) == 2 and (lengths[long[1]], lengths[long[0]]) == tuple(shape):
        return long[0], long[1]
    return (1, 2)


def other_scales(*headers: fits.Header | None) -> dict[str, float]:
    """Pixel scales in arcsec that other cards than the WCS state."""
    found: dict[str, float] = {}
    for header in headers:
        if header is None:
            continue
        area = to_number(header.get("PIXAR_A2"))
        if area and area > 0:
            found.setdefault("PIXAR_A2", area**0.5)
        for key in SCALE_CARDS:
            scale = to_number(header.get(key))
            if scale and MIN_SCALE_ARCSEC <= scale <= MAX_SCALE_ARCSEC:
                found.setdefault(key, scale)
    return found


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What astropy warns of or logs in this thread, kept and not printed."""
    texts: list[str] = []
    me = threading.get_ident()

    def keep(r: logging.LogRecord) -> bool:
        if r.thread != me:
            return True
        texts.append(" ".join(r.getMessage().split()))
        return False

    logger = logging.getLogger("astropy")
    logger.addFilter(keep)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield texts
        # garbage collected meanwhile may warn, too, and has nothing to do with this file
        told = [w for w in caught if not issubclass(w.category, ResourceWarning)]
        texts += [" ".join(str(w.message).split()) for w in told]
    finally:
        logger.removeFilter(keep)
