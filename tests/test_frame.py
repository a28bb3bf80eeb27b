"""Frame and Placement: pixels to the sky and back, against the definition of the tangent plane."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK5, ICRS, BarycentricMeanEcliptic, Galactic, SkyCoord, Supergalactic
from astropy.io import fits
from astropy.nddata import CCDData, NDDataRef
from astropy.wcs import WCS, DistortionLookupTable
from astropy.wcs.wcsapi import HighLevelWCSWrapper, SlicedLowLevelWCS

from bayesjoint import Image
from bayesjoint.images import Frame, Placement

CRVAL = (150.1, 2.2)
SHAPE = (41, 64)
SCALE = 0.7 / 3600
A_SIP, B_SIP = {(2, 0): 3e-5, (0, 2): -2e-5, (1, 1): 1e-5, (3, 0): 2e-7}, {(2, 0): -1e-5, (0, 2): 4e-5, (1, 1): -3e-5, (0, 3): 1e-7}


def rotated(degrees, parity=-1, stretch=1.0):
    """CD matrix in degrees a pixel; parity -1 is the sky as seen, East to the left."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return SCALE * np.array([[c, -s], [s, c]]) @ np.diag([parity, stretch])


MATRICES = {
    "north up": rotated(0),
    "rotated": rotated(51),
    "flipped": rotated(0, parity=1),
    "rotated and flipped": rotated(51, parity=1),
    "non-square pixels": rotated(51, stretch=1.6),
    "sheared": rotated(20) @ np.array([[1, 0.2], [0, 1]]),
}


def header(cd, crval=CRVAL, crpix=(20.5, 17.0), suffix="", pc=False):
    h = fits.Header({"NAXIS": 2, "NAXIS1": SHAPE[1], "NAXIS2": SHAPE[0], "CTYPE1": "RA---TAN" + suffix, "CTYPE2": "DEC--TAN" + suffix})
    h.update({"CRVAL1": crval[0], "CRVAL2": crval[1], "CRPIX1": crpix[0], "CRPIX2": crpix[1], "CUNIT1": "deg", "CUNIT2": "deg"})
    if pc:
        h["CDELT1"], h["CDELT2"] = -SCALE, SCALE
        cd = np.diag([-1 / SCALE, 1 / SCALE]) @ cd
    h.update({f"{'PC' if pc else 'CD'}{i + 1}_{j + 1}": cd[i, j] for i in (0, 1) for j in (0, 1)})
    return h


def with_sip(cd):
    h = header(cd, suffix="-SIP")
    h["A_ORDER"], h["B_ORDER"] = 3, 3
    h.update({f"A_{p}_{q}": v for (p, q), v in A_SIP.items()} | {f"B_{p}_{q}": v for (p, q), v in B_SIP.items()})
    return h


def image(wcs, shape=SHAPE, **options):
    return Image(np.ones(shape), variance=1.0, wcs=wcs, **options)


def grid():
    return np.meshgrid(np.arange(SHAPE[1], dtype=float), np.arange(SHAPE[0], dtype=float))


def gnomonic(reference, sky):
    """Tangent plane from the offsets in longitude and latitude about the reference; x East, y North, arcsec."""
    lon, lat = (a.to_value(u.rad) for a in reference.icrs.spherical_offsets_to(sky.icrs))
    return np.degrees(np.tan(lon)) * 3600, np.degrees(np.tan(lat) / np.cos(lon)) * 3600


@pytest.mark.parametrize("pc", [False, True], ids=["CD", "PC"])
@pytest.mark.parametrize("name", MATRICES)
def test_linear_wcs_about_its_own_reference(name, pc):
    cd = MATRICES[name]
    px, py = grid()
    got = Frame(SkyCoord(*CRVAL, unit="deg")).to_sky(image(WCS(header(cd, pc=pc))).placement, px, py)
    expected = 3600 * np.einsum("ij,jyx->iyx", cd, np.array([px - 19.5, py - 16.0]))
    assert np.abs(np.array(got) - expected).max() < 1e-6


@pytest.mark.parametrize("crval", [CRVAL, (359.9999, -45.0), (10.0, 89.9), (0.0, 0.0)])
@pytest.mark.parametrize("name", MATRICES)
def test_to_sky_about_another_reference(name, crval):
    wcs = WCS(header(MATRICES[name], crval))
    reference = SkyCoord(crval[0] - 0.02, crval[1] - 0.05, unit="deg")
    px, py = grid()
    got = Frame(reference).to_sky(image(wcs).placement, px, py)
    expected = gnomonic(reference, SkyCoord(*wcs.all_pix2world(px, py, 0), unit="deg"))
    assert np.abs(np.array(got) - expected).max() < 1e-6


def test_sip_is_evaluated_at_the_pixels():
    cd = MATRICES["rotated"]
    px, py = grid()
    got = Frame(SkyCoord(*CRVAL, unit="deg")).to_sky(image(WCS(with_sip(cd))).placement, px, py)
    a, b = px - 19.5, py - 16.0
    bent = np.array([a + sum(c * a**p * b**q for (p, q), c in A_SIP.items()), b + sum(c * a**p * b**q for (p, q), c in B_SIP.items())])
    assert np.abs(bent[0] - a).max() > 0.01
    assert np.abs(np.array(got) - 3600 * np.einsum("ij,jyx->iyx", cd, bent)).max() < 1e-6


def test_a_table_of_distortion_is_evaluated_and_not_written(tmp_path):
    wcs = WCS(header(MATRICES["rotated"]))
    wcs.cpdis1 = DistortionLookupTable(np.full((8, 10), 0.25, "f4"), (1, 1), (1, 1), (7, 6))
    px, py = grid()
    bent = image(wcs)
    wcs = wcs.deepcopy()
    wcs.cpdis1 = None
    frame = Frame(SkyCoord(*CRVAL, unit="deg"))
    np.testing.assert_allclose(frame.to_sky(bent.placement, px, py), frame.to_sky(image(wcs).placement, px + 0.25, py), atol=1e-6)
    with pytest.raises(ValueError, match="look-up tables"):
        bent.write(tmp_path / "bent.fits")


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -1.5)])
@pytest.mark.parametrize("wcs", [*(header(m) for m in MATRICES.values()), with_sip(MATRICES["rotated"]), None], ids=[*MATRICES, "SIP", "none"])
def test_to_pixel_is_the_inverse(wcs, shift):
    im = Image(np.ones(SHAPE), variance=1.0, pixel_scale=0.7, center=(5, 1)) if wcs is None else image(WCS(wcs))
    placement = im.shifted(*shift).placement
    frame = Frame(SkyCoord(CRVAL[0] + 0.01, CRVAL[1], unit="deg"))
    for p in [(0.0, 0.0), (63.0, 40.0), (31.5, 20.0), (-7.3, 50.2)]:
        assert frame.to_pixel(placement, *frame.to_sky(placement, *p)) == pytest.approx(p, abs=1e-7)


def test_axes_in_the_other_order():
    h = header(np.flipud(MATRICES["rotated"]))
    h["CTYPE1"], h["CTYPE2"], h["CRVAL1"], h["CRVAL2"] = "DEC--TAN", "RA---TAN", CRVAL[1], CRVAL[0]
    frame, (px, py) = Frame(SkyCoord(*CRVAL, unit="deg")), grid()
    usual = frame.to_sky(image(WCS(header(MATRICES["rotated"]))).placement, px, py)
    np.testing.assert_allclose(frame.to_sky(image(WCS(h)).placement, px, py), usual, atol=1e-6)


@pytest.mark.parametrize("options", [{"frame": "fk4"}, {"frame": "fk5", "equinox": "J1975"}, {"frame": "galactic"}], ids=str)
def test_other_celestial_systems(options):
    h, system = header(MATRICES["rotated"], (100.0, 20.0)), SkyCoord(100, 20, unit="deg", **options)
    if options["frame"] == "galactic":
        h["CTYPE1"], h["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    else:
        h["RADESYS"], h["EQUINOX"] = options["frame"].upper(), float(system.equinox.value[1:])
    x, y = Frame(system).to_sky(image(WCS(h)).placement, 19.5, 16.0)
    assert (float(x), float(y)) == pytest.approx((0, 0), abs=1e-6)


def test_fk5_and_icrs_are_one():
    h = header(MATRICES["north up"])
    h["RADESYS"], h["EQUINOX"] = "FK5", 2000.0
    x, y = Frame(SkyCoord(*CRVAL, unit="deg")).to_sky(image(WCS(h)).placement, 19.5, 16.0)
    assert (float(x), float(y)) == pytest.approx((0, 0), abs=1e-6)


def test_without_a_wcs_north_is_up_and_east_left():
    frame, s = Frame(None), 0.5
    ny, nx = SHAPE
    centred = Image(np.ones(SHAPE), variance=1.0, pixel_scale=s * u.arcsec, center=(2 * u.arcsec, -3.0)).placement
    assert [float(v) for v in frame.to_sky(centred, (nx - 1) / 2, (ny - 1) / 2)] == [2, -3]
    x, y = frame.to_sky(centred, *grid())
    np.testing.assert_allclose(np.diff(x, axis=1), -s)
    np.testing.assert_allclose(np.diff(y, axis=0), s)
    corner = Image(np.ones(SHAPE), variance=1.0, pixel_scale=s, origin=(4.0, 1.0)).placement
    assert [float(v) for v in frame.to_sky(corner, -0.5, -0.5)] == pytest.approx([4, 1])
    assert frame.to_sky(Image(np.ones(SHAPE), variance=1.0, pixel_scale=s).placement, *centred.middle) == (0, 0)


def test_pixel_scale_and_middle():
    im = image(WCS(header(MATRICES["non-square pixels"])))
    assert im.pixel_scale == pytest.approx(0.7 * np.sqrt(1.6), rel=1e-6)
    assert im.placement.middle == ((SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2)
    x, y = Frame(im.placement.sky_middle).to_sky(im.placement, *im.placement.middle)
    assert (float(x), float(y)) == pytest.approx((0, 0), abs=1e-7)
    jacobian = Frame(SkyCoord(*CRVAL, unit="deg")).jacobian(im.placement, 10, 30)
    np.testing.assert_allclose(jacobian, 3600 * MATRICES["non-square pixels"], rtol=1e-8)


def test_positions_on_the_sky_and_in_the_plane():
    reference, sky = SkyCoord(*CRVAL, unit="deg"), SkyCoord(150.11, 2.17, unit="deg")
    frame = Frame(reference)
    assert frame.offset(sky) == pytest.approx(gnomonic(reference, sky), abs=1e-6)
    assert frame.offset(sky.galactic) == pytest.approx(gnomonic(reference, sky), abs=1e-6)
    assert frame.sky(*frame.offset(sky)).separation(sky).arcsec < 1e-6
    assert frame.offset((0.1 * u.arcmin, -2)) == pytest.approx((6, -2))
    with pytest.raises(ValueError, match="SkyCoord"):
        Frame(None).offset(sky)
    with pytest.raises(ValueError, match="pair"):
        frame.offset(3.0)
    with pytest.raises(ValueError, match="reference"):
        Frame(None).to_sky(image(WCS(header(MATRICES["rotated"]))).placement, 0, 0)


# -- what wcs= may be -------------------------------------------------------------------------------
CUBE = {"WCSAXES": 3, "CTYPE3": "FREQ", "CRVAL3": 1e9, "CRPIX3": 1.0}
Y, X = slice(5, 35), slice(10, 50)


def cube(order=(1, 2, 3), **cards):
    """The rotated header with a spectral axis; its axes 1, 2, 3 are numbered by `order`."""
    h, out = header(MATRICES["rotated"]), fits.Header()
    h.update(CUBE | {"CD3_3": 1e6} | cards)
    for key, value in h.items():
        if not key.startswith("NAXIS"):
            out[re.sub(r"(?<=[A-Z_])\d", lambda m: str(order[int(m[0]) - 1]), key)] = value
    return WCS(out)


def sliced(wcs, *slices):
    return SlicedLowLevelWCS(wcs, list(slices))


def forms():
    """What may be given for the rotated header's WCS, and its part from pixel (10, 5)."""
    plain, sip = WCS(header(MATRICES["rotated"])), WCS(with_sip(MATRICES["rotated"]))
    whole = {
        "with a third axis": (cube(), plain),
        "with a first axis": (cube((2, 3, 1)), plain),
        "wrapped": (HighLevelWCSWrapper(plain), plain),
        "a plane of a cube": (sliced(cube(), 3, slice(None), slice(None)), plain),
        "a plane of a cube, wrapped": (HighLevelWCSWrapper(sliced(cube(), 3, slice(None), slice(None))), plain),
        "cube[2]": (cube()[2], plain),
    }
    part = {
        "ranges": (sliced(plain, Y, X), plain),
        "ranges of SIP": (sliced(sip, Y, X), sip),
        "a part of a plane": (sliced(cube(), 3, Y, X), plain),
        "ranges of ranges": (sliced(sliced(sip, slice(2, None), slice(4, 60)), slice(3, 33), slice(6, 46)), sip),
        "wcs[5:35, 10:50]": (sip[Y, X], sip),
        "a sliced NDData": (NDDataRef(np.ones(SHAPE), wcs=sip)[Y, X].wcs, sip),
        "a sliced CCDData": (CCDData(np.ones(SHAPE), unit="adu", wcs=plain)[Y, X].wcs, plain),
    }
    if find_spec("ndcube") is not None:
        from ndcube import NDCube

        three = NDCube(np.ones((4, *SHAPE)), wcs=cube())
        part["a part of an NDCube"] = (three[2, Y, X].wcs, plain)
    return [pytest.param(*v, (0, 0), SHAPE, id=k) for k, v in whole.items()] + [
        pytest.param(*v, (10, 5), (30, 40), id=k) for k, v in part.items()
    ]


@pytest.mark.parametrize(("given", "reference", "begin", "shape"), forms())
def test_what_wcs_may_be(given, reference, begin, shape, caplog):
    with caplog.at_level("WARNING", "bayesjoint"):
        placement = image(given, shape).placement
    assert not caplog.records
    px, py = np.meshgrid(np.arange(shape[1], dtype=float), np.arange(shape[0], dtype=float))
    truth = reference.all_pix2world(px + begin[0], py + begin[1], 0)
    np.testing.assert_allclose(placement.to_icrs(px, py), truth, atol=1e-9)


@pytest.mark.filterwarnings("ignore:cdelt will be ignored")
def test_every_second_pixel():
    whole = WCS(header(MATRICES["rotated"], pc=True))
    placement = image(whole[::2, 1::2], (21, 32)).placement
    truth = whole.all_pix2world(1.5 + 2 * np.array([0, 3, 31]), 0.5 + 2 * np.array([0, 9, 20]), 0)
    np.testing.assert_allclose(placement.to_icrs([0, 3, 31], [0, 9, 20]), truth, atol=1e-9)
    with_cd = WCS(header(MATRICES["rotated"]))[::2, 1::2]  # astropy puts the step where CD hides it
    with pytest.raises(ValueError, match="must not be sliced with a step"):
        image(with_cd, (21, 32))


def test_a_wcs_is_copied():
    given = WCS(header(MATRICES["rotated"]))
    placement = image(given).placement
    before = placement.to_icrs(3, 4)
    given.wcs.crval = 10.0, 10.0
    given.wcs.set()
    np.testing.assert_array_equal(placement.to_icrs(3, 4), before)


def test_a_wcs_of_another_shape_is_said(caplog):
    wcs = WCS(header(MATRICES["rotated"]))
    with caplog.at_level("WARNING", "bayesjoint"):
        image(wcs)
        image(wcs[Y, X], (30, 40))
        assert not caplog.records
        image(wcs, (30, 40))
    assert "wcs is that of an image of 64 x 41 pixels and this one has 40 x 30" in caplog.text


def test_an_unknown_radesys_is_said_and_taken_as_icrs(caplog):
    h = header(MATRICES["rotated"])
    h["RADESYS"] = "GSC1"
    with caplog.at_level("WARNING", "bayesjoint"):
        placement = image(WCS(h)).placement
    assert "RADESYS 'GSC1'" in caplog.text
    np.testing.assert_allclose(placement.to_icrs(19.5, 16.0), CRVAL)


def refused():
    slit = cube((1, 3, 2))  # RA on axis 1, frequency on 2, Dec on 3
    coupled = cube(CD1_3=1e-3)
    sun, off = header(MATRICES["rotated"]), header(MATRICES["rotated"])
    sun["CTYPE1"], sun["CTYPE2"] = "HPLN-TAN", "HPLT-TAN"
    off["CTYPE1"], off["CTYPE2"], off["CRPIX1"] = "RA---SIN", "DEC--SIN", 1e8
    flat = WCS(header(MATRICES["rotated"]))
    flat.wcs.cd = [[1e-5, 1e-5], [1e-5, 1e-5 * (1 + 1e-9)]]
    return {
        "no sky": (WCS(naxis=2), "celestial"),
        "a header": (header(MATRICES["rotated"]), "got Header"),
        "a spectral axis left": (sliced(cube(), slice(None), slice(None), 5), "two pixel axes that are left"),
        "coupled": (coupled, "couples them with another axis"),
        "coupled and sliced": (sliced(coupled, 2, slice(None), slice(None)), "couples them"),
        "the Sun": (WCS(sun), "equatorial, galactic"),
        "off the projection": (WCS(off), "on the sky; got no position"),
        "no area": (flat, "area of the sky|can use"),
        "slit": (sliced(slit, 2, slice(None), slice(None)), "two pixel axes that are left"),
    }


@pytest.mark.parametrize("name", refused())
def test_what_wcs_may_not_be(name):
    given, words = refused()[name]
    with pytest.raises(ValueError, match=words) as e:
        image(given)
    assert "\n" not in str(e.value) and "pixel_scale=" in str(e.value) and len(str(e.value)) < 350


# -- gwcs -------------------------------------------------------------------------------------------
def gwcs_of(bend, crval=CRVAL, frame=None):
    """A gwcs with a quadratic distortion of `bend` a pixel, and its function of pixels."""
    gwcs, cf = pytest.importorskip("gwcs"), pytest.importorskip("gwcs.coordinate_frames")
    from astropy.modeling import models

    poly = [models.Polynomial2D(2, c1_0=1.0, c2_0=bend), models.Polynomial2D(2, c0_1=1.0, c1_1=bend)]
    m = MATRICES["rotated"]
    sky = models.Pix2Sky_TAN() | models.RotateNative2Celestial(*crval, 180.0)
    bent = models.Mapping((0, 1, 0, 1)) | poly[0] & poly[1]
    pipe = models.Shift(-19.5) & models.Shift(-16.0) | bent | models.AffineTransformation2D(m, [0, 0]) | sky
    out = cf.CelestialFrame(reference_frame=frame or ICRS(), unit=(u.deg, u.deg))
    pixels = cf.Frame2D(name="detector", axes_names=("x", "y"), unit=(u.pix, u.pix))
    wcs = gwcs.WCS([(pixels, pipe), (out, None)])
    wcs.bounding_box = ((-0.5, SHAPE[1] - 0.5), (-0.5, SHAPE[0] - 0.5))

    def truth(x, y):
        a, b = x - 19.5, y - 16.0
        a, b = a + bend * a**2, b + bend * a * b
        tan = WCS(header(m, crval=crval))
        return SkyCoord(*tan.all_pix2world(a + 19.5, b + 16.0, 0), unit="deg", frame=out.reference_frame).icrs

    return wcs, truth


@pytest.mark.parametrize("frame", [ICRS(), FK5(equinox="J1975")], ids=["ICRS", "FK5"])
def test_gwcs_becomes_sip(frame, caplog):
    wcs, truth = gwcs_of(3e-4, frame=frame)
    px, py = grid()
    with caplog.at_level("INFO", "bayesjoint"):
        whole = image(wcs).placement
        part = image(HighLevelWCSWrapper(sliced(wcs, Y, X)), (30, 40)).placement
    assert "approximated by TAN and SIP, at most" in caplog.text
    assert all(r.levelname == "INFO" for r in caplog.records)
    for placement, (x0, y0), (x, y) in ((whole, (0, 0), (px, py)), (part, (10, 5), (px[:30, :40], py[:30, :40]))):
        got = SkyCoord(*placement.to_icrs(x, y), unit="deg")
        assert got.separation(truth(x + x0, y + y0)).arcsec.max() < 0.05 * 0.7


def test_a_gwcs_that_no_sip_fits_is_refused():
    from astropy.modeling import models

    wcs, _ = gwcs_of(0.0)
    wave = models.Identity(2) + (models.Sine1D(0.5, 0.2) & models.Sine1D(0.5, 0.3))
    wcs.insert_transform("detector", wave, after=True)
    with pytest.raises(ValueError, match=r"A gwcs must be within 0.05 pixels of a TAN") as e:
        image(wcs)
    assert "\n" not in str(e.value) and "pixel_scale=" in str(e.value)


# -- the sky's systems, its poles, and what does not map ---------------------------------------------
@pytest.mark.parametrize(
    ("ctype", "cards", "frame"),
    [
        ("G", {"RADESYS": "FK5", "EQUINOX": 2000.0}, Galactic()),
        ("G", {"RADESYS": "ICRS"}, Galactic()),
        ("S", {}, Supergalactic()),
        ("E", {}, BarycentricMeanEcliptic()),
        ("E", {"EQUINOX": 1950.0}, BarycentricMeanEcliptic(equinox="J1950")),
        ("E", {"RADESYS": "ICRS"}, BarycentricMeanEcliptic()),
    ],
    ids=str,
)
def test_systems_that_are_not_equatorial(ctype, cards, frame):
    h = header(MATRICES["rotated"], (100.0, 20.0))
    h["CTYPE1"], h["CTYPE2"] = f"{ctype}LON-TAN", f"{ctype}LAT-TAN"
    h.update(cards)
    placement = image(WCS(h)).placement
    got = SkyCoord(*placement.to_icrs(19.5, 16.0), unit="deg")
    assert got.separation(SkyCoord(100, 20, unit="deg", frame=frame)).arcsec < 1e-6


def test_ecliptic_coordinates_by_hand():
    """The pole of the ecliptic is at RA 270 deg, Dec 90 deg - obliquity; the equinox at RA 0."""
    for (lon, lat), (ra, dec) in (((0, 90), (270, 90 - 84381.406 / 3600)), ((0, 0), (0, 0)), ((90, 0), (90, 84381.406 / 3600))):
        h = header(MATRICES["north up"], (lon, lat))
        h["CTYPE1"], h["CTYPE2"] = "ELON-TAN", "ELAT-TAN"
        got = SkyCoord(*image(WCS(h)).placement.to_icrs(19.5, 16.0), unit="deg")
        assert got.separation(SkyCoord(ra, dec, unit="deg")).arcsec < 0.1  # of precession models


@pytest.mark.parametrize("crval", [(0.0, 90.0), (123.0, -90.0), (0.0, 0.0), (359.99999, 89.9999), (180.0, -89.999)], ids=str)
@pytest.mark.parametrize("name", ["rotated", "non-square pixels"])
def test_poles_and_right_ascension_0(crval, name):
    wcs = WCS(header(MATRICES[name], crval))
    placement = image(wcs).placement
    frame, (px, py) = Frame(placement.sky_middle), grid()
    x, y = frame.to_sky(placement, px, py)
    assert np.abs(x).max() < 60 and np.abs(y).max() < 60  # 64 pixels of up to 1.1 arcsec
    expected = gnomonic(placement.sky_middle, SkyCoord(*wcs.all_pix2world(px, py, 0), unit="deg"))
    assert np.abs(np.array([x, y]) - expected).max() < 1e-6
    area = abs(np.linalg.det(MATRICES[name])) * 3600**2
    assert placement.pixel_scale == pytest.approx(np.sqrt(area), rel=1e-6)
    for p in [(0.0, 0.0), (63.0, 40.0), (-200.0, 300.0)]:
        assert frame.to_pixel(placement, *frame.to_sky(placement, *p)) == pytest.approx(p, abs=1e-6)
        assert frame.offset(SkyCoord(*placement.to_icrs(*p), unit="deg")) == pytest.approx(frame.to_sky(placement, *p))


@pytest.mark.parametrize("strength", [1.0, 5.0, 20.0])
def test_to_pixel_inverts_a_strong_distortion(strength):
    """SIP that moves pixels by up to 20 of the image's 64: Newton's full steps may lead astray."""
    h = with_sip(MATRICES["rotated"])
    h["A_ORDER"], h["B_ORDER"] = 3, 3
    for key, value in {"A_3_0": 6e-6, "B_0_3": 6e-6, "A_1_2": 6e-6, "B_2_1": 6e-6, "A_2_0": 0, "A_0_2": 0, "A_1_1": 0, "B_2_0": 0, "B_0_2": 0, "B_1_1": 0}.items():
        h[key] = value * strength
    placement = image(WCS(h)).placement
    frame = Frame(placement.sky_middle)
    for p in [(0.0, 0.0), (63.0, 40.0), (63.0, 0.0), (31.5, 20.0), (1.0, 39.0), (90.0, -20.0)]:
        assert frame.to_pixel(placement, *frame.to_sky(placement, *p)) == pytest.approx(p, abs=1e-6)


def test_to_pixel_where_a_distortion_has_no_inverse_is_far_off_the_image():
    h = with_sip(MATRICES["north up"])
    h["A_3_0"] = -1e-5  # x - 1e-5 x^3 has a maximum of 122 pixels, at 183
    placement = image(WCS(h)).placement
    frame = Frame(placement.sky_middle)
    px, py = frame.to_pixel(placement, -300 * 0.7, 0.0)
    assert px > 250 and np.isfinite(py)


def test_the_other_side_of_the_sky_is_nowhere():
    placement = image(WCS(header(MATRICES["rotated"]))).placement
    frame = Frame(SkyCoord(CRVAL[0] + 180, -CRVAL[1], unit="deg"))
    assert np.isnan(frame.to_sky(placement, 3, 4)).all()
    assert np.isnan(frame.to_pixel(placement, 0.0, 0.0)).all()
    with pytest.raises(ValueError, match="cutout"):
        image(WCS(header(MATRICES["rotated"]))).cutout(frame.reference, 5)


def test_pixels_off_the_sky_are_nan_and_the_others_are_right():
    h = header(np.diag([-1.0, 1.0]) / 60, (150.0, 0.0), crpix=(10.0, 20.0))
    h["CTYPE1"], h["CTYPE2"], h["CRPIX1"] = "RA---AIT", "DEC--AIT", 9750.0  # the left edge of a map
    wcs = WCS(h)
    with pytest.raises(ValueError, match=r"all pixels on the sky; got about \d+ % that are not"):
        image(wcs)
    placement = Placement(SHAPE, wcs=wcs)
    ra, dec = placement.to_icrs(*grid())
    ref = wcs.all_pix2world(*grid(), 0)
    assert 0.1 < np.isnan(ra).mean() < 0.9
    np.testing.assert_array_equal(np.isnan(ra), np.isnan(ref[0]))
    good = ~np.isnan(ra)
    np.testing.assert_allclose(dec[good], ref[1][good])
    x, y = Frame(placement.sky_middle).to_sky(placement, *grid())
    np.testing.assert_array_equal(np.isfinite(x) & np.isfinite(y), good)
