"""Binning: the same sky on larger pixels, and a search on them."""

import numpy as np
import pytest
from astropy.wcs import WCS
from conftest import two_images

import bayesjoint as bj
from bayesjoint.images import Frame
from bayesjoint.images.binning import binned
from bayesjoint.infer import search

VALUES = {"g.x": 3.3, "g.y": -4.1, "g.q": 0.6, "g.pa": 30.0, "g.n": 1.5, "g.r_eff": 12.0, "g.flux[r]": 1e5, "sky.level[r]": 0.3}


def image(shape=(122, 135), oversampling=1, response="native", **more):
    psf = np.exp(-0.5 * (np.hypot(*(np.indices((41, 41)) - 20)) / (1.3 * oversampling)) ** 2)
    psf = bj.PSF(psf, oversampling=oversampling, pixel_response=response)
    place = {} if "wcs" in more else {"pixel_scale": 1.0}
    return bj.Image(np.zeros(shape), sigma=2.0, psf=psf, zeropoint=25.0, band="r", name="r", **place, **more)


@pytest.mark.parametrize(("response", "oversampling", "off"), [("native", 1, 1e-5), ("native", 2, 1e-5), ("native", 2.5, 0.01), ("subpixel", 1, 1e-5), (None, 2.5, 1e-5)])
def test_a_model_on_larger_pixels_is_the_mean_of_that_on_small_ones(response, oversampling, off):
    """As its PSF holds the response of the larger pixel; nearly so, where the old one cannot be told from samples."""
    im = image(oversampling=oversampling, response=response)
    fine, coarse = (bj.Scene([bj.Sersic("g"), bj.Sky()], x).replanned(VALUES).render(VALUES)["r"] for x in (im, binned(im, 4)))
    means = fine[:120, :132].reshape(30, 4, 33, 4).mean((1, 3))
    assert np.abs(coarse - means).max() < off * means.max()


def test_noise_and_masks():
    mask = np.zeros((120, 132), bool)
    mask[0, 0] = mask[:3, 4:8] = True
    new = binned(image((120, 132), mask=mask), 4)
    assert new.mask[0, 1] and new.mask.sum() == 1
    assert new.variance[5, 5] == pytest.approx(4.0 / 16) and new.variance[0, 0] == pytest.approx(4.0 / 15)
    with pytest.raises(ValueError, match="must have a zeropoint"):
        binned(bj.Image(np.zeros((20, 20)), sigma=1.0, pixel_scale=1.0), 2)
    with pytest.raises(ValueError, match="must be at least the 30 pixels"):
        binned(image((20, 200)), 30)


def test_where_larger_pixels_lie():
    """Their middles are those of the pixels in them, in parts of an image too."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = ("RA---TAN", "DEC--TAN"), (30.0, -20.0), (10.0, 20.0), (-1e-4, 1e-4)
    for im in (image((90, 101), wcs=wcs).cutout((48, 40), (60, 71)), image((60, 71), center=(3.0, 4.0))):
        frame = Frame(im.placement.sky_middle)
        new = binned(im, 3).cutout((10, 9), (12, 13))
        x0, y0 = 10 - 6, 9 - 6
        there = frame.to_sky(new.placement, 2.0, 5.0)
        np.testing.assert_allclose(there, frame.to_sky(im.placement, 3 * (x0 + 2) + 1.0, 3 * (y0 + 5) + 1.0), atol=1e-6)
        assert new.pixel_scale == pytest.approx(3 * im.pixel_scale, rel=1e-6)


def test_a_search_on_larger_pixels_leads_to_the_same_maximum(monkeypatch):
    bulge = bj.Sersic("bulge")
    scene = bj.Scene([bulge, bj.Exponential("disc", x=bulge.x, y=bulge.y), bj.Sky()], two_images())
    true = {"bulge.x": 0.1, "bulge.y": 0.0, "bulge.q": 0.8, "bulge.pa": 60.0, "bulge.n": 2.5, "bulge.r_eff": 0.8, "disc.q": 0.5, "disc.pa": 100.0, "disc.r_eff": 3.0}
    true |= {"bulge.flux[g]": 4e5, "bulge.flux[i]": 9e5, "disc.flux[g]": 1e6, "disc.flux[i]": 1.2e6, "sky.level[g]": 0.0, "sky.level[i]": 0.5}
    scene = scene.with_images(scene.simulate(true, seed=5))
    best = scene.fit(progress=False)
    sizes = []

    def noted(im, n):
        sizes.append(n)
        return binned(im, n)

    monkeypatch.setattr(search, "SEARCHED", 500)
    monkeypatch.setattr(search, "SAMPLES", 1.0)
    monkeypatch.setattr(search, "binned", noted)
    again = scene.fit(progress=False)
    assert sizes and min(sizes) >= 2
    assert again.converged and again.log_density == pytest.approx(best.log_density, abs=0.1)
