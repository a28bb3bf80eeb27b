"""PSF: its makers against GalSim, its properties, and what it refuses."""

import logging

import galsim
import numpy as np
import pytest
from astropy import units as u

from bayesjoint import PSF, Image

EXACT = galsim.GSParams(folding_threshold=1e-6, maxk_threshold=1e-8, kvalue_accuracy=1e-10, maximum_fft_size=16384)


def galsim_effective(profile, psf):
    """The profile with a pixel's response, sampled where the PSF's array is."""
    both = galsim.Convolve([profile, galsim.Pixel(1.0)], gsparams=EXACT)
    ny, nx = psf.shape
    return both.drawImage(nx=nx, ny=ny, scale=1 / psf.oversampling, method="no_pixel", dtype=float).array


@pytest.mark.parametrize(
    ("fwhm", "oversampling"), [(5.0, None), (4.0, 1), (2.2, None), (2.2, 1), (2.5, 4), (1.0, None), (0.5, 5), (0.3, None), (0.1, 3)]
)
def test_gaussian_against_galsim(fwhm, oversampling):
    psf = PSF.gaussian(fwhm, **({} if oversampling is None else {"oversampling": oversampling}))
    expected = galsim_effective(galsim.Gaussian(fwhm=fwhm), psf)
    assert np.abs(psf.array - expected / expected.sum()).max() < 1e-6 * expected.max()


MOFFATS = [(4.0, 3.0, None), (4.0, 2.5, 1), (2.2, 3.0, None), (2.5, 4.765, 4), (1.2, 3.0, None), (0.4, 3.0, 3)]


@pytest.mark.parametrize(("fwhm", "beta", "oversampling"), MOFFATS)
def test_moffat_against_galsim(fwhm, beta, oversampling):
    psf = PSF.moffat(fwhm, beta, **({} if oversampling is None else {"oversampling": oversampling}))
    expected = galsim_effective(galsim.Moffat(fwhm=fwhm, beta=beta), psf)
    assert np.abs(psf.array - expected / expected.sum()).max() < 1e-6 * expected.max()


def test_makers_keep_the_light_outside_the_stamp_where_asked():
    psf = PSF.moffat(4.0, 2.5, normalize=False)
    inside = galsim_effective(galsim.Moffat(fwhm=4.0, beta=2.5), psf).sum()
    assert inside < 0.9999
    assert psf.array.sum() == pytest.approx(inside, abs=1e-6)
    assert PSF.gaussian(2.0, normalize=False, oversampling=3).array.sum() == pytest.approx(1.0, abs=1e-6)


def test_widths_are_arcsec_or_quantities():
    psf = PSF.gaussian(6.1 * u.arcsec, 2.75 * u.arcsec)
    np.testing.assert_array_equal(psf.array, PSF.gaussian(6.1, 2.75).array)
    np.testing.assert_allclose(psf.array, PSF.gaussian(6.1 / 3600 * u.deg, 2750 * u.mas).array, rtol=1e-9)
    assert psf.pixel_response == "native"


@pytest.mark.parametrize("oversampling", [1, 2, 5])
@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_fwhm_of_a_sampled_gaussian(sigma, oversampling):
    step = np.arange(-60, 61) / oversampling
    r2 = step[:, None] ** 2 + step[None] ** 2
    psf = PSF(np.exp(-0.5 * r2 / sigma**2), oversampling=oversampling, pixel_response=None)
    assert psf.fwhm == pytest.approx(2.35482 * sigma, rel=0.01)


def test_fwhm_of_a_small_stamp_and_of_none():
    r2 = np.add.outer(np.arange(-6, 7) ** 2, np.arange(-6, 7) ** 2)
    assert PSF(np.exp(-0.5 * r2 / 2.0**2)).fwhm == pytest.approx(2.35482 * 2.0, rel=0.01)
    assert 0.8 < PSF([[1.0]]).fwhm < 1.2


def test_the_centroid_is_of_all_light_and_is_never_moved():
    array = np.zeros((5, 7))
    array[2, 3] = 0.5
    array[3, 5] = 0.5  # half of the light 2 samples further in x, 1 in y
    psf = PSF(array, oversampling=2)
    assert psf.centroid == pytest.approx((0.5, 0.25))
    np.testing.assert_array_equal(psf.array, array)


SHIFTS = [((0.0, 0.0), 0.0, None), ((0.3, -0.2), 0.0, "(+0.30, -0.20)"), ((-7.0, 5.4), 0.0, "(-7.00, +5.40)")]
# light in a far corner, as the noise of a PSF made from few stars, moves the centroid and no star
SHIFTS += [((0.0, 0.0), 0.01, None), ((0.0, 0.25), 0.01, "(+0.00, +0.25)"), ((0.0, -0.25), 0.01, "(+0.00, -0.25)")]


@pytest.mark.parametrize(("sampling", "size"), [(1, 41), (1, 40), (2.5, 101), ((3, 2), 120), (1 / 1.0933, 39)])
@pytest.mark.parametrize(("shift", "corner", "word"), SHIFTS)
def test_where_it_moves_a_star_is_said(shift, corner, word, sampling, size, caplog):
    sy, sx = np.broadcast_to(sampling, 2)
    seen, drawn = galsim.Convolve(galsim.Moffat(3, fwhm=3.0).shear(g1=0.1), galsim.Pixel(1.0)), galsim.ImageD(size, size)
    seen.shift(*shift).drawImage(drawn, wcs=galsim.JacobianWCS(1 / sx, 0, 0, 1 / sy), method="no_pixel")
    array = drawn.array
    array[-3:, -3:] += corner * array.sum() / 9
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        psf = PSF(array, oversampling=sampling)
    assert (np.hypot(*(c - s for c, s in zip(psf.centroid, shift, strict=True))) > 0.1) == (corner > 0)
    texts = [r.getMessage() for r in caplog.records]
    assert len(texts) == (word is not None)
    assert word is None or f"centroid lies {word} px" in texts[0]


def test_sum():
    array = np.full((3, 3), 0.1)
    assert PSF(array).array.sum() == pytest.approx(1.0)
    kept = PSF(array, normalize=False)
    assert kept.array.sum() == pytest.approx(0.9)
    assert array[0, 0] == 0.1
    assert not kept.array.flags.writeable


@pytest.mark.parametrize(("total", "normalize", "count"), [(12507, False, 1), (0.1, False, 1), (0.9, False, 0), (1.0, False, 0), (12507, True, 0)])
def test_a_sum_that_is_no_share_of_light_is_said_where_it_is_kept(total, normalize, count, caplog):
    array = PSF.gaussian(4.0).array * total
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        PSF(array, normalize=normalize)
    assert [f"sum is {total:.4g}" in r.getMessage() for r in caplog.records] == [True] * count


@pytest.mark.parametrize("dtype", [">f4", "<f8", "int16", ">i4"])
def test_any_dtype(dtype):
    psf = PSF(np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], dtype=dtype))
    assert psf.array.dtype == np.float64
    assert psf.array.dtype.isnative
    assert psf.array[1, 1] == 0.5


def test_very_small_values_are_no_empty_psf():
    assert PSF(np.full((3, 3), 1e-30, dtype="f4")).array.sum() == pytest.approx(1.0)


COVERED = [((25, 31), 1, (25, 31)), ((25, 31), 5, (7, 7)), ((21, 31), 5, (5, 7)), ((1, 3), 4, (1, 3)), ((9, 9), 2, (5, 5))]


@pytest.mark.parametrize(("shape", "oversampling", "native"), COVERED)
def test_native_shape(shape, oversampling, native):
    array = np.zeros(shape)
    array[shape[0] // 2, shape[1] // 2] = 1
    assert PSF(array, oversampling=oversampling).native_shape == native


# size (ny, nx) and samples per pixel: PSFEx's steps of 1.0933 px, STPSF's even arrays, a pair
SAMPLED = [
    ((40, 40), 1),
    ((41, 38), 1),
    ((42, 41), 1 / 1.0933),
    ((103, 104), 2.5),
    ((90, 92), 2),
    ((96, 61), (2.5, 1.5)),
]


@pytest.mark.parametrize(("shape", "oversampling"), SAMPLED)
def test_any_size_and_sampling_against_galsim(shape, oversampling):
    """Samples on any grid, resampled onto the pixels, are the effective PSF that GalSim draws there."""
    wide, (ny, nx) = galsim.Gaussian(fwhm=4.0).shear(g1=0.1, g2=-0.05), shape
    both = galsim.Convolve([wide, galsim.Pixel(1.0)], gsparams=EXACT)
    sy, sx = np.broadcast_to(oversampling, 2)
    drawn = galsim.ImageD(nx, ny)
    both.drawImage(drawn, wcs=galsim.JacobianWCS(1 / sx, 0, 0, 1 / sy), method="no_pixel")
    psf = PSF(drawn.array, oversampling=oversampling)
    assert psf.centroid == pytest.approx((0.0, 0.0), abs=1e-5)
    assert psf.fwhm == pytest.approx(4.09, rel=0.01)
    assert all(n % 2 and abs(n - m / s) < 2.3 for n, m, s in zip(psf.native_shape, shape, (sy, sx), strict=True))
    ours = psf.effective()
    truth = both.drawImage(nx=psf.native_shape[1], ny=psf.native_shape[0], scale=1.0, method="no_pixel").array
    assert np.abs(ours - truth).max() < 2e-5 * truth.max()


@pytest.mark.parametrize("response", ["native", "subpixel", None])
@pytest.mark.parametrize(("shape", "oversampling"), [((210, 201), 2), ((301, 280), (3, 2))])
def test_the_transfer_of_a_large_psf_by_one_fft(shape, oversampling, response):
    rng = np.random.default_rng(1)
    psf = PSF(rng.random(shape), oversampling=oversampling, pixel_response=response)
    size = tuple(n + 12 for n in psf.native_shape)
    for half in (True, False):
        ky, kx, transfer = psf.grid_transfer(size, 2, half=half)
        np.testing.assert_allclose(transfer, psf.transfer(ky, kx), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("shape", "oversampling", "trimmed"), [((61, 61), 1, (21, 21)), ((60, 61), 1, (20, 21)), ((90, 91), 2.5, (50, 51)), ((15, 61), 1, (15, 21))])
def test_a_trimmed_psf_keeps_centre_and_values(shape, oversampling, trimmed):
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    psf = PSF(1 / (30 + y[:, None] ** 2 + x**2) ** 2, oversampling=oversampling)
    cut = psf.trimmed(10)
    assert cut.shape == trimmed and cut.array.max() == psf.array.max() and cut.array.sum() < 1
    assert cut.centroid == pytest.approx((0.0, 0.0), abs=1e-12) and cut.fwhm == psf.fwhm


def test_a_constant_psf_is_its_own_at_every_place():
    psf = PSF.gaussian(3.0)
    assert not psf.varies and psf.at(3.0, 4.0) is psf.cropped(5, 6) is psf.attached((9, 9)) is psf
    assert psf.fwhm_range() == (psf.fwhm, psf.fwhm)


def bad(value, size=5):
    array = np.ones((size, size))
    array[0, 0] = value
    return array


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: PSF(np.ones(5)), "2-D"),
        (lambda: PSF(np.empty((0, 0))), "not empty"),
        (lambda: PSF(bad(np.nan)), "finite everywhere; got 1 NaN or infinite values of 25"),
        (lambda: PSF(bad(np.inf)), "finite"),
        (lambda: PSF(np.zeros((5, 5))), "positive sum"),
        (lambda: PSF(bad(-24.0)), "positive sum"),
        (lambda: PSF(bad(-30.0)), "positive sum"),
        (lambda: PSF(np.ones((5, 5)) * 1j), "real numbers"),
        (lambda: PSF("psf.fits"), "real numbers"),
        (lambda: PSF(np.ones((5, 5)), oversampling=0), "oversampling"),
        (lambda: PSF(np.ones((5, 5)), oversampling=-1.5), "oversampling"),
        (lambda: PSF(np.ones((5, 5)), oversampling=(2, 0)), "oversampling"),
        (lambda: PSF(np.ones((5, 5)), oversampling=(2, 2, 2)), "oversampling"),
        (lambda: PSF(np.ones((5, 5)), oversampling=np.nan), "oversampling"),
        (lambda: PSF(np.ones((5, 5)), oversampling=None), "oversampling"),
        (lambda: PSF.gaussian(3.0, oversampling=0), "oversampling"),
        (lambda: PSF(np.ones((5, 5)), pixel_response="pixel"), "pixel_response"),
        (lambda: PSF.gaussian(0.0), "positive"),
        (lambda: PSF.gaussian(2.0, -1.0), "positive"),
        (lambda: PSF.gaussian(2.0 * u.kg), "convert"),
        (lambda: PSF.moffat(2.0, 1.0), "beta"),
    ],
)
def test_refused_in_one_sentence(make, word):
    with pytest.raises(ValueError, match=word) as e:
        make()
    assert len(str(e.value)) > 20
    assert "\n" not in str(e.value)


def test_negative_wings_are_said(caplog):
    y, x = np.indices((31, 31)) - 15
    array = np.exp(-0.5 * (x**2 + y**2) / 2.0**2)
    array /= array.sum()
    with caplog.at_level("WARNING", logger="bayesjoint"):
        PSF(array)
        assert "negative" not in caplog.text
        PSF(array - 0.1 / array.size)
    assert "negative values" in caplog.text


@pytest.mark.parametrize("make", [PSF.gaussian, lambda f, s, **k: PSF.moffat(f, 3.0, s, **k)], ids=["gaussian", "moffat"])
def test_an_array_reaches_as_far_as_is_asked(make):
    whole, small = make(3.0, 0.5), make(3.0, 0.5, radius=3.0)
    assert small.shape == (13, 13) and small.array.sum() == pytest.approx(1.0)
    middle = whole.shape[0] // 2
    cut = whole.array[middle - 6 : middle + 7, middle - 6 : middle + 7]
    assert np.allclose(small.array, cut / cut.sum(), rtol=1e-12)
    Image(np.zeros((13, 13)), sigma=1.0, psf=small, pixel_scale=0.5, zeropoint=25.0, band="r")
    with pytest.raises(ValueError, match="radius"):
        make(3.0, 0.5, radius=-1.0)


@pytest.mark.parametrize("psf", [PSF.gaussian(1.2, 0.4), PSF.moffat(3.0, 3.5, 0.5), PSF(PSF.gaussian(2.5, 0.5).array, pixel_response=None)], ids=["native", "wide", "optical"])
def test_a_moffat_as_wide_as_another(psf):
    made = psf.as_moffat(2.5)
    optical = psf.pixel_response is None
    assert made.pixel_response == "native" and (made.fwhm > psf.fwhm if optical else made.fwhm == pytest.approx(psf.fwhm, rel=5e-3))
    small = psf.as_moffat(2.5, radius=8)
    assert small.native_shape == (17, 17) and 0.75 < small.array.sum() < 1 and small.fwhm == pytest.approx(made.fwhm, rel=1e-3)
