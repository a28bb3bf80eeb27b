"""Masks: which values of a mask plane mean that a pixel is bad, by survey and instrument.

A bit mask is no boolean: LSST's DETECTED marks the galaxy itself. Where the meaning of the bits is
known, those that only inform are left alone; what was decided is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import to_number

__all__ = ["Meaning", "bad_pixels", "checked_bits", "meaning_of"]

BITS, LARGEST_BIT = 64, 31
"""How many bits a mask may have, and the largest that a user may give by its number."""


@dataclass(frozen=True)
class Meaning:
    """What the values of a mask plane mean.

    Parameters
    ----------
    source : str
        Where that is known from, for messages.
    planes : mapping of str to int
        Bit, counted from 0, of each named plane.
    bad : collection of str, optional
        Planes whose pixels are ignored; None: all but those of `informs`.
    informs : collection of str
        Planes that only inform.
    complete : bool
        Whether every bit that is used has a name.
    codes : mapping of int to str, optional
        For an enumeration: the name of each value. Then there are no bits.
    good_codes : collection of int
        Values of an enumeration whose pixels are used.
    """

    source: str
    planes: Mapping[str, int] = field(default_factory=dict)
    bad: frozenset[str] | None = None
    informs: frozenset[str] = frozenset()
    complete: bool = False
    codes: Mapping[int, str] | None = None
    good_codes: frozenset[int] = frozenset({0})

    def is_bad(self, plane: str) -> bool:
        """Whether pixels of a plane are ignored unless the user says otherwise."""
        return plane not in self.informs if self.bad is None else plane in self.bad


AFW_BAD = frozenset({"BAD", "SAT", "CR", "EDGE", "NO_DATA", "UNMASKEDNAN", "VIGNETTED"})
"""LSST Science Pipelines; INTRP (values were interpolated) by the user's choice."""

# jwst.datamodels dqflags "pixel": DO_NOT_USE sums up what is bad, the others say why
JWST = Meaning(
    "JWST's DQ",
    {
        "DO_NOT_USE": 0, "SATURATED": 1, "JUMP_DET": 2, "DROPOUT": 3, "OUTLIER": 4,
        "PERSISTENCE": 5, "AD_FLOOR": 6, "CHARGELOSS": 7, "UNRELIABLE_ERROR": 8,
        "NON_SCIENCE": 9, "DEAD": 10, "HOT": 11, "WARM": 12, "LOW_QE": 13, "RC": 14,
        "TELEGRAPH": 15, "NONLINEAR": 16, "BAD_REF_PIXEL": 17, "NO_FLAT_FIELD": 18,
        "NO_GAIN_VALUE": 19, "NO_LIN_CORR": 20, "NO_SAT_CHECK": 21, "UNRELIABLE_BIAS": 22,
        "UNRELIABLE_DARK": 23, "UNRELIABLE_SLOPE": 24, "UNRELIABLE_FLAT": 25, "OPEN": 26,
        "ADJ_OPEN": 27, "FLUX_ESTIMATED": 28, "MSA_FAILED_OPEN": 29, "OTHER_BAD_PIXEL": 30,
        "REFERENCE_PIXEL": 31,
    },
    bad=frozenset({"DO_NOT_USE"}),
)  # fmt: skip

# Data Handbooks of ACS and WFC3; warm pixels and bias structure are calibrated out
HST = Meaning(
    "HST's DQ",
    {
        "LOST": 0, "FILLED": 1, "BADPIX": 2, "MASKED": 3, "HOT": 4, "CTE": 5, "WARM": 6,
        "BIAS": 7, "SATURATED": 8, "BADFLAT": 9, "TRAP": 10, "ATODSAT": 11, "CRDRIZ": 12,
        "CRREJ": 13, "GHOST": 14,
    },
    informs=frozenset({"WARM", "BIAS"}),
)  # fmt: skip

# DESDM (Morganson et al. 2018, PASP 130, 074501, table 7)
DES = Meaning(
    "DES' MSK",
    {
        "BPM": 0, "SATURATE": 1, "INTERP": 2, "BADAMP": 3, "CRAY": 4, "STAR": 5, "TRAIL": 6,
        "EDGEBLEED": 7, "SSXTALK": 8, "EDGE": 9, "STREAK": 10, "SUSPECT": 11, "FIXED": 12,
        "NEAREDGE": 13, "TAPEBUMP": 14,
    },
    informs=frozenset({"STAR", "SUSPECT", "FIXED", "NEAREDGE", "TAPEBUMP"}),
)  # fmt: skip

# NOIRLab DECam Community Pipeline from V3.5 on: one code a pixel, not bits
DECAM_CODES = Meaning(
    "the DECam Community Pipeline's codes",
    codes={
        1: "BAD", 2: "NO_VALUE", 3: "SATURATED", 4: "BLEED", 5: "CR", 6: "LOW_WEIGHT",
        7: "DIFF_DETECT", 8: "LONG_STREAK",
    },
    good_codes=frozenset({0, 7}),
)  # fmt: skip
DECAM_BITS = Meaning(
    "the DECam Community Pipeline's bits",
    {"BAD": 0, "SATURATED": 1, "INTERP": 2, "CR": 4, "BLEED": 6, "TRANSIENT": 7},
    informs=frozenset({"TRANSIENT"}),
)

# Waters et al. 2020, ApJS 251, 4: what the pixel processing mask says
PANSTARRS = Meaning(
    "Pan-STARRS' mask",
    {
        "DETECTOR": 0, "FLAT": 1, "DARK": 2, "BLANK": 3, "CTE": 4, "SAT": 5, "LOW": 6,
        "BURNTOOL": 7, "CR": 8, "SPIKE": 9, "GHOST": 10, "STREAK": 11, "STARCORE": 12,
        "CONV.BAD": 13, "CONV.POOR": 14, "MARK": 15,
    },
    informs=frozenset({"BURNTOOL", "SUSPECT", "CONV.POOR", "MARK"}),
)  # fmt: skip

EUCLID = Meaning(
    "Euclid's FLG (bit 0, INVALID, sums up the bad ones)",
    {"INVALID": 0},
    bad=frozenset({"INVALID"}),
)

# DR9 and later, legacysurvey.org "bitmasks"
LEGACY = Meaning(
    "the Legacy Surveys' maskbits",
    {
        "NPRIMARY": 0, "BRIGHT": 1, "SATUR_G": 2, "SATUR_R": 3, "SATUR_Z": 4, "ALLMASK_G": 5,
        "ALLMASK_R": 6, "ALLMASK_Z": 7, "WISEM1": 8, "WISEM2": 9, "BAILOUT": 10, "MEDIUM": 11,
        "GALAXY": 12, "CLUSTER": 13, "SATUR_I": 14, "ALLMASK_I": 15, "SUB_BLOB": 16,
    },
    bad=frozenset({"ALLMASK_G", "ALLMASK_R", "ALLMASK_I", "ALLMASK_Z"}),
)  # fmt: skip


def meaning_of(*headers: fits.Header | None, name: str = "") -> Meaning | None:
    """What the values of a mask mean, from its own header, then from the image's.

    Parameters
    ----------
    *headers : Header or None
        Of the mask's plane, of its file's primary HDU, of the image's; the first that says it.
    name : str
        Of the plane. HST and JWST call theirs DQ: a MASK in such a file is somebody's own.

    Returns
    -------
    Meaning or None
        None where no header names an instrument or planes that are known.
    """
    known = [h for h in headers if h is not None]
    for h in known:
        planes = _named_planes(h)
        if planes:
            return planes
    text = " ".join(
        str(h.get(k, ""))
        for h in known
        for k in ("TELESCOP", "INSTRUME", "PRODTYPE", "PIPELINE", "PROCTYPE", "ORIGIN", "PLVER",
                  "FILENAME", "PROGRAM", "PLNAME", "SURVEY", "EXTNAME", "IMTYPE", "IMAGETYP")
    ).upper()  # fmt: skip
    own = bool(name) and "DQ" not in name
    if not own and ("JWST" in text or re.search(r"\bNIRCAM\b|\bNIRISS\b|\bMIRI\b", text)):
        return JWST
    if not own and re.search(r"\bHST\b|\bHUBBLE", text):
        return HST
    if "EUCLID" in text or re.search(r"\bFLG\b", text):
        return EUCLID
    if "MASKBITS" in text:
        return LEGACY
    if re.search(r"\bPS1\b|\bGPC1\b|\bGPC2\b|PAN-?STARRS", text):
        return PANSTARRS
    if "DQMASK" in text or re.search(r"_OOD_|_OSD_", text):
        version = next((str(h["PLVER"]) for h in known if "PLVER" in h), "")
        m = re.search(r"(\d+)\.(\d+)", version)
        old = m is not None and (int(m[1]), int(m[2])) < (3, 5)
        return DECAM_BITS if old else DECAM_CODES
    if re.search(r"\bMSK\b", text) or "DESDM" in text:
        return DES
    return None


def _named_planes(h: fits.Header) -> Meaning | None:
    """Planes that a header names itself: MP_NAME = bit (LSST), MSKNAMnn and MSKVALnn (PS1)."""
    planes = {}
    for k in h:
        bit = to_number(h[k]) if str(k).upper().startswith("MP_") else None
        if bit is not None and bit in range(BITS):
            planes[str(k)[3:].upper()] = int(bit)
    if planes:
        return Meaning("MP_*", planes, bad=AFW_BAD, complete=True)
    for k in h:
        m = re.fullmatch(r"MSKNAM(\d+)", str(k))
        value = int(to_number(h.get(f"MSKVAL{m[1]}")) or 0) if m else 0
        if value > 0 and value & (value - 1) == 0:
            planes[str(h[k]).strip().upper()] = value.bit_length() - 1
    return Meaning("MSKNAM*", planes, informs=PANSTARRS.informs) if planes else None


def checked_bits(bad_bits: Any) -> list[int | str] | None:
    """Check what the user gave as `bad_bits`: names of planes, and numbers of bits from 0.

    Raises
    ------
    ValueError
        For a number of 32 or more, a negative one, or what is neither number nor name.
    """
    if bad_bits is None:
        return None
    if isinstance(bad_bits, str):
        bad_bits = [part for part in bad_bits.split(",") if part.strip()]
    if isinstance(bad_bits, int | np.integer) and not isinstance(bad_bits, bool):
        bad_bits = [bad_bits]
    if not isinstance(bad_bits, Iterable) or isinstance(bad_bits, Mapping | bytes):
        raise ValueError(
            f"bad_bits must be a list of plane names and bit numbers; got {bad_bits!r}. "
            "Give for example bad_bits=['SAT', 8]."
        )
    out: list[int | str] = []
    for bit in bad_bits:
        if isinstance(bit, str) and not bit.strip().lstrip("-").isdigit():
            out.append(bit.strip().upper().removeprefix("MP_"))
            continue
        try:
            number = int(bit)
        except (TypeError, ValueError):
            number = -1
        if isinstance(bit, bool) or number < 0 or (isinstance(bit, float) and bit != number):
            raise ValueError(
                f"bad_bits must hold names of planes and numbers of bits counted from 0; got {bit!r}. "
                "Give for example bad_bits=['SAT', 8]."
            )
        if number > LARGEST_BIT:
            power = number & (number - 1) == 0
            hint = f"bit {number.bit_length() - 1}, not value {number}?" if power else "a sum?"
            raise ValueError(
                f"bad_bits counts bits from 0 to {LARGEST_BIT}; got {number} ({hint} Give the "
                "number of the bit, or the name of the plane)."
            )
        out.append(number)
    return out


def bad_pixels(
    a: np.ndarray, meaning: Meaning | None, bad_bits: list[int | str] | None, label: str
) -> tuple[np.ndarray, list[Decision]]:
    """Which pixels of a mask plane are bad, and what was decided.

    Parameters
    ----------
    a : ndarray, shape (ny, nx)
        Values of the mask plane; NaN is bad.
    meaning : Meaning or None
        None: every non-zero value is bad.
    bad_bits : list or None
        What the user chose, of `checked_bits`.
    label : str
        How to call the plane in a sentence.

    Raises
    ------
    ValueError
        For a plane that is not there, and bits of what has none.
    """
    a = np.asarray(a)
    nan = ~(np.abs(a) < 2.0**63) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
    whole = np.where(nan, 0, a)
    if a.dtype.kind == "f" and (whole != np.round(whole)).any():
        if bad_bits is not None:
            raise ValueError(
                f"bad_bits needs a mask of whole numbers; got fractions in {label}. Leave bad_bits "
                "out, or give mask= as an array."
            )
        bad = (whole != 0) | nan
        return bad, [Decision("mask", f"{label}: every non-zero value ignored")]
    if meaning is not None and meaning.codes is not None:
        return _by_codes(whole.astype(np.int64), nan, meaning, bad_bits, label)
    if a.dtype.kind == "i":  # the sign is the highest bit
        whole = whole.astype(f"i{a.itemsize}").view(f"u{a.itemsize}")
    bits = (whole.astype(np.int64) if a.dtype.kind == "f" else whole).astype(np.uint64)
    if bad_bits is not None:
        value, names = _chosen(bad_bits, meaning, label)
        bad = (bits & np.uint64(value)) != 0
        text = f"{label}: {names} by bad_bits, {int(bad.sum())} pixels"
        return bad | nan, [Decision("mask", text)]
    if meaning is None:
        bad = bits != 0
        several = bits[bad].size > 0 and bits.max() > 1
        why = "no meaning of its bits is known; bad_bits= chooses" if several else "0 and 1 alone"
        text = f"{label}: every non-zero value ignored ({why}), {int(bad.sum())} pixels"
        return bad | nan, [Decision("mask", text)]
    names = meaning.planes
    used = [n for n in names if meaning.is_bad(n)]
    value = sum({1 << names[n] for n in used})
    if meaning.bad is None:  # what is not known is bad
        value |= (1 << BITS) - 1 - sum({1 << b for b in names.values()})
    bad = (bits & np.uint64(value)) != 0
    present = int(np.bitwise_or.reduce(bits, axis=None)) if bits.size else 0
    seen = [n for n in used if present >> names[n] & 1]
    ignored = [n for n in names if n not in used and present >> names[n] & 1]
    text = f"{label}: bits {', '.join(seen) or 'none set'} of {meaning.source}"
    text += f", {int(bad.sum())} pixels"
    if ignored:
        text += f"; {', '.join(ignored)} not ignored, for they only inform"
    decisions = [Decision("mask", text)]
    named = sum({1 << b for b in names.values()})
    if meaning.complete and present & ~named:
        unnamed = ", ".join(str(b) for b in range(BITS) if present & ~named & 1 << b)
        text = f"bit {unnamed} of {label} has no name in the header and is not ignored"
        decisions.append(Decision("mask", f"{text}; choose the bits with bad_bits=", warning=True))
    return bad | nan, decisions


def _chosen(bad_bits: list[int | str], meaning: Meaning | None, label: str) -> tuple[int, str]:
    """Value of the bits that the user chose, and their names."""
    planes = {} if meaning is None else {k.upper(): v for k, v in meaning.planes.items()}
    value = 0
    for bit in bad_bits:
        if isinstance(bit, str):
            if bit not in planes:
                known = ", ".join(planes) or "none: the file names no planes, so give numbers"
                raise ValueError(
                    f"bad_bits must name planes of {label}; got {bit!r}. Use one of: {known}."
                )
            bit = planes[bit]
        value |= 1 << bit
    shown = {b: n for n, b in planes.items()}
    bits = [b for b in range(BITS) if value >> b & 1]
    words = [f"bit {b}" + (f" ({shown[b]})" if b in shown else "") for b in bits]
    return value, ", ".join(words) or "no bit"


def _by_codes(
    codes: np.ndarray, nan: np.ndarray, meaning: Meaning, bad_bits: Any, label: str
) -> tuple[np.ndarray, list[Decision]]:
    names = meaning.codes or {}
    if bad_bits is not None:
        numbers = [b for b in bad_bits if not isinstance(b, str)]
        unknown = [b for b in bad_bits if isinstance(b, str) and b not in names.values()]
        if numbers or unknown:
            raise ValueError(
                f"bad_bits must name codes where a mask holds codes and no bits, as {label} does "
                f"({meaning.source}); got {(numbers or unknown)[0]!r}. Use one of: "
                f"{', '.join(names.values())}."
            )
        wanted = [c for c, n in names.items() if n in bad_bits]
        bad = np.isin(codes, wanted)
    else:
        bad = ~np.isin(codes, list(meaning.good_codes))
    seen = [names.get(int(c), str(c)) for c in np.unique(codes[bad])]
    left = [names.get(int(c), str(c)) for c in np.unique(codes[~bad]) if c != 0]
    text = f"{label}: codes {', '.join(seen) or 'none'} of {meaning.source}, {int(bad.sum())} pixels"
    if left:
        text += f"; {', '.join(left)} not ignored"
    return bad | nan, [Decision("mask", text)]
