"""Where the pixels of a file lie: against astropy on a clean header, and what is said or refused of others."""

import itertools
import pathlib
import re
import warnings

import astropy.wcs
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable

from bayesjoint.images.frame import Placement
from bayesjoint.images.readers.place import place_of

SHAPE, S = (48, 64), 0.2 / 3600
CD = {"CD1_1": -S, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": S}
CDELT = {"CDELT1": -S, "CDELT2": S}
COS, SIN = np.cos(np.radians(30)), np.sin(np.radians(30))
PC30 = {"PC1_1": COS, "PC1_2": -SIN, "PC2_1": SIN, "PC2_2": COS}
CD30 = {"CD1_1": -S * COS, "CD1_2": -S * SIN, "CD2_1": -S * SIN, "CD2_2": S * COS}
CROTA30 = CDELT | {"CROTA2": 30.0}  # CD1_2 = -CDELT2 sin, CD2_1 = CDELT1 sin
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-4, "A_1_1": -3e-4, "B_0_2": 4e-4}
TAN_SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
REMEDY = r"\b[Gg]ive (wcs|pixel_scale)="
pytestmark = pytest.mark.filterwarnings("error")


def header(*groups, drop=(), **cards):
    """A TAN header, 0.2" a pixel, North up; `groups` and `cards` change it."""
    h = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2})
    h.update({"CRPIX1": 30.25, "CRPIX2": 20.5})
    groups = groups or (CD,)
    for group in (*groups, cards):
        for k, v in group.items():
            h[k] = v
    for k in drop:
        del h[k]
    return h


def place(own, primary=None, hdus=None, shape=SHAPE):
    return place_of(own, primary, hdus, shape, "f.fits[1]")


def corners(shape=SHAPE):
    return np.array(list(itertools.product((0, 7.5, shape[1] - 1), (0, 3.25, shape[0] - 1)))).T


def off(got, reference):
    """Largest distance in arcsec between two WCSs' pixels, through ICRS."""
    wcs = reference if isinstance(reference, WCS) else WCS(reference)
    x, y = corners()
    a = SkyCoord(*Placement(SHAPE, wcs=got).to_icrs(x, y), unit="deg")
    return a.separation(wcs.pixel_to_world(x, y).icrs).arcsec.max()


def texts(p, warning):
    return [d.text for d in p.decisions if d.warning == warning]


# -- all is well: the same places as astropy's, and not a word -------------------------------------
THIRD = {"WCSAXES": 3, "CTYPE3": "FREQ", "CRVAL3": 1e9, "CDELT3": 1e6, "CRPIX3": 1.0}
QUIET = {
    "CD": header(),
    "CDELT": header(CDELT),
    "CDELT and CROTA2": header(CROTA30),
    "CDELT and both CROTA": header(CROTA30, CROTA1=30.0),
    "PC": header(CDELT, PC30),
    "PC with CDELT 1": header({k.replace("CD", "PC"): v for k, v in CD30.items()}, CDELT1=1.0, CDELT2=1.0),
    "PC without the elements that are 0": header({"PC1_1": -S, "PC2_2": S}),
    "CD with CDELT of the same scale": header(CD30, CDELT1=S, CDELT2=S),
    "CD with CDELT and CROTA that agree": header(CD30, CROTA30),
    "CD with PC that agrees": header(CD, CDELT, PC1_1=1.0, PC2_2=1.0),
    "CD with PC and CDELT 1": header(CD30, PC1_1=1.0, PC2_2=1.0, CDELT1=1.0, CDELT2=1.0),
    "CD with CDELT 1": header(CD30, CDELT1=1.0, CDELT2=1.0),
    "East to the right": header(CD, CD1_1=S),
    "HST WFC3/IR: 0.135 by 0.121 arcsec": header(CD1_1=-0.1355 / 3600, CD1_2=0.0, CD2_1=0.0, CD2_2=0.1211 / 3600),
    "HST ACS: axes 85 deg apart": header(CD1_1=-S, CD1_2=S * np.sin(np.radians(5)), CD2_1=0.0, CD2_2=S * np.cos(np.radians(5))),
    "far cut-out of a tract": header(CRPIX1=-17000.0, CRPIX2=14000.0),
    "RADESYS ICRS beside an EQUINOX": header(RADESYS="ICRS", EQUINOX=2000.0),
    "FK5": header(RADESYS="FK5", EQUINOX=2000.0),
    "RADECSYS of SDSS": header(RADECSYS="ICRS", EQUINOX=2000.0),
    "Dec first": header({"CD1_1": 0.0, "CD1_2": S, "CD2_1": -S, "CD2_2": 0.0}, CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=2.2, CRVAL2=150.0),
    "galactic": header(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"),
    "galactic CAR": header(CTYPE1="GLON-CAR", CTYPE2="GLAT-CAR", CRVAL2=0.0),
    "SIP": header(CD, TAN_SIP, SIP),
    "TPV": header(CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_1=1.0, PV1_4=2e-3, PV2_1=1.0, PV2_5=-3e-3),
    "ZPN": header(CTYPE1="RA---ZPN", CTYPE2="DEC--ZPN", PV2_1=1.0, PV2_3=-50.0),
    "SIN": header(CTYPE1="RA---SIN", CTYPE2="DEC--SIN"),
    "STG": header(CTYPE1="RA---STG", CTYPE2="DEC--STG"),
    "units": header(CD1_1=-0.2, CD1_2=0.0, CD2_1=0.0, CD2_2=0.2, CUNIT1="arcsec", CUNIT2="arcsec", CRVAL1=150 * 3600.0, CRVAL2=2.2 * 3600),
    "dates": header(**{"DATE-OBS": "20/03/99", "MJD-OBS": 57000.0, "DATE": "2001-01-01"}),
    "at the pole": header(CRVAL2=90.0),
    "across RA 0": header(CRVAL1=0.0),
    "RA below 0": header(CRVAL1=-210.0),
    "text in an axis that is none of the sky's": header(CRVAL3="I", CTYPE3="STOKES"),
    "PIXSCALE that agrees": header(PIXSCALE=0.2, PIXAR_A2=0.04),
    "PIXAR_A2 that agrees with PC": header({"PC1_1": -0.5, "PC2_2": 0.5}, CDELT1=2 * S, CDELT2=2 * S, PIXAR_A2=0.04),
    "EPOCH, a running number": header(EPOCH=3),
    "cube": header(CD, THIRD),
    "cube with SIP": header(CD, TAN_SIP, SIP, THIRD),
    "third axis without a name": header(CD, TAN_SIP, SIP, CRPIX3=1.0, CRVAL3=0.0),
    "third axis coupled, at its reference": header(CD, THIRD, CD1_3=1e-4, CD3_3=1e6),
}  # fmt: skip


def clean(h):
    """The two celestial axes alone; FK5 is taken for ICRS."""
    other = r"3$|3_\d$|WCSAXES|^DATE|^MJD|^PIX|^RADE|^EQUINOX|^EPOCH"
    if "CD1_1" in h:  # whichever of the two astropy would take
        other += "|^PC|^CDELT|^CROTA"
    return fits.Header([c for c in h.cards if not re.search(other, c.keyword)])


@pytest.mark.parametrize("name", QUIET)
def test_all_is_well(name, capfd):
    p = place(QUIET[name])
    assert p.decisions == [] and p.pixel_scale is None and p.parent == (0, 0)
    assert off(p.wcs, clean(QUIET[name])) < 1e-5
    assert capfd.readouterr() == ("", "")


def test_the_matrix_by_hand():
    """CD (p - CRPIX) in the plane, and from there the formula of the gnomonic projection."""
    for h in (header(CD30), header(CROTA30), header(CDELT, {"PC1_1": COS, "PC1_2": SIN, "PC2_1": -SIN, "PC2_2": COS})):
        x, y = corners()
        dx, dy = x + 1 - 30.25, y + 1 - 20.5
        east, north = -S * (COS * dx + SIN * dy), S * (-SIN * dx + COS * dy)
        ra, dec = Placement(SHAPE, wcs=place(h).wcs).to_icrs(x, y)
        xi, eta, a, d = *np.radians((east, north)), *np.radians((150, 2.2))
        truth_ra = a + np.arctan2(xi, np.cos(d) - eta * np.sin(d))
        truth_dec = np.arctan2(np.sin(d) + eta * np.cos(d), np.hypot(xi, np.cos(d) - eta * np.sin(d)))
        truth = SkyCoord(truth_ra, truth_dec, unit="rad")
        assert SkyCoord(ra, dec, unit="deg").separation(truth).arcsec.max() < 1e-5


# -- said, and right -------------------------------------------------------------------------------
WAT = 'wtype=tnx axtype={} {} = "3. 3. 3. 2. -0.05 0.05 -0.05 0.05 1.0E-3 2.0E-3 1.0E-1 3.0E-3 1.0E-3 2.0E-3 "'


def wat():
    cards = {"WAT0_001": "system=image"}
    for i, (axis, name) in enumerate((("ra", "lngcor"), ("dec", "latcor")), 1):
        s = WAT.format(axis, name)
        cards |= {f"WAT{i}_{k // 68 + 1:03d}": s[k : k + 68] for k in range(0, len(s), 68)}
    return cards


NOTE, WARN = False, True
SAID = {
    # name: (header, level, words, the header that is meant)
    "numbers as text": (header(CRVAL1="150.0", CRPIX2=" 2.05D1 "), WARN, "CRVAL1 = '150.0' is text", header()),
    "EQUINOX as text": (header(EQUINOX="J2000"), WARN, "EQUINOX = 'J2000' is text", header()),
    "CTYPE short of a dash": (header(CTYPE1="RA--TAN", CTYPE2="DEC-TAN"), WARN, "'RA--TAN' is read as 'RA---TAN'", header()),
    "CTYPE of too many": (header(CTYPE1="GLON---TAN", CTYPE2="GLAT---TAN"), WARN, "'GLON---TAN' is read as", header(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN")),
    "CTYPE in small letters": (header(CTYPE1="ra---tan", CTYPE2="dec--tan"), WARN, "'ra---tan' is read as", header()),
    "CTYPE of SIP with too many dashes": (header(CD, SIP, CTYPE1="RA---TAN--SIP", CTYPE2="DEC--TAN--SIP"), WARN, "is read as 'RA---TAN-SIP'", header(CD, SIP, TAN_SIP)),
    "no CRPIX2": (header(drop=["CRPIX2"]), WARN, "CRPIX2 is not in the header: 0", header(CRPIX2=0.0)),
    "CD and CDELT of another scale": (header(CD, CDELT1=-1e-4, CDELT2=1e-4), WARN, r'CD matrix is used.*0.2" a pixel where CDELT says 0.36"', header()),
    "CD and CROTA of another angle": (header(CD30, CDELT, CROTA2=12.0), WARN, "18.00 deg from that of CDELT and CROTA", header(CD30)),
    "CD and a CROTA alone": (header(CD30, CROTA2=12.0), WARN, "18.00 deg from that of CROTA", header(CD30)),
    "CD and PC of another scale": (header(CD, {"PC1_1": -2 * S, "PC2_2": 2 * S}), WARN, r'PC matrix is used.*0.4" a pixel where CD says 0.2"', header({"PC1_1": -2 * S, "PC2_2": 2 * S})),
    "CD and PC of another angle": (header(CD, CDELT, PC30), WARN, "30.00 deg from that of CD", header(CDELT, PC30)),
    "PC and CROTA": (header(CDELT, PC30, CROTA2=50.0), WARN, "PC matrix is used.*80.00 deg from that of CROTA", header(CDELT, PC30)),
    "CROTA1 alone": (header(CDELT, CROTA1=30.0), WARN, "CROTA1 = 30 is not used", header(CDELT)),
    "PC of another scale": (header(CDELT, {k: 1.5 * v for k, v in PC30.items()}), WARN, r'pixels of 0.3" where CDELT alone says 0.2"', header(CDELT, {k: 1.5 * v for k, v in PC30.items()})),
    "oblong pixels": (header(CD, CD2_2=3 * S), WARN, r'0.2" by 0.6"', header(CD, CD2_2=3 * S)),
    "sheared pixels": (header(CD, CD1_2=S), WARN, "axes 45 deg apart|axes 135 deg apart", header(CD, CD1_2=S)),
    "far from the reference": (header(CRPIX1=5e5), WARN, "reference point of its tangent plane", header(CRPIX1=5e5)),
    "EQUINOX 0": (header(EQUINOX=0.0), WARN, "EQUINOX = 0 is no equinox", header()),
    "EQUINOX of the date": (header(EQUINOX=2013.4), WARN, "FK5, J2013.4 and precessed", header(EQUINOX=2013.4)),
    "FK5 of 1950": (header(EQUINOX=1950.0, RADESYS="FK5"), WARN, "FK5, J1950", header(EQUINOX=1950.0, RADESYS="FK5")),
    "FK4": (header(EQUINOX=1950.0), NOTE, "FK4", header(EQUINOX=1950.0, RADESYS="FK4")),
    "EPOCH 1950": (header(EPOCH=1950.0), NOTE, "FK4", header(EQUINOX=1950.0, RADESYS="FK4")),
    "EPOCH of the date": (header(EPOCH=2013.4), NOTE, "EPOCH = 2013.4 is not taken", header()),
    "RADESYS GSC1": (header(RADESYS="GSC1", EQUINOX=2000.0), WARN, "'GSC1' is taken as ICRS", header()),
    "RADESYS OTHER": (header(RADESYS="OTHER"), WARN, "'OTHER' is taken as ICRS", header()),
    "RADESYS J2000": (header(RADESYS="J2000"), NOTE, "'J2000' is taken as ICRS", header()),
    "RADESYS ICRF": (header(RADESYS="ICRF"), NOTE, "'ICRF' is taken as ICRS", header()),
    "SIP without its suffix": (header(CD, SIP), WARN, "applied though CTYPE does not say -SIP", header(CD, SIP, TAN_SIP)),
    "a little SIP without its suffix": (header(CD, SIP, A_2_0=1e-9, A_1_1=0.0, B_0_2=0.0), NOTE, "applied though", header()),
    "SIP left over from before drizzling": (header(CD, SIP, D001VER="3.4"), WARN, "left out.*D001VER", header()),
    "suffix of one axis": (header(CD, SIP, CTYPE1="RA---TAN-SIP"), NOTE, "one axis alone", header(CD, SIP, TAN_SIP)),
    "suffix without SIP": (header(CD, TAN_SIP), WARN, "no SIP coefficients", header()),
    "SIP without orders": (header(CD, TAN_SIP, SIP, drop=["A_ORDER"]), WARN, "A_ORDER is not in the header: 2", header(CD, TAN_SIP, SIP)),
    "SIP of one axis": (header(CD, TAN_SIP, A_ORDER=2, A_2_0=2e-4), WARN, "B_ORDER is not in the header: axis 2", header(CD, TAN_SIP, A_ORDER=2, A_2_0=2e-4, B_ORDER=2)),
    "SIP above its order": (header(CD, TAN_SIP, SIP, A_3_0=1e-6), WARN, "above A_ORDER = 2", header(CD, TAN_SIP, SIP)),
    "SIP of order 1": (header(CD, TAN_SIP, A_ORDER=1, B_ORDER=1, A_1_0=0.02), NOTE, "A_ORDER = 1 are applied", header(CD, CD1_1=-S * 1.02)),
    "SIP of SCAMP": (header(PV1_1=1.0, PV1_5=2e-3, PV2_1=1.0), NOTE, "read as TPV", header(CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_1=1.0, PV1_5=2e-3, PV2_1=1.0)),
    "linear terms of SCAMP": (header(PV1_0=0.0, PV1_1=1.0, PV2_0=0.0, PV2_1=1.0), NOTE, "read as TPV", header()),
    "SIP and PV that differ": (header(CD, SIP, TAN_SIP, PV1_1=1.0, PV1_5=2e-3, PV2_1=1.0), WARN, "PV terms of SCAMP are left out.*differ", header(CD, SIP, TAN_SIP)),
    "SIP and TPV that differ": (header(CD, SIP, CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_1=1.0, PV2_1=1.0), WARN, "SIP coefficients are left out, as CTYPE says TPV", header()),
    "TNX without a surface": (header(CTYPE1="RA---TNX", CTYPE2="DEC--TNX"), WARN, "read as TAN", header()),
    "old names of PC": (header(CDELT, {f"PC00{k[2]}00{k[4]}": v for k, v in PC30.items()}), None, "", header(CDELT, PC30)),
    "names of PC of CASA": (header(CDELT, {f"PC0{k[2]}_0{k[4]}": v for k, v in PC30.items()}), None, "", header(CDELT, PC30)),
    "units of another spelling": (header(CUNIT1="degrees", CUNIT2="DEGREE"), NOTE, "degrees", header()),
    "PIXAR_A2 of before drizzling": (header(PIXAR_A2=0.16), NOTE, r'PIXAR_A2 says 0.4"', header()),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_said_and_right(name, capfd):
    h, level, words, meant = SAID[name]
    p = place(h)
    if level is not None:
        assert re.search(words, " | ".join(texts(p, level))), p.decisions
        assert level or not texts(p, WARN)
    for d in p.decisions:
        assert d.about == "place" and "\n" not in d.text and len(d.text) < 300 and not d.text.endswith(".")
    assert off(p.wcs, meant) < 1e-4
    assert capfd.readouterr() == ("", "")


def test_tnx_is_evaluated():
    """Its surface in xi, eta (degrees) adds to them: simple polynomials, half cross terms (type 3, 2)."""
    p = place(header(CTYPE1="RA---TNX", CTYPE2="DEC--TNX", **wat()))
    x, y = corners()
    xi, eta = -S * (x + 1 - 30.25), S * (y + 1 - 20.5)
    both = 1e-3 + 2e-3 * xi + 0.1 * xi**2 + 3e-3 * eta + 1e-3 * xi * eta + 2e-3 * eta**2
    tan = WCS(header({"CD1_1": 1.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1.0}, CRPIX1=1.0, CRPIX2=1.0))
    truth = SkyCoord(*tan.all_pix2world(xi + both, eta + both, 0), unit="deg")
    got = SkyCoord(*p.wcs.all_pix2world(x, y, 0), unit="deg")
    assert got.separation(truth).arcsec.max() < 1e-4 and not p.decisions


# -- refused ---------------------------------------------------------------------------------------
REFUSED = {
    "text that is no number": (header(CRPIX1="abc"), "CRPIX1 must be a number; got the text 'abc'"),
    "sexagesimal CRVAL": (header(CRVAL1="10:00:00"), "CRVAL1 must be a number"),
    "text in CD": (header(CD1_1="--"), "CD1_1 must be a number"),
    "text in SIP": (header(CD, TAN_SIP, SIP, A_2_0="x"), "A_2_0 must be a number"),
    "true for a number": (header(CRVAL1=True), "CRVAL1 must be a number"),
    "no CRVAL1": (header(drop=["CRVAL1"]), "CRVAL1 must be in the header"),
    "declination of 100 deg": (header(CRVAL2=100.0), "within -90 to 90 deg; got 100"),
    "longitude of 1e5 deg": (header(CRVAL1=1e5), "longitude"),
    "no scale": (header({}), "CD matrix, or CDELT"),
    "1 deg a pixel": (header({"CDELT1": -1.0, "CDELT2": 1.0}), r'0.0005 to 120 arcsec.*got 3600"'),
    "CD in arcsec": (header(CD1_1=-0.2, CD1_2=0.0, CD2_1=0.0, CD2_2=0.2), r"0.0005 to 120 arcsec wide"),
    "pixels of nothing": (header(CD1_1=-1e-9, CD1_2=0.0, CD2_1=0.0, CD2_2=1e-9), r"0.0005 to 120"),
    "CD of zeros": (header(CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0), "must span an area; got CD1_1 = 0"),
    "CD of one element": (header({"CD1_1": -S}), "must span an area"),
    "CDELT of zeros": (header({"CDELT1": 0.0, "CDELT2": 0.0}), "must span an area; got CDELT1 = 0"),
    "singular PC": (header(CDELT, PC1_1=1.0, PC1_2=1.0, PC2_1=1.0, PC2_2=1.0), "must span an area"),
    "PC that lost its off-diagonals": (header(CDELT, PC1_1=0.64, PC2_2=0.64), r'0.128" where CDELT alone says 0.2"; PC1_2 and PC2_1 seem to be lost.*pixel_scale=0.2'),
    "PC that another card contradicts": (header(CDELT, {k: 1.5 * v for k, v in PC30.items()}, PIXAR_A2=0.04), "PIXAR_A2"),
    "one celestial axis": (header(CTYPE2="WAVE"), "one longitude and one latitude.*CTYPE2 = 'WAVE'"),
    "two projections": (header(CTYPE2="DEC--SIN"), "one projection"),
    "no projection": (header(CTYPE1="RA", CTYPE2="DEC"), "must name a projection"),
    "unknown projection": (header(CTYPE1="RA---XYZ", CTYPE2="DEC--XYZ"), "'XYZ'"),
    "coordinates on the Sun": (header(CTYPE1="HPLN-TAN", CTYPE2="HPLT-TAN"), "equatorial, galactic"),
    "of two systems": (header(CTYPE1="RA---TAN", CTYPE2="GLAT-TAN"), "one longitude and one latitude"),
    "slit: RA and Dec on axes 1 and 3": (header(CTYPE2="WAVE", CTYPE3="DEC--TAN"), "on the axes 1 and 2"),
    "coupled with a third axis": (header(CD, THIRD, CD1_3=1e-4, CRPIX3=5.0), "CD1_3"),
    "unit that is none": (header(CUNIT1="furlong"), "furlong"),
    "look-up tables that are not there": (header(CPDIS1="LOOKUP"), "look-up tables"),
    "60 deg off in a tangent plane": (header(CRPIX1=5e6), "near the reference point"),
    "off the projection": (header(CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CRPIX1=5e6), "on the sky; got no position"),
    "SIP that folds the image": (header(CD, TAN_SIP, SIP, A_2_0=-0.1), "fold"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name, capfd):
    h, words = REFUSED[name]
    with pytest.raises(ValueError, match=words) as e:
        place(h)
    text = str(e.value)
    assert text.startswith("f.fits[1]: ") and "\n" not in text and len(text) < 400
    assert re.search(REMEDY, text) or "pixel_scale=" in text
    assert capfd.readouterr() == ("", "")


def test_a_card_that_stands_twice_must_say_the_same():
    h = header()
    h.append(("CRVAL1", 10.0), end=True)
    with pytest.raises(ValueError, match=r"CRVAL1 must be in the header once; got 150.0 and 10.0"):
        place(h)
    h = header()
    h.append(("CRVAL1", 150.0), end=True)
    assert place(h).decisions == []


# -- headers of telescopes, from astropy's own tests ------------------------------------------------
REAL = {
    "IRAC, SIP": ("irac_sip.hdr", 0, []),
    "ACS, SIP": ("siponly.hdr", 0, []),
    "SCAMP, TPV": ("tpvonly.hdr", 0, []),
    "PTF, SIP and PV": ("too_many_pv.hdr", 0, ["PV terms of SCAMP are left out.*agree"]),
    "ACS, look-up tables": ("j94f05bgq_flt.fits", 1, []),
    "DSS, plate solution": ("dss.14.29.56-62.41.05.fits.gz", 0, ["plate solution of the DSS", "left out.*agree"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_headers_of_telescopes(name):
    file, hdu, notes = REAL[name]
    path = pathlib.Path(astropy.wcs.__file__).parent / "tests" / "data" / file
    if not path.is_file():
        pytest.skip("astropy is installed without its tests")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".hdr":
            h, hdus = fits.Header.fromstring(path.read_text()), None
        else:
            with fits.open(path, memmap=False) as hdus:
                h, _ = hdus[hdu].header, [x.data for x in hdus]
                hdus = fits.HDUList(list(hdus))
        h.tostring()  # which mends what is no FITS, with a warning
        scamp = "PV terms" in " ".join(notes)
        wcs = WCS(fits.Header([c for c in h.cards if not (scamp and c.keyword[:2] == "PV")]), fobj=hdus)
    p = place(h, None, hdus, (100, 200))
    assert off(p.wcs, wcs) < (0.03 if wcs.wcs.radesys == "FK5" else 1e-4)  # FK5 is taken as ICRS
    assert off(place(p.wcs.to_header(relax=True)).wcs, p.wcs) < 1e-4 or hdu == 1  # but tables
    assert not texts(p, WARN) and len(texts(p, NOTE)) == len(notes)
    assert all(re.search(a, b) for a, b in zip(notes, texts(p, NOTE), strict=True))


def test_real_images_are_placed_in_silence(data):
    """Every science image at hand; what is known to be wrong of some is said."""
    seen = 0
    for path in sorted(data.glob("*/*/*.fits")) + sorted(data.glob("surveys/*/*/f???w.fits.gz")):
        if "sealed" in path.parts:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False) as hdus:
                primary = hdus[0].header
                sci = next((h for h in hdus if h.is_image and len(h.shape) == 2), None)
                if sci is None:
                    continue
                own, shape = sci.header, sci.shape
        if "nircam_galfits" in str(path):
            with pytest.raises(ValueError, match=r"PC1_2 and PC2_1 seem to be lost. Give pixel_scale=0.0[24] "):
                place(own, None, None, shape)
            continue
        p = place(own, None if sci is hdus[0] else primary, None, shape)
        assert not texts(p, WARN), (path, p.decisions)
        if "hsc_afw" in str(path) and p.wcs is not None:
            assert p.parent == (11564, 3999) == (-own["LTV1"], -own["LTV2"])
        if "real" in path.parts:
            assert Placement(shape, wcs=p.wcs).pixel_scale == pytest.approx(own["PIXSCALE"], rel=0.01)
        seen += 1
    assert seen > 50


# -- from which header -----------------------------------------------------------------------------
LEAKS = {
    "pointing": {"RA": 150.0, "DEC": 2.2, "EQUINOX": 2013.4},
    "system": {"RADESYS": "FK4"},
    "rotation": {"CROTA2": 77.0},
    "CD": {k: 3 * v for k, v in CD.items()},
    "PC": {"PC1_1": 0.7, "PC1_2": 0.7, "PC2_1": -0.7, "PC2_2": 0.7, "CDELT1": 1.0, "CDELT2": 1.0},
    "pole": {"LONPOLE": 10.0},
    "SIP": SIP,
    "WCS": dict(header(CRVAL1=10.0)),
    "text": {"CRPIX1": "abc"},
}


@pytest.mark.parametrize("own", [header(), header(CDELT)], ids=["CD", "CDELT"])
@pytest.mark.parametrize("name", LEAKS)
def test_nothing_of_the_primary_header_reaches_an_extension_that_has_a_wcs(name, own):
    p = place(own, fits.Header(LEAKS[name]))
    assert p.decisions == [] and off(p.wcs, own) < 1e-6


def test_the_primary_header_serves_an_extension_without_a_wcs():
    p = place(fits.Header({"EXTNAME": "SCI", "EQUINOX": 1950.0, "CD1_1": 1.0}), header())
    assert off(p.wcs, header()) < 1e-6
    assert texts(p, NOTE) == ["the WCS is that of the primary header, as the extension has none"]
    assert not texts(p, WARN)
    with pytest.raises(ValueError, match=r"f.fits\[1\], primary header: CRPIX1 must be a number"):
        place(fits.Header(), header(CRPIX1="abc"))


@pytest.mark.parametrize("value", [False, "F"])
def test_an_extension_that_does_not_inherit_gets_no_wcs(value):
    p = place(fits.Header({"INHERIT": value}), header(PIXSCALE=0.2))
    assert p.wcs is None and p.pixel_scale is None
    assert re.search("INHERIT = F.*give wcs=", texts(p, WARN)[0])
    assert place(header(INHERIT=value), header(CRVAL1=3.0)).decisions == []


def test_the_wcs_of_another_image_in_the_primary_hdu_is_not_taken():
    primary = header(NAXIS=2, NAXIS1=100, NAXIS2=100)
    p = place(fits.Header(), primary)
    assert p.wcs is None and "(100, 100)" in texts(p, WARN)[0]
    primary["NAXIS1"], primary["NAXIS2"] = SHAPE[::-1]
    assert place(fits.Header(), primary).wcs is not None


def test_a_file_without_wcs():
    assert place(fits.Header(), fits.Header()).decisions == []
    linear = {"CTYPE1": "", "CRVAL1": 1, "CRPIX1": 1, "CDELT1": 1}
    for h in (linear, linear | {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, {"CTYPE1A": "LINEAR"}):
        p = place(fits.Header(h))
        assert p.wcs is None and p.decisions == []
    p = place(header(drop=["CTYPE1", "CTYPE2"]))
    assert p.wcs is None and "no WCS without CTYPE1" in texts(p, WARN)[0]
    p = place(fits.Header({f"{k}S": v for k, v in header().items()}))
    assert p.wcs is None and "alternate WCS 'S'" in texts(p, WARN)[0]


def test_pixscale_serves_a_file_without_wcs():
    for own, primary in (({"PIXSCALE": 0.3}, None), ({"PIXSCALE": " 0.3"}, {"PIXSCALE": 5.0}), ({}, {"PIXSCALE": 0.3})):
        p = place(fits.Header(own), primary and fits.Header(primary))
        assert p.wcs is None and p.pixel_scale == 0.3 and not texts(p, WARN)
        assert "PIXSCALE" in texts(p, NOTE)[0]
    assert place(header(PIXSCALE=0.3)).pixel_scale is None
    p = place(fits.Header({"PIXSCALE": "unknown"}))
    assert p.pixel_scale is None and "no number" in texts(p, WARN)[0]
    with pytest.raises(ValueError, match=r"PIXSCALE must be 0.0005 to 120 .*Give pixel_scale="):
        place(fits.Header({"PIXSCALE": 5.5e-5}))


def test_axes_of_length_one():
    for lengths, axes in (((64, 48, 1), (1, 2)), ((64, 48, 1, 1), (1, 2)), ((1, 64, 48), (2, 3))):
        h = header(NAXIS=len(lengths), **{f"NAXIS{k}": n for k, n in enumerate(lengths, 1)})
        if axes == (2, 3):
            h = fits.Header([(re.sub("(?<=[A-Z_])[12]", lambda m: str(int(m[0]) + 1), k), v) for k, v in h.items() if not k.startswith("NAXIS")])
            h.update({"NAXIS": 3, "NAXIS1": 1, "NAXIS2": 64, "NAXIS3": 48, "CTYPE1": "FREQ", "CRVAL1": 1e9})
        p = place(h)
        assert p.decisions == [] and off(p.wcs, header()) < 1e-6


def test_look_up_tables_are_those_of_the_file():
    wcs = WCS(header())
    for k, v in (("cpdis1", 0.25), ("cpdis2", -0.5)):
        setattr(wcs, k, DistortionLookupTable(np.full((8, 10), v, "f4"), (1, 1), (1, 1), (7, 6)))
    hdus = wcs.to_fits(relax=True)
    p = place(hdus[0].header, None, hdus)
    x, y = corners()
    truth = WCS(header()).all_pix2world(x + 0.25, y - 0.5, 0)
    np.testing.assert_allclose(p.wcs.all_pix2world(x, y, 0), truth, atol=1e-9)
    with pytest.raises(ValueError, match="look-up tables of distortion"):
        place(hdus[0].header, None, hdus[:1])


def test_pixels_that_are_not_on_the_sky_are_refused():
    h = header({"CDELT1": -1 / 60, "CDELT2": 1 / 60}, CTYPE1="RA---AIT", CTYPE2="DEC--AIT", CRVAL2=0.0)
    assert place(h).decisions == []
    h["CRPIX1"] = 9740.0  # the map ends at 2 sqrt(2) rad
    with pytest.raises(ValueError, match=r"all pixels on the sky; got about .* Cut the image"):
        place(h)


# -- the parent image ------------------------------------------------------------------------------
AFW = {"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CUNIT1A": "PIXEL", "CUNIT2A": "PIXEL", "CRPIX1A": 1.0, "CRPIX2A": 1.0, "CRVAL1A": 11564.0, "CRVAL2A": 3999.0}  # fmt: skip
PARENTS = {
    "none": ({}, (0, 0), 0),
    "LTV": ({"LTV1": -20.0, "LTV2": 3}, (20, -3), 0),
    "LTV with LTM 1": ({"LTV1": -20.0, "LTV2": -30.0, "LTM1_1": 1.0, "LTM2_2": 1.0}, (20, 30), 0),
    "LTV of a binned image": ({"LTV1": -20.0, "LTV2": -30.0, "LTM1_1": 0.5, "LTM2_2": 0.5}, (0, 0), 0),
    "LTV between pixels": ({"LTV1": -20.5, "LTV2": -30.0}, (0, 0), 0),
    "afw": (AFW, (11564, 3999), 0),
    "afw with LTV": (AFW | {"LTV1": -11564.0, "LTV2": -3999.0}, (11564, 3999), 0),
    "afw with another LTV": (AFW | {"LTV1": -1.0, "LTV2": -3999.0}, (11564, 3999), 1),
    "a linear WCS that is none of pixels": (AFW | {"CUNIT1A": "mm"}, (0, 0), 0),
}


@pytest.mark.parametrize("name", PARENTS)
def test_where_the_parent_image_lies(name):
    cards, parent, warnings = PARENTS[name]
    p = place(header(**cards))
    assert p.parent == parent and all(isinstance(v, int) for v in p.parent)
    assert len(texts(p, WARN)) == warnings
    assert place(fits.Header(cards)).parent == parent
    assert off(p.wcs, header()) < 1e-6
