"""Frame and Placement: pixels to the sky and back, against the definition of the tangent plane."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable

from bayesjoint import Image
from bayesjoint.images import Frame

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
