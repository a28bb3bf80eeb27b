"""What a unit of an image is worth, and which band it is: every convention, right and wrong."""

import logging
import re

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.time import Time
from conftest import DATA

from bayesjoint.images.files import stem_of
from bayesjoint.images.readers.bands import (
    band_of,
    cleaned,
    identity,
    same_instrument,
    telescope_of,
)
from bayesjoint.images.readers.photometry import (
    calibration,
    converted,
    epoch_of,
    gain_of,
    unit_of,
    unit_zeropoint,
    wavelength_of,
    zeropoint_from,
)
from bayesjoint.units import parse_unit

pytestmark = pytest.mark.filterwarnings("ignore:Keyword name")
SR = (0.03 / 206264.80624709636) ** 2  # of a pixel of 0.03 arcsec
HST = {"TELESCOP": "HST", "INSTRUME": "ACS", "PHOTFLAM": 7.0e-20, "PHOTPLAM": 8045.5}
HST_AB = -2.5 * np.log10(7.0e-20) - 5 * np.log10(8045.5) - 2.408  # Sirianni et al. 2005
W1 = {"TELESCOP": "WISE", "BAND": 1}
VISTA = {"TELESCOP": "VISTA", "INSTRUME": "VIRCAM", "FILTER": "Ks", "EXPTIME": 60.0}
CASU = "Photometric ZP (mags) for default extinction"
DECAM = {"INSTRUME": "DECam", "EXPTIME": 101.0, "BUNIT": "adu"}
RATE = (25.109, "[mag] Magnitude zero point per sec")


def header(cards):
    h = fits.Header()
    h.update(cards)
    return h


def worth(primary=None, area=SR, **cards):
    """Zeropoint, warnings and the rest of what is said."""
    first = None if primary is None else header(primary)
    found = calibration(header(cards), first, pixel_area_sr=area)
    said = [d.text for d in found.decisions]
    return found.zeropoint, [d.text for d in found.decisions if d.warning], " | ".join(said)


# name: (cards, AB zeropoint, words that are said without a warning)
RIGHT = {
    # units
    "nJy": ({"BUNIT": "nJy"}, 31.4, "31.4 from BUNIT nJy"),
    "uJy": ({"BUNIT": "uJy"}, 23.9, ""),
    "micro": ({"BUNIT": "microJy"}, 23.9, ""),
    "mJy": ({"BUNIT": "mJy"}, 16.4, ""),
    "Jy": ({"BUNIT": "Jy"}, 8.9, ""),
    "Jy a pixel": ({"BUNIT": "Jy/pixel"}, 8.9, ""),
    "JY": ({"BUNIT": "JY/PIXEL"}, 8.9, ""),
    "10 nJy": ({"BUNIT": "10.0*nanoJansky"}, 28.9, ""),
    "nanomaggy": ({"BUNIT": "nanomaggy"}, 22.5, ""),
    "nanomaggies": ({"BUNIT": "nanomaggies"}, 22.5, ""),
    "nMgy": ({"BUNIT": "nMgy"}, 22.5, ""),
    "nmgy": ({"BUNIT": "nmgy"}, 22.5, ""),
    "maggies": ({"BUNIT": "maggies"}, 0.0, ""),
    "cgs": ({"BUNIT": "erg/s/cm2/Hz"}, -48.6, ""),
    "ergs": ({"BUNIT": "ergs/s/cm^2/Hz"}, -48.6, ""),
    "MJy/sr": ({"BUNIT": "MJy/sr"}, 8.9 - 2.5 * np.log10(1e6 * SR), "WCS"),
    "MJY/SR": ({"BUNIT": "MJY/SR"}, 8.9 - 2.5 * np.log10(1e6 * SR), ""),
    "MJy sr^-1": ({"BUNIT": "MJy sr^-1"}, 8.9 - 2.5 * np.log10(1e6 * SR), ""),
    "Jy/arcsec2": ({"BUNIT": "Jy/arcsec2"}, 8.9 - 2.5 * np.log10(0.03**2), ""),
    "mJy/arcsec**2": ({"BUNIT": "mJy/arcsec**2"}, 16.4 - 2.5 * np.log10(0.03**2), ""),
    "PIXAR_SR": (
        {"BUNIT": "MJy/sr", "PIXAR_SR": SR * 4},
        8.9 - 2.5 * np.log10(1e6 * SR),
        "PIXAR_SR .* not used",
    ),
    "PIXAR_SR right": (
        {"BUNIT": "MJy/sr", "PIXAR_SR": SR * 1.005},
        8.9 - 2.5 * np.log10(1e6 * SR),
        "^((?!PIXAR).)*$",
    ),
    # a flux per wavelength l is f l^2 / c per frequency; 1e-17 erg/s/cm2/A at 5000 A is 8.339e-31
    "per Angstrom": (
        {"BUNIT": "10**(-17)erg/cm**2/s/Angstrom", "PHOTPLAM": 5000.0},
        -2.5 * np.log10(1e-17 * 5000**2 / 2.99792458e18) - 48.6,
        "0.5 um",
    ),
    "per A": (
        {"BUNIT": "1E-17 erg/s/cm^2/Ang/spaxel", "WAVELEN": 0.5},
        -2.5 * np.log10(1e-17 * 5000**2 / 2.99792458e18) - 48.6,
        "",
    ),
    "beam": (
        {"BUNIT": "Jy/beam", "BMAJ": 18.0 / 3600, "BMIN": 18.0 / 3600},
        8.9 + 2.5 * np.log10(np.pi / (4 * np.log(2)) * (18.0 / 0.03) ** 2),
        "BMAJ",
    ),
    "beam and card": ({"BUNIT": "Jy/beam", "MAGZERO": (11.68, "AB")}, 11.68, ""),
    # cards
    "MAGZERO": ({"MAGZERO": 25.0}, 25.0, "taken as AB"),
    "AB": ({"MAGZP": (22.5, "AB magnitude zeropoint")}, 22.5, r"\(AB\)"),
    "AB, not Vega": ({"MAGZP": (22.5, "AB, not Vega"), "BAND": "W1"}, 22.5, ""),
    "from Vega": ({"MAGZERO": (25.199, "AB (22.5 Vega + 2.699)"), **W1}, 25.199, ""),
    "MAGSYS": ({"ZP": 24.0, "MAGSYS": "AB", "TELESCOP": "UKIRT", "FILTER": "K"}, 24.0, ""),
    "ABMAG_ZP": ({"ABMAG_ZP": 26.1, "TELESCOP": "UKIRT"}, 26.1, ""),
    "text": ({"MAGZPT": "25.0"}, 25.0, "MAGZPT is text, '25.0'"),
    "placeholder": ({"MAGZERO": -99.0, "ZP": 26.0, "MAGZPT": True, "MAG0": 0}, 26.0, ""),
    "placeholder text": ({"MAGZERO": "N/A", "PHOTZP": 30.0}, 30.0, ""),
    "ST beside": ({"PHOTZPT": (-21.1, "ST magnitude zero point"), "ZP": 26.0}, 26.0, ""),
    "zero of maggies": ({"MAGZERO": 0.0, "BUNIT": "maggies"}, 0.0, ""),
    "zero that is AB": ({"MAGZERO": (0.0, "AB mag of 1 native unit")}, 0.0, ""),
    "zero of ours": ({"MAGZERO": (0.0, "AB magnitude of one unit"), "BAND": "r"}, 0.0, ""),
    "agreeing": ({"MAGZERO": 22.5, "BUNIT": "nanomaggy", "ZP": 22.5}, 22.5, ""),
    "other unit": ({"MAGZERO": 30.0, "BUNIT": "ZP-30 unit"}, 30.0, ""),
    "FLUXMAG0": ({"FLUXMAG0": 63095734448.01944}, 27.0, "FLUXMAG0"),
    "LSST": ({"FLUXMAG0": 3630780547700.9, "BUNIT": "nJy"}, 31.4, ""),
    # per second
    "DECam": ({**DECAM, "MAGZERO": 30.12, "MAGZPT": RATE}, 30.12, ""),
    "DECam rate": (
        {**DECAM, "MAGZPT": RATE},
        25.109 + 2.5 * np.log10(101),
        "EXPTIME 101 s",
    ),
    "rate of a rate": ({"MAGZPT": RATE, "BUNIT": "ADU/S", "EXPTIME": 101.0}, 25.109, ""),
    "90prime": (
        {"MAGZERO": 30.4722, "MAGZPT": (25.4722, "per sec"), "EXPTIME": 100.0, "BUNIT": "e-/s"},
        25.4722,
        "MAGZPT",
    ),
    "rate of a total": (
        {"ZP": (25.0, "AB, for 1 ADU/s"), "BUNIT": "ADU", "EXPTIME": "100.0"},
        30.0,
        "100 s",
    ),
    "a second": ({"ZP": (25.0, "AB, per second"), "EXPTIME": 1.0}, 25.0, ""),
    "DES": (
        {
            "MAGZERO": (30.0, "Mag Zero-point in magnitudes/s"),
            "BUNIT": "electrons",
            "EXPTIME": 450.0,
            "FILTER": "r DECam SDSS c0002 6415.0 1480.0",
        },
        30.0,
        "",
    ),
    "Pan-STARRS": (
        {"FPA.ZP": (25.0, "Magnitude zero point"), "FPA.TELESCOPE": "PS1", "EXPTIME": 900.0},
        25 + 2.5 * np.log10(900),
        "900 s",
    ),
    "CFHT": (
        {
            "TELESCOP": "CFHT 3.6m",
            "PHOT_C": 26.25,
            "PHOT_K": -0.15,
            "AIRMASS": 1.4,
            "EXPTIME": 500.0,
        },
        26.25 + 2.5 * np.log10(500) - 0.15 * 0.4,
        "airmass 1.4",
    ),
    "MegaPipe": (
        {"TELESCOP": "CFHT 3.6m", "PHOTZP": 30.0, "FILTER": "r.MP9601", "EXPTIME": 500.0},
        30.0,
        "",
    ),
    "ZTF": (
        {"INSTRUME": "ZTF/MOSAIC", "MAGZP": 26.2, "EXPTIME": 30.0, "FILTER": "ZTF_r"},
        26.2,
        "",
    ),
    "SDSS": ({"ORIGIN": "SDSS", "TELESCOP": "2.5m", "NMGY": 0.0048}, 22.5, "nanomaggies"),
    "GALEX": ({"TELESCOP": "GALEX", "BAND": 1, "BUNIT": "counts/s"}, 20.08, "NUV"),
    # HST
    "HST rate": ({**HST, "BUNIT": "ELECTRONS/S", "EXPTIME": 2000.0}, HST_AB, "PHOTFLAM"),
    "HST total": (
        {**HST, "BUNIT": "ELECTRONS", "EXPTIME": 1040.0},
        HST_AB + 2.5 * np.log10(1040),
        "EXPTIME 1040 s",
    ),
    "HST drz": ({**HST, "FILENAME": "j8e6_drz.fits", "EXPTIME": 2000.0}, HST_AB, "drz"),
    "HST flc": (
        {**HST, "FILENAME": "jbtab_flc.fits", "EXPTIME": 500.0},
        HST_AB + 2.5 * np.log10(500),
        "flc",
    ),
    "HST AstroDrizzle": ({**HST, "D001OUUN": "cps"}, HST_AB, "cps"),
    "WFC3/IR": (
        {**HST, "INSTRUME": "WFC3", "DETECTOR": "IR", "FILENAME": "ib_flt.fits", "EXPTIME": 500.0},
        HST_AB,
        "IR",
    ),
    "PHOTFNU": ({"PHOTFNU": 1e-7, "BUNIT": "ELECTRONS/S"}, 26.4, ""),
    "grizli": (
        {**HST, "BUNIT": "10.0*nanoJansky", "PHOTFNU": 1e-8, "ZP": 28.9, "EXPTIME": 9000.0},
        28.9,
        "",
    ),
    "ST": (
        {"ZP": (24.0, "STMAG"), "PHOTPLAM": 8045.5},
        24.0 + 18.692 - 5 * np.log10(8045.5),
        "ST",
    ),
    "JWST rate": (
        {"TELESCOP": "JWST", "BUNIT": "DN/s", "PHOTMJSR": 0.4},
        8.9 - 2.5 * np.log10(0.4e6 * SR),
        "PHOTMJSR",
    ),
    # Vega
    "unWISE": (
        {"MAGZP": (22.5, "Magnitude zeropoint (in Vega mag)"), "BAND": (1, "WISE band")},
        25.199,
        r"25.199 = 22.5 \(Vega, MAGZP\) \+ 2.699 for W1",
    ),
    "unWISE, W2": (
        {"MAGZP": (22.5, "Magnitude zeropoint (in Vega mag)"), "BAND": 2},
        25.839,
        "W2",
    ),
    "WISE": ({**W1, "MAGZP": (20.5, "[mag] relative photometric zero point")}, 23.199, "Vega"),
    "Vega nanomaggy": ({"BUNIT": "Vega nanomaggy", "BAND": "W2"}, 25.839, "W2"),
    "both": (
        {
            "MAGZERO": (25.199, "AB (22.5 Vega + 2.699)"),
            "ZPVEGA": 22.5,
            "BAND": "W1",
            "BUNIT": "Vega nanomaggy",
            "SURVEY": "unWISE coadd",
        },
        25.199,
        "",
    ),
    "2MASS": ({"ORIGIN": "2MASS", "FILTER": "j", "MAGZP": 20.9}, 21.81, "J|j"),
    "2MASS, Ks": ({"ORIGIN": "2MASS", "FILTER": "Ks", "MAGZP": 20.0}, 21.85, ""),
    "UKIRT": (
        {
            "TELESCOP": "UKIRT",
            "INSTRUME": "WFCAM",
            "FILTER": "K",
            "MAGZPT": (22.3, CASU),
            "EXPTIME": 10.0,
        },
        22.3 + 2.5 + 1.9,
        "EXPTIME 10 s.* for K",
    ),
    "VISTA": (
        {**VISTA, "MAGZPT": 23.0, "EXTINCT": 0.05, "AMSTART": 1.3, "AMEND": 1.5},
        23.0 + 2.5 * np.log10(60) - 0.05 * 0.4 + 1.827,
        "airmass",
    ),
    "VISTA by ESO": (
        {**VISTA, "PHOTZP": 29.0, "PHOTSYS": "VEGA", "MAGZPT": 24.555},
        30.827,
        "Vega",
    ),
    "GAMA": (
        {"SURVEY": "VIKING (VISTA), GAMA", "BAND": "H", "MAGZERO": (30.0, "AB, ProFuse vignette")},
        30.0,
        "",
    ),
    "GAMA, no word": ({"SURVEY": "VIKING (VISTA), GAMA", "BAND": "H", "MAGZERO": 30.0}, 30.0, ""),
    "KiDS": ({"SURVEY": "KiDS (VST), GAMA", "BAND": "r", "MAGZERO": (0.0, "AB")}, 0.0, ""),
    "W1 in AB": ({"BAND": "W1", "MAGZERO": 25.199}, 25.199, ""),
    "H in AB": ({"BAND": "H", "MAGZERO": 26.0, "TELESCOP": "Euclid", "INSTRUME": "NISP"}, 26.0, ""),
}


@pytest.mark.parametrize(("cards", "zeropoint", "said"), RIGHT.values(), ids=RIGHT)
def test_the_zeropoint_is_right_and_nothing_is_warned_of(cards, zeropoint, said):
    got, warned, text = worth(**cards)
    assert got == pytest.approx(zeropoint, abs=2e-4), text
    assert not warned
    assert re.search(said, text), text


# name: (cards, zeropoint if any, words of the warning)
WARNED = {
    "Vega and per second": ({"MAGZPT": (24.5, "Vega"), "TELESCOP": "UKIRT", "FILTER": "K"}, None, "EXPTIME.*Vega"),
    "a flux that is no number": ({"PHOTFLAM": "nan", "PHOTPLAM": 8045.0}, None, "PHOTFLAM is 'nan'"),
    "nothing usable": ({"MAGZERO": True}, None, "MAGZERO is True"),
    "-99": ({"MAGZERO": -99.0}, None, "MAGZERO is -99"),
    "999": ({"MAGZPT": 999.0}, None, "MAGZPT is 999"),
    "text": ({"MAGZERO": "unknown"}, None, "MAGZERO is 'unknown'"),
    "NaN": ({"MAGZERO": "NaN"}, None, "MAGZERO is 'NaN'"),
    "zero": ({"MAGZERO": 0.0, "BUNIT": "electrons"}, None, "MAGZERO is 0"),
    "unit": ({"BUNIT": "Jy per something"}, None, "BUNIT 'Jy per something'"),
    "MJY": ({"BUNIT": "MJY"}, None, "BUNIT 'MJY'"),
    "no wavelength": ({"BUNIT": "erg/s/cm2/Angstrom"}, None, "wavelength"),
    "Vega without telescope": ({"MAGZP": (25.0, "Vega mag"), "BAND": "K"}, None, "Vega .* K"),
    "Vega by MAGSYS": ({"ZP": 25.0, "MAGSYS": "VEGA", "FILTER": "V"}, None, "Vega"),
    "Johnson": ({"ZP": (25.0, "Johnson V"), "FILTER": "V"}, None, "Vega"),
    "unWISE without words": ({"BAND": "W1", "MAGZERO": 22.5}, None, "Vega or AB"),
    "VISTA": ({**VISTA, "MAGZERO": 30.0}, None, "Vega or AB"),
    "UKIRT": ({"TELESCOP": "UKIRT", "FILTER": "J", "MAGZERO": 25.0}, None, "Vega or AB"),
    "NEWFIRM": ({"INSTRUME": "newfirm", "FILTER": "KXs", "MAGZERO": 25.0}, None, "Vega or AB"),
    "both words": ({"ZP": (25.0, "Vega; see AB")}, None, "Vega or AB"),
    "IPHAS": (
        {"TELESCOP": "INT", "FILTER": "r", "PHOTZP": 28.5},
        None,
        "Vega zeropoint.*INT",
    ),
    "VISTA, other band": ({**VISTA, "FILTER": "NB118", "MAGZPT": 23.0}, None, "Vega.*NB118"),
    "Vega nanomaggy": ({"BUNIT": "Vega nanomaggy", "BAND": "z"}, None, "Vega"),
    "one says Vega": (
        {"BUNIT": "nanomaggy", "MAGZERO": (22.5, "Vega"), "BAND": "K"},
        None,
        "Vega",
    ),
    "ST": ({"ZP": (24.0, "STMAG")}, None, "ST magnitude.*PHOTPLAM"),
    "rate, unit unknown": (
        {"ZP": (25.0, "per second"), "EXPTIME": 100.0},
        None,
        "zeropoint=25 .*zeropoint=30.000",
    ),
    "rate, no EXPTIME": ({"ZP": (25.0, "per second"), "BUNIT": "ADU"}, None, "EXPTIME"),
    "mag/s": (
        {"ZP": (25.0, "magnitudes/s"), "EXPTIME": 100.0},
        None,
        "per second",
    ),
    "total of a rate": (
        {"ZP": (30.0, "AB, total counts"), "BUNIT": "ADU/s", "EXPTIME": 100.0},
        None,
        "total counts",
    ),
    "HST without BUNIT": ({**HST, "EXPTIME": 1000.0}, None, "PHOTFLAM.*zeropoint=.*zeropoint="),
    "HST total, no EXPTIME": ({**HST, "BUNIT": "ELECTRONS"}, None, "EXPTIME"),
    "HST, PHOTFLAM 0": ({**HST, "PHOTFLAM": 0.0, "BUNIT": "ELECTRONS/S"}, None, "PHOTFLAM is 0"),
    "HST, no PHOTPLAM": ({"PHOTFLAM": 7e-20, "BUNIT": "ELECTRONS/S"}, None, "PHOTPLAM"),
    "WFPC2": (
        {**HST, "INSTRUME": "WFPC2", "BUNIT": "ELECTRONS", "EXPTIME": 100.0},
        None,
        "WFPC2",
    ),
    "FLUXMAG0": ({"FLUXMAG0": 0.0}, None, "FLUXMAG0"),
    "GALEX": ({"TELESCOP": "GALEX", "BAND": 2}, None, "FUV.*zeropoint=18.82"),
    "Euclid": ({"TELESCOP": "EUCLID", "MAGZEROP": 24.57, "FILTER": "VIS"}, None, "per second"),
    # cards that disagree
    "two": ({"MAGZERO": 25.0, "ZP": 26.0}, None, "disagree.*MAGZERO.*ZP"),
    "unit and card": ({"MAGZERO": 30.0, "BUNIT": "nanomaggy"}, None, "MAGZERO.*nanomaggy"),
    "HST and card": ({**HST, "BUNIT": "ELECTRONS/S", "MAGZERO": 30.0}, None, "PHOTFLAM"),
    "DECam": ({**DECAM, "MAGZERO": 31.0, "MAGZPT": RATE}, 31.0, "MAGZERO.*MAGZPT"),
    "LSST": ({"FLUXMAG0": 1e11, "MAGZERO": 25.0}, 27.5, "FLUXMAG0.*MAGZERO"),
    "stale area": (
        {"BUNIT": "MJy/sr", "PIXAR_SR": SR * 4, "MAG_ZP": 26.5814},
        8.9 - 2.5 * np.log10(1e6 * SR),
        "MAG_ZP",
    ),
}


@pytest.mark.parametrize(("cards", "zeropoint", "word"), WARNED.values(), ids=WARNED)
def test_what_is_ambiguous_is_asked_for(cards, zeropoint, word):
    got, warned, _ = worth(**cards)
    assert got == (None if zeropoint is None else pytest.approx(zeropoint, abs=2e-4))
    assert len(warned) == 1 and re.search(word, warned[0]), warned
    assert "\n" not in warned[0] and not warned[0].endswith(".")
    assert zeropoint is not None or "zeropoint=" in warned[0]


NOTHING = (
    {},
    {"BUNIT": "adu"},
    {"BUNIT": "DN (ADU), sky subtracted"},
    {"BUNIT": "HSC count"},
    {"BUNIT": ""},
)


@pytest.mark.parametrize("cards", [*NOTHING, {"BUNIT": "12,5"}, {"BUNIT": "K, m"}], ids=str)
def test_nothing_is_warned_of_where_nothing_could_be_a_zeropoint(cards):
    assert worth(**cards)[:2] == (None, [])


def test_without_the_area_of_a_pixel_surface_brightness_is_asked_for():
    got, warned, _ = worth(area=None, BUNIT="MJy/sr")
    assert got is None and "pixel_scale=" in warned[0] and "MJy/sr" in warned[0]


def test_a_doubtful_wcs_makes_a_doubtful_zeropoint():
    found = calibration(header({"BUNIT": "MJy/sr"}), pixel_area_sr=SR, wcs_trusted=False)
    assert found.zeropoint is not None and any(d.warning for d in found.decisions)


REFUSED = {
    "magnitudes": ({"BUNIT": "mag", "MAGZERO": 25.0}, "linear in flux.*mag"),
    "surface brightness": ({"BUNIT": "mag/arcsec2"}, "linear in flux"),
    "beam": ({"BUNIT": "Jy/beam"}, "Jy/beam.*zeropoint="),
    "AB magnitudes": ({"BUNIT": "ABmag"}, "linear in flux.*ABmag"),
    "Vega magnitudes": ({"BUNIT": "vega mag / pix"}, "linear in flux"),
}


@pytest.mark.parametrize(("cards", "word"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_sentence(cards, word):
    with pytest.raises(ValueError, match=word) as e:
        worth(**cards)
    assert "\n" not in str(e.value) and len(str(e.value)) < 400


def test_the_own_header_counts_first_and_the_primary_one_where_it_says_nothing():
    assert worth({"MAGZERO": 25.0}, MAGZERO=26.0)[0] == 26
    assert worth({"MAGZERO": 25.0}, MAGZERO=-99)[0] == 25
    assert worth({"MAGZERO": 25.0})[0] == 25
    assert worth({"BUNIT": "ADU"}, BUNIT="nJy")[0] == 31.4
    got, warned, _ = worth(HST, BUNIT="ELECTRONS/S")
    assert got == pytest.approx(HST_AB) and not warned


def test_the_unit_may_be_given():
    for unit in ("nJy", u.nJy, "electrons/s"):
        found = calibration(header(HST | {"BUNIT": "counts"}), unit=unit)
        assert found.zeropoint == pytest.approx(HST_AB if unit == "electrons/s" else 31.4)
    with pytest.raises(ValueError, match="'flurbs'"):
        calibration(header({}), unit="flurbs")


UNITS = {
    "ELECTRONS/S": u.electron / u.s, "electrons": u.electron, "e-/s": u.electron / u.s,
    "e-": u.electron,
    "counts/sec": u.ct / u.s, "COUNTS": u.ct, "cts/s": u.ct / u.s, "counts s-1": u.ct / u.s,
    "count per second": u.ct / u.s, "cps": u.ct / u.s, "DN/SEC": u.DN / u.s, "DNs": u.DN,
    "DN": u.DN, "counts/pixel": u.ct,
    "ADU/S": u.adu / u.s, "adu": u.adu, "ADUs": u.adu, "DN (ADU), sky subtracted": u.DN,
    "electron s**-1": u.electron / u.s, "photons": u.ph,
    "nanomaggies": u.nmgy, "nMgy": u.nmgy, "maggy": u.mgy, "mJy": u.mJy,
    "MJy": u.MJy, "μJy": u.uJy, "nanomaggie": u.nmgy,
    "MJY/SR": u.MJy / u.sr, "10**(-20)*erg/s/cm**2/Angstrom": 1e-20 * u.erg / u.s / u.cm**2 / u.AA,
    "erg/s/cm^2/A": u.erg / u.s / u.cm**2 / u.AA, "Jy/beam": u.Jy / u.beam,
    "MJY": None, "mjy": None, "Jy (per beam)": None, "scaled count": None,
    "maggies-like (ZP 0)": None,
    "Vega nanomaggy": None, "": None, "some words": None,
}  # fmt: skip


@pytest.mark.parametrize(("text", "unit"), UNITS.items(), ids=UNITS)
def test_units_as_surveys_write_them(text, unit):
    got = parse_unit(text)
    assert got is None if unit is None else got == unit


GIVEN = {
    "number": (25, 25),
    "text of numpy": (np.float32(25), 25),
    "mag": (25 * u.mag, 25),
    "ABmag": (25 * u.ABmag, 25),
    "mag(AB)": (22.5 * u.mag(u.AB), 22.5),
    "flux": (3.6307805 * u.uJy, 22.5),
    "nanomaggy": (1 * u.nmgy, 22.5),
    "maggy": (10 * u.mgy, -2.5),
    "AB": (1 * u.AB, 0.0),
    "per count": (1 * u.nJy / u.count, 31.4),
    "per electron": (1 * u.Jy / u.electron, 8.9),
    "per rate": (1 * u.uJy / (u.electron / u.s), 23.9),
    "per pixel": (1 * u.mJy / u.pix, 16.4),
    "surface": (1 * u.MJy / u.sr, 8.9 - 2.5 * np.log10(1e6 * SR)),
    "surface per count": (1 * u.MJy / u.sr / u.DN, 8.9 - 2.5 * np.log10(1e6 * SR)),
    "mag(AB/count)": (25 * u.mag(u.AB / u.ct), 25),
    "cgs": (1e-29 * u.erg / u.s / u.cm**2 / u.Hz, 23.9),
    "an array of one": (np.array(25.0) * u.mag, 25),
}


@pytest.mark.parametrize(("value", "zeropoint"), GIVEN.values(), ids=GIVEN)
def test_a_zeropoint_in_any_form(value, zeropoint):
    assert zeropoint_from(value, pixel_area=SR) == pytest.approx(zeropoint, abs=1e-6)


WRONG = {
    "ST": (25 * u.STmag, "AB.*ST"),
    "Bol": (25 * u.mag(u.Bol), "AB.*Bol"),
    "instrumental": (25 * u.mag(u.ct / u.s), "AB"),
    "text": ("25", "'25'"),
    "True": (True, "True"),
    "length": (3 * u.m, "flux density.*3.0 m"),
    "negative": (-1 * u.nJy, "above 0"),
    "zero": (0 * u.nJy, "above 0"),
    "NaN": (np.nan, "finite"),
    "NaN flux": (np.nan * u.nJy, "above 0"),
    "array": ([25, 26] * u.mag, "shape"),
    "count": (1 * u.ct, "flux density"),
    "per wavelength": (1e-17 * u.erg / u.s / u.cm**2 / u.AA, "spectral_density"),
    "PHOTFLAM": (1e-19 * u.erg / u.cm**2 / u.AA / u.electron, "spectral_density"),
    "mag/arcsec2": (25 * u.mag / u.arcsec**2, "AB"),
    "dex": (3 * u.dex(u.nJy), "AB"),
}


@pytest.mark.parametrize(("value", "word"), WRONG.values(), ids=WRONG)
def test_a_zeropoint_of_the_wrong_kind_is_refused(value, word):
    with pytest.raises(ValueError, match=word) as e:
        zeropoint_from(value)
    assert "\n" not in str(e.value)


def test_a_zeropoint_per_count_rate_does_not_fit_totals():
    flux = 1 * u.uJy / (u.electron / u.s)
    assert zeropoint_from(flux, unit=u.electron / u.s) == pytest.approx(23.9)
    with pytest.raises(ValueError, match="exposure time"):
        zeropoint_from(flux, unit=u.electron)
    at = 0.5 * u.um
    flux = (1 * u.uJy).to(u.erg / u.s / u.cm**2 / u.AA, u.spectral_density(at))
    assert zeropoint_from(flux, wavelength=at) == pytest.approx(23.9)


def test_units_of_data():
    area = {"pixel_area_sr": SR}
    for unit, zeropoint in (
        (u.nJy, 31.4), (u.mJy, 16.4), (u.Jy / u.pix, 8.9), (u.nmgy, 22.5), (10 * u.nJy, 28.9),
        (u.MJy / u.sr, 8.9 - 2.5 * np.log10(1e6 * SR)),
    ):  # fmt: skip
        assert unit_zeropoint(u.Unit(unit), **area) == pytest.approx(zeropoint, abs=1e-9)
    for unit in (
        u.adu,
        u.electron,
        u.ct / u.s,
        u.dimensionless_unscaled,
        u.m,
        u.erg / u.s / u.cm**2,
    ):
        assert unit_zeropoint(unit, **area) is None
    assert unit_zeropoint(u.MJy / u.sr) is None
    for unit, word in ((u.ABmag, "linear"), (u.mag, "linear"), (u.Jy / u.beam, "beam")):
        with pytest.raises(ValueError, match=word):
            unit_zeropoint(unit)
    assert unit_of(header({"BUNIT": "ELECTRONS/S"})) == u.electron / u.s
    assert unit_of(header({})) is None and unit_of(header({"BUNIT": "odd"})) is None


def test_noise_in_another_unit_is_converted():
    sigma = np.array([[2.0, 3.0]])
    np.testing.assert_allclose(converted(sigma * u.uJy, u.mJy, "sigma"), sigma / 1000)
    np.testing.assert_allclose(converted(sigma * u.uJy**2, u.mJy**2, "variance"), sigma / 1e6)
    np.testing.assert_allclose(converted(sigma / u.uJy**2, u.mJy**-2, "ivar"), sigma * 1e6)
    np.testing.assert_allclose(
        converted(sigma * u.nmgy, u.nJy, "sigma"), sigma * 3630.7805, rtol=1e-7
    )
    np.testing.assert_allclose(
        converted(sigma * u.nmgy**2, u.nJy**2, "v"), sigma * 3630.7805**2, rtol=1e-6
    )
    assert converted(2.0 * u.uJy, u.mJy, "sigma") == pytest.approx(0.002)
    assert converted(2.0 * u.DN, u.adu, "sigma") == 2
    assert converted(sigma, u.mJy, "sigma") is sigma
    assert converted(2.0 * u.dimensionless_unscaled, None, "sigma") == 2


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1 * u.uJy, u.adu, "sigma.*adu.*uJy"),
        (1 * u.uJy, u.mJy**2, "mJy2.*uJy"),
        (1 * u.uJy**2, u.mJy, "mJy.*uJy2"),
        (1 * u.electron, u.adu, "adu.*electron"),
        (1 * u.uJy, None, "have none.*uJy"),
        (1 * u.MJy / u.sr, u.mJy, "mJy.*MJy / sr"),
    ],
    ids=str,
)
def test_noise_in_a_unit_that_does_not_fit_is_refused(value, unit, words):
    with pytest.raises(ValueError, match=words):
        converted(value, unit, "sigma")


# -- bands -----------------------------------------------------------------------------------------
BANDS = {  # cards: band
    "BAND": ({"BAND": "r", "FILTER": "r DECam SDSS c0002 6415.0 1480.0"}, "r"),
    "FILTER": ({"FILTER": "F606W/x"}, "F606W-x"),
    "brackets": ({"FILTER": "r[2]"}, "r(2)"),
    "DECam": ({"FILTER": "z DECam SDSS c0004 9260.0 1520.0"}, "z"),
    "HSC": ({"FILTER": "HSC-R"}, "HSC-R"),
    "CFHT": ({"FILTER": "r.MP9601"}, "r.MP9601"),
    "NIRISS": ({"INSTRUME": "NIRISS", "FILTER": "CLEAR", "PUPIL": "F115W"}, "F115W"),
    "NIRISS red": ({"INSTRUME": "NIRISS", "FILTER": "F277W", "PUPIL": "CLEARP"}, "F277W"),
    "NIRCam wide": ({"INSTRUME": "NIRCAM", "FILTER": "F200W", "PUPIL": "CLEAR"}, "F200W"),
    "NIRCam medium": ({"INSTRUME": "NIRCAM", "FILTER": "F150W2", "PUPIL": "F162M"}, "F162M"),
    "NIRCam narrow": ({"INSTRUME": "NIRCAM", "FILTER": "F444W", "PUPIL": "F466N"}, "F466N"),
    "NIRCam narrow 2": ({"INSTRUME": "NIRCAM", "FILTER": "F322W2", "PUPIL": "F323N"}, "F323N"),
    "NIRCam mask": ({"INSTRUME": "NIRCAM", "FILTER": "F335M", "PUPIL": "MASKRND"}, "F335M"),
    "NIRCam lens": ({"INSTRUME": "NIRCAM", "FILTER": "F212N", "PUPIL": "WLP8"}, "F212N+WLP8"),
    "MIRI": ({"INSTRUME": "MIRI", "FILTER": "F770W"}, "F770W"),
    "ACS": ({"FILTER1": "F606W", "FILTER2": "CLEAR2L"}, "F606W"),
    "ACS 2": ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W"),
    "ACS polarised": ({"FILTER1": "F606W", "FILTER2": "POL0V"}, "F606W+POL0V"),
    "HLA": ({"FILTER": "F814W;CLEAR2L"}, "F814W"),
    "WFC3": ({"FILTER": "F160W"}, "F160W"),
    "PHOTMODE": ({"PHOTMODE": "ACS WFC1 F775W MJD#53000"}, "F775W"),
    "WISE": ({"TELESCOP": "WISE", "BAND": 1}, "W1"),
    "WISE by comment": ({"BAND": (2, "WISE band")}, "W2"),
    "GALEX": ({"TELESCOP": "GALEX", "BAND": 1}, "NUV"),
    "GALEX FUV": ({"TELESCOP": "GALEX", "BAND": "2"}, "FUV"),
    "IRAC": ({"INSTRUME": "IRAC", "CHNLNUM": 2}, "IRAC2"),
    "Pan-STARRS": ({"FPA.FILTER": "i.00000"}, "i"),
    "number and filter": ({"BAND": 3, "FILTER": "g"}, "g"),
    "unknown": ({"FILTER": "_unknown_"}, "stem.v1"),
    "N/A": ({"FILTER": "N/A"}, "stem.v1"),
    "none": ({"BAND": "none", "FILTER": "None"}, "stem.v1"),
    "empty": ({"FILTER": ""}, "stem.v1"),
    "number": ({"BAND": 1}, "stem.v1"),
    "number as text": ({"FILTER": "1"}, "stem.v1"),
    "True": ({"BAND": True}, "stem.v1"),
    "clear": ({"FILTER": "CLEAR"}, "stem.v1"),
    "absent": ({}, "stem.v1"),
}


@pytest.mark.parametrize(("cards", "band"), BANDS.values(), ids=BANDS)
def test_the_band(cards, band):
    for own, primary in ((cards, None), ({}, cards)):
        first = None if primary is None else header(primary)
        got, decisions = band_of(header(own), first, "stem.v1")
        assert got == band
        assert [d.about for d in decisions] == ["band"] and not decisions[0].warning


def test_two_files_whose_filter_says_nothing_are_two_bands():
    cards = header({"FILTER": "_unknown_"})
    got, decisions = band_of(cards, None, "first")
    assert (got, band_of(cards, None, "second")[0]) == ("first", "second")
    assert "_unknown_" in decisions[0].text
    got, decisions = band_of(cards)  # they would share their fluxes
    assert got == "image" and decisions[0].warning and "band=" in decisions[0].text
    assert band_of(header({}))[1][0].warning is False
    assert band_of(header({"BAND": "g"}), header({"BAND": "r"}))[0] == "g"


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("rings.v3.skycell.0812.050.stk.g.unconv.fits", "rings.v3.skycell.0812.050.stk.g.unconv"),
        ("a/b/r.fits.fz", "r"),
        ("r.FITS.gz", "r"),
        ("r.fit", "r"),
        ("r.fts", "r"),
        ("frame-r-001000-1-0100.fits.bz2", "frame-r-001000-1-0100"),
        ("g-band.cut.fits", "g-band.cut"),
        ("no ending", "no ending"),
        ("data.tar.gz", "data.tar.gz"),
        (".fits", ".fits"),
        ("https://survey.org/cut/r.fits?size=3#a", "r"),
    ],
)
def test_the_stem_keeps_what_tells_files_apart(path, stem):
    assert stem_of(path) == stem


def test_names_are_cleaned():
    assert cleaned(" a/b[1]\tc\n") == "a-b(1) c"


TELESCOPES = {
    "HST ACS": {"TELESCOP": "HST", "INSTRUME": "ACS"},
    "HST": {"SURVEY": "HST COSMOS"},
    "JWST NIRCAM": {"TELESCOP": "JWST", "INSTRUME": "NIRCAM"},
    "DECam": {"TELESCOP": "CTIO 4.0-m telescope", "INSTRUME": "DECam"},
    "HSC": {"TELESCOP": "Subaru", "INSTRUME": "Hyper Suprime-Cam"},
    "SDSS": {"TELESCOP": "2.5m", "ORIGIN": "SDSS"},
    "WISE": {"SURVEY": "unWISE/NEOWISE"},
    "VISTA": {"TELESCOP": "ESO-VISTA", "INSTRUME": "VIRCAM"},
    "VST": {"SURVEY": "KiDS"},
    "CTIO 4.0-m telescope": {"TELESCOP": "CTIO 4.0-m telescope", "INSTRUME": "newfirm"},
    "": {"ORIGIN": "Observatoire des montagnes", "SURVEY": "ours"},
}


@pytest.mark.parametrize("name", TELESCOPES)
def test_the_telescope(name):
    assert identity(header(TELESCOPES[name])) == name
    assert (
        telescope_of(header({}), header(TELESCOPES[name])) == name.split(" ACS")[0].split(" NIR")[0]
    )


def test_instruments_that_may_be_one():
    assert same_instrument("HST ACS", "HST") and same_instrument("", "DECam")
    assert not same_instrument("HST ACS", "HST WFC3") and not same_instrument("DECam", "SDSS")


# -- gain, epoch, wavelength -----------------------------------------------------------------------
GAINS = {
    "GAIN": ({"GAIN": 4.0}, 4.0),
    "text": ({"GAIN": "4.0"}, 4.0),
    "zero": ({"GAIN": 0.0}, None),
    "negative, other": ({"GAIN": -1, "EGAIN": 2.0}, 2.0),
    "adu": ({"GAIN": 4.0, "BUNIT": "adu"}, 4.0),
    "rate": ({"GAIN": 4.0, "BUNIT": "adu/s", "EXPTIME": 10.0}, 40.0),
    "rate, no EXPTIME": ({"GAIN": 4.0, "BUNIT": "adu/s"}, None),
    "electrons/s": ({"BUNIT": "ELECTRONS/S", "EXPTIME": 500.0, "CCDGAIN": 2}, 500.0),
    "electrons": ({"BUNIT": "ELECTRONS", "TELESCOP": "HST", "CCDGAIN": 2, "GAIN": 1}, 1.0),
    "of a unit": (
        {"GAIN": (102.8, "[e-/unit]"), "BUNIT": "e-/s", "EXPTIME": 100.0},
        102.8,
    ),
    "coadd": ({"GAIN": (21.1, "Maximum equivalent gain (e-/ADU)"), "BUNIT": "electrons"}, 21.1),
    "flux": ({"GAIN": 4.0, "BUNIT": "nJy"}, None),
    "amplifiers": ({"GAINA": 3.8, "GAINB": 4.0}, 3.9),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("cards", "gain"), GAINS.values(), ids=GAINS)
def test_the_gain(cards, gain):
    said = []
    assert gain_of(header(cards), None, said) == (None if gain is None else pytest.approx(gain))
    assert not said or all(d.about == "gain" and not d.warning for d in said)
    assert cards.get("GAIN") not in (0.0, -1) or "GAIN" in said[0].text


EPOCHS = {
    "MJD": ({"MJD": 59000.5, "MJD-OBS": 58000.0}, 59000.5),
    "MJD-OBS": ({"MJD-OBS": 57444.25}, 57444.25),
    "both ends": ({"MJD-OBS": 58012.2, "MJD-END": 58012.3}, 58012.25),
    "HST": ({"EXPSTART": 57000.0, "EXPEND": 57000.5, "DATE-OBS": "2014-12-09"}, 57000.25),
    "JWST": ({"MJD-BEG": 59000.0, "MJD-AVG": 59000.1, "MJD-END": 59000.3}, 59000.1),
    "nonsense": ({"MJD-OBS": 0.0, "DATE-OBS": "2016-02-26T06:00:00"}, 57444.25),
    "negative": ({"MJD-OBS": -1.0}, None),
    "text": ({"MJD-OBS": "unknown"}, None),
    "julian": ({"MJD-OBS": 2457444.75}, None),
    "date": ({"DATE-OBS": "2016-02-26T06:00:00.00"}, 57444.25),
    "date and time": ({"DATE-OBS": "2016-02-26", "TIME-OBS": "06:00:00"}, 57444.25),
    "day": ({"DATE-OBS": "2016-02-26"}, 57444.5),
    "old form": ({"DATE-OBS": "20/03/99"}, Time("1999-03-20T12:00:00").mjd),
    "no date": ({"DATE-OBS": "today"}, None),
    "wrong month": ({"DATE-OBS": "2016-13-26T06:00:00"}, None),
    "zero date": ({"DATE-OBS": "0000-00-00T00:00:00"}, None),
    "years": ({"MJDMIN": 55359.3, "MJDMAX": 58447.0}, None),
    "reference": ({"MJDREF": 0.0}, None),
}


@pytest.mark.parametrize(("cards", "epoch"), EPOCHS.values(), ids=EPOCHS)
def test_the_epoch(cards, epoch):
    said = []
    got = epoch_of(header(cards), None, said)
    assert got == (None if epoch is None else pytest.approx(epoch, abs=1e-6))
    assert said or not cards or list(cards) == ["MJDREF"]
    assert epoch_of(header({}), header(cards)) == got


def test_the_wavelength():
    for cards, um in (
        ({"WAVELEN": 0.62}, 0.62), ({"WAVELENG": 5050.0}, 0.505), ({"PHOTPLAM": 8045.5}, 0.80455),
        ({"WAVELEN": (620.0, "[nm]")}, 0.62), ({"WAVELEN": 0.0, "PHOTPLAM": 5000.0}, 0.5),
        ({}, None),
    ):  # fmt: skip
        assert wavelength_of(header(cards)) == (None if um is None else pytest.approx(um))


# -- real files ------------------------------------------------------------------------------------
REAL = sorted(DATA.glob("real/*/*.fits"))


@pytest.mark.skipif(not REAL, reason="the real fields are not here")
@pytest.mark.filterwarnings("ignore")
def test_real_fields_are_read_without_a_warning(caplog):
    caplog.set_level(logging.WARNING)
    for path in REAL:
        h = fits.getheader(path)
        found = calibration(h, pixel_area_sr=SR)
        assert found.zeropoint == pytest.approx(h["MAGZERO"], abs=1e-9), path
        assert not any(d.warning for d in found.decisions), (path, found.decisions)
        assert band_of(h, None, path.stem)[0] == h["BAND"], path
        assert gain_of(h) == h.get("GAIN") and epoch_of(h) == h.get("MJD"), path


SURVEYS = {
    "raw/coadd_w1_image.fits": (25.199, "W1", "WISE"),
    "raw/coadd_r_sci_wgt.fits": (30.0, "r", "DECam"),
    "raw/exposure_r_image.fits": (30.12, "r", "DECam"),
    "hsc_afw/g.fits": (27.0, "g", ""),
    "psfex/decam-520206-S16-image-sub.fits": (30.27, "z", "DECam"),
    "galfitm_ngc4261/NGC_4261-r.fits.gz": (29.9433, "NGC_4261-r", ""),
    "sdss_field/frame-r-001000-1-0100.fits.bz2": (22.5, "r", "SDSS"),
    "nircam_galfits/40/f200w.fits.gz": (None, "f200w", ""),
}


@pytest.mark.parametrize("name", SURVEYS)
def test_files_of_surveys(name):
    path = DATA / "surveys" / name
    if not path.is_file():
        pytest.skip("the surveys' files are not here")
    with fits.open(path) as hdus:
        k = next(k for k, hdu in enumerate(hdus) if hdu.header.get("NAXIS") == 2)
        own, primary = hdus[k].header, hdus[0].header if k else None
        found = calibration(own, primary, pixel_area_sr=SR)
        zeropoint, band, telescope = SURVEYS[name]
        assert found.zeropoint == (
            None if zeropoint is None else pytest.approx(zeropoint, abs=1e-6)
        )
        assert not any(d.warning for d in found.decisions)
        assert band_of(own, primary, stem_of(path))[0] == band
        assert telescope_of(own, primary) == telescope
