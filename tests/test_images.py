"""Image: what it takes in, what it keeps, cutouts and shifts."""

import io
import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from astropy.wcs import WCS

from bayesjoint import PSF, Image
from bayesjoint.images import Frame

PLAIN = {"variance": 1.0, "pixel_scale": 0.5}


def pixels(shape=(20, 31), seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def sky_wcs(angle=51.0):
    w = WCS(naxis=2)
    w.wcs.ctype = "RA---TAN", "DEC--TAN"
    w.wcs.crval, w.wcs.crpix = (150.1, 2.2), (9.0, 14.0)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    w.wcs.cd = np.array([[-c, s], [s, c]]) * 0.5 / 3600
    w.wcs.set()
    return w


def with_galaxy(shape=(120, 150)):
    """Noise of sigma 2 with a galaxy of 100 sigma on it."""
    y, x = np.indices(shape)
    r = np.hypot(x - 70.3, (y - 61.1) / 0.6)
    return np.random.default_rng(4).normal(10, 2, shape) + 200 * np.exp(-r / 9)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f4", ">i2", "int16", "uint16", "bool", "O"])
def test_any_dtype_and_byte_order(dtype):
    data = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    im = Image(data, variance=(data.astype(float) + 1).astype(dtype if dtype != "bool" else ">f4"), pixel_scale=1)
    assert im.data.dtype == im.variance.dtype == np.float64
    assert im.data.dtype.isnative and im.variance.dtype.isnative
    np.testing.assert_array_equal(im.data, [[0, 1, 1], [1, 0, 1]])
    np.testing.assert_array_equal(im.variance, im.data + 1)


def test_float32_of_1e12th():
    data = (1e-12 * pixels()).astype("f4")
    for noise in ({"sigma": np.full(data.shape, 1e-12, "f4")}, {"variance": 1e-24}, {"ivar": np.full(data.shape, 1e24, "f4")}):
        im = Image(data, **noise, pixel_scale=1)
        assert not im.mask.any()
        np.testing.assert_allclose(im.sigma, 1e-12, rtol=1e-6)
    assert Image(data, variance="estimate", pixel_scale=1).sigma[0, 0] == pytest.approx(1e-12, rel=0.15)


def test_unusable_pixels_are_masked_and_counted(caplog):
    data, variance, mask = pixels(), np.ones((20, 31)), np.zeros((20, 31), bool)
    data[0, 0], data[0, 1], variance[1, 0], variance[1, 1], mask[2, 0], variance[2, 0] = np.nan, np.inf, 0, np.nan, True, -1
    with caplog.at_level(logging.INFO, "bayesjoint"):
        im = Image(data, variance=variance, mask=mask, pixel_scale=1)
    assert np.argwhere(im.mask).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]]
    assert "4 pixels" in caplog.text
    assert np.isfinite(im.data).all() and (im.variance > 0).all() and np.isfinite(im.variance).all()
    np.testing.assert_array_equal(im.valid, ~im.mask)
    assert Image(data, ivar=(mask == 0).astype(float), pixel_scale=1).mask.sum() == 3
    assert Image(np.ma.masked_less(pixels(), 0), **PLAIN).mask.sum() == (pixels() < 0).sum()
    ramp = np.arange(12).reshape(3, 4)
    assert Image(np.ma.masked_less(ramp, 3), variance=np.ma.masked_equal(ramp, 9), pixel_scale=1).mask.sum() == 4


def test_the_users_arrays_are_never_changed():
    arrays = {"data": pixels(), "variance": np.ones((20, 31)), "mask": np.zeros((20, 31), bool), "psf": np.ones((3, 3))}
    arrays["data"][3, 3], arrays["variance"][4, 4] = np.nan, 0
    before = {k: a.copy() for k, a in arrays.items()}
    im = Image(**arrays, pixel_scale=1)
    for k, a in arrays.items():
        np.testing.assert_array_equal(a, before[k])
        assert a.flags.writeable
        a[...] = 0  # and what the user does later does not reach the image
    assert im.mask.sum() == 2 and im.variance[0, 0] == 1 and im.data[0, 0] == before["data"][0, 0] and im.psf.array[0, 0] == 1 / 9
    for a in (im.data, im.variance, im.mask, im.psf.array):
        with pytest.raises(ValueError, match="read-only"):
            a[0, 0] = 1


def test_three_ways_to_say_the_noise():
    s = 1 + np.abs(pixels())
    for noise in ({"variance": s**2}, {"sigma": s}, {"ivar": 1 / s**2}):
        np.testing.assert_allclose(Image(pixels(), **noise, pixel_scale=1).variance, s**2)
    assert (Image(pixels(), sigma=3, pixel_scale=1).variance == 9).all()


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e6])
def test_noise_is_estimated_beneath_a_galaxy(unit, caplog):
    data = with_galaxy() * unit
    data[5, 5:9] = np.nan
    im = Image(data, variance="estimate", pixel_scale=1)
    assert im.sigma[0, 0] == pytest.approx(2 * unit, rel=0.05)
    mask = np.random.default_rng(5).random(data.shape) < 0.5
    assert Image(data, variance="estimate", mask=mask, pixel_scale=1).sigma[0, 0] == pytest.approx(2 * unit, rel=0.05)
    assert "estimated as sigma" in caplog.text


def test_quantities_and_floats():
    about = {"zeropoint": 25 * u.mag, "wavelength": 6200 * u.AA, "epoch": Time(59000, format="mjd")}
    a = Image(pixels() * u.adu, sigma=2 * u.adu, pixel_scale=0.5 * u.arcsec, center=(1 * u.arcsec, -0.05 * u.arcmin), **about)
    b = Image(pixels(), sigma=2, pixel_scale=0.5, center=(1, -3), zeropoint=25, wavelength=0.62, epoch=59000)
    for k in ("pixel_scale", "zeropoint", "wavelength", "epoch", "unit_flux"):
        assert getattr(a, k) == pytest.approx(getattr(b, k))
    assert Image(pixels(), **PLAIN, zeropoint=25 * u.ABmag).zeropoint == 25
    assert Image(pixels(), variance=1, pixel_scale=(0.5 / 3600) * u.deg).pixel_scale == pytest.approx(0.5)
    assert a.placement.center == pytest.approx(b.placement.center)
    here, there = b.shifted(0.1, 2).placement, b.shifted(100 * u.mas, (2 / 60) * u.arcmin).placement
    assert here.shift == pytest.approx(there.shift)


def test_zeropoint_and_replace():
    im = Image(pixels(), **PLAIN, zeropoint=31.4, band="r", psf=PSF.gaussian(2.0), name="first", center=(1, 2)).shifted(1, 1)
    assert im.unit_flux == 1 and Image(pixels(), **PLAIN).unit_flux == 1
    assert im.replace(zeropoint=33.9).unit_flux == pytest.approx(10)
    other = im.replace(sigma=2.0, band="i")
    assert other.band == "i" and other.variance[0, 0] == 4 and other.placement == im.placement and other.psf is im.psf
    assert im.band == "r" and im.variance[0, 0] == 1
    assert im.replace(wcs=sky_wcs()).placement.wcs is not None


PLACES = {"wcs": {"wcs": sky_wcs()}, "center": {"pixel_scale": 0.5, "center": (3, -2)}, "origin": {"pixel_scale": 0.5, "origin": (3, -2)}}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_cutouts_and_shifts_keep_the_sky(place):
    im = Image(pixels((60, 81)), variance=1 + pixels((60, 81)) ** 2, psf=np.ones((3, 5)), **place)
    frame = Frame(SkyCoord(150.1, 2.2, unit="deg"))
    part = im.cutout((40, 25), (21, 31)).shifted(0.5, -0.25).cutout((12, 10), (11, 13)).shifted(1, 2)
    y0, x0 = 15 + 5, 25 + 6
    assert part.shape == (11, 13)
    for k in ("data", "variance", "mask"):
        np.testing.assert_array_equal(getattr(part, k), getattr(im, k)[y0 : y0 + 11, x0 : x0 + 13])
    px, py = np.meshgrid(np.arange(13), np.arange(11))
    x, y = frame.to_sky(im.placement, px + x0, py + y0)
    np.testing.assert_allclose(frame.to_sky(part.placement, px, py), [x + 1.5, y + 1.75], atol=1e-6)
    assert im.placement.shift == (0, 0) and im.shape == (60, 81)


def test_cutouts_by_sky_position_and_angle():
    im = Image(pixels((60, 81)), variance=1, wcs=sky_wcs())
    frame = Frame(SkyCoord(150.1, 2.2, unit="deg"))
    sky = frame.sky(*frame.to_sky(im.placement, 40.0, 25.0))
    part = im.cutout(sky, (10.5 * u.arcsec, 15.5 * u.arcsec))
    np.testing.assert_array_equal(part.data, im.data[15:36, 25:56])
    np.testing.assert_array_equal(part.cutout(sky, 5).data, im.data[23:28, 38:43])
    x, y = frame.offset(sky)
    np.testing.assert_array_equal(im.shifted(3, 0).cutout(frame.sky(x + 3, y), 5 * u.pix).data, im.data[23:28, 38:43])
    assert im.cutout((0, 0), 11).shape == (6, 6)


@pytest.mark.slow
def test_every_real_image_is_read_and_comes_back(data):
    paths = sorted((data / "real").rglob("*.fits"))
    assert paths
    for path in paths:
        im, memory = Image.read(path), io.BytesIO()
        im.write(memory)
        memory.seek(0)
        back, frame = Image.read(memory), Frame(im.placement.sky_middle)
        corners = np.array([[0, im.shape[1] - 1], [0, im.shape[0] - 1]])
        np.testing.assert_allclose(frame.to_sky(back.placement, *corners), frame.to_sky(im.placement, *corners), atol=1e-6, err_msg=str(path))
        np.testing.assert_array_equal(back.data, im.data)
        assert (back.band, back.zeropoint, back.epoch) == (im.band, im.zeropoint, im.epoch)
        assert 1 < im.psf.fwhm < 10


def test_a_few_negative_variances_are_masked_and_said(caplog):
    variance = np.ones((9, 9))
    variance[2, 3] = -1.0
    for kind in ("variance", "sigma", "ivar"):
        caplog.clear()
        image = Image(np.zeros((9, 9)), pixel_scale=1.0, **{kind: variance})
        assert image.mask.sum() == 1 and image.mask[2, 3] and "negative in 1 pixels" in caplog.text
