"""What residuals say of an image's noise: silence where it is as stated, words where it is not."""

import numpy as np
import pyro.distributions as dist
import pytest
from scipy.ndimage import gaussian_filter

import bayesjoint as bj
from bayesjoint.infer.residuals import Residuals
from bayesjoint.infer.value_warnings import widths

SHAPE = (120, 100)


def image(mask=None):
    return bj.Image(np.zeros(SHAPE), sigma=1.0, pixel_scale=1.0, name="r", mask=mask)


def said(residual, mask=None):
    return " ".join(Residuals.of(image(mask), residual).words)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_said_of_noise_as_stated(seed):
    r = Residuals.of(image(), np.random.default_rng(seed).standard_normal(SHAPE))
    assert r.words == []
    assert abs(r.scatter - 1) < 0.05 and abs(r.correlation - 1) < 0.15 and abs(r.chi2 - 1) < 0.06


@pytest.mark.parametrize(("factor", "word"), [(1.3, "too small"), (0.75, "too large")])
def test_a_wrong_sigma_is_said_with_its_size(factor, word):
    text = said(factor * np.random.default_rng(1).standard_normal(SHAPE))
    assert word in text and f"{factor:.2f}"[:3] in text and "correlated" not in text


def test_correlated_noise_is_said():
    noise = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 0.6)
    r = Residuals.of(image(), noise / noise.std())
    assert "correlated" in " ".join(r.words) and len(r.words) == 1
    line = np.zeros(31)
    line[15] = 1
    kernel = gaussian_filter(line, 0.6)
    along = np.correlate(kernel, kernel, "full")[30:34]  # covariance along an axis, by lag
    block = sum(along[abs(i - j)] for i in range(4) for j in range(4)) / 16
    assert r.correlation == pytest.approx(4 * block / along[0], rel=0.08)


def test_light_that_the_model_misses_is_said_and_masked_light_is_not():
    noise = np.random.default_rng(1).standard_normal(SHAPE)
    noise[40:48, 40:48] += 30
    assert "reduced chi2" in said(noise)
    mask = np.zeros(SHAPE, bool)
    mask[38:50, 38:50] = True
    assert said(np.where(mask, 0.0, noise), mask) == ""


def test_too_few_pixels_say_nothing():
    few = bj.Image(np.zeros((5, 5)), sigma=1.0, pixel_scale=1.0, name="r")
    r = Residuals.of(few, np.random.default_rng(1).standard_normal((5, 5)))
    assert np.isnan(r.correlation) and r.words == []


def test_a_fit_measures_its_images_and_says_so(scene, best):
    assert list(best.noise) == [im.name for im in scene.images] and not any(n.words for n in best.noise.values())
    loud = [im.replace(data=im.data, variance=im.variance / 4) for im in scene.images]
    noisy = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], loud).fit(progress=False)
    assert noisy.converged and "too small" in noisy.message


def test_values_that_one_would_not_believe_are_said():
    image = bj.Image(np.zeros((31, 31)), sigma=1.0, pixel_scale=0.5, psf=bj.PSF.gaussian(1.5, 0.5), zeropoint=31.4, band="r")
    hole = {"a.x": 0.0, "a.y": 0.0, "a.flux[r]": -400.0, "sky.level[r]": 0.0}
    scene = bj.Scene([bj.Point("a", position=(0.0, 0.0), x=dist.Normal(0.0, 0.01)), bj.Sky()], image)
    best = scene.with_images(scene.simulate(hole, 1)).fit(progress=False)
    assert any(r.startswith("Fluxes are negative: a.flux[r] (by ") for r in best.remarks)
    best = scene.with_images(scene.simulate({**hole, "a.x": 0.2, "a.flux[r]": 4000.0}, 1)).fit(progress=False)
    (said,) = best.remarks
    assert said.startswith("Values lie far from the middle of their priors: a.x (by ")
    best = scene.with_images(scene.simulate({**hole, "a.flux[r]": 400.0}, 1)).fit(progress=False)
    assert not best.remarks


def test_a_thin_galaxy_is_said_to_be_thin_whatever_its_angle():
    """An axis ratio and an angle share a plane: how far out they lie there is the axis ratio's alone."""
    image = bj.Image(np.zeros((31, 31)), sigma=1.0, pixel_scale=0.5, psf=bj.PSF.gaussian(1.5, 0.5), zeropoint=31.4, band="r")
    scene = bj.Scene([bj.Sersic("g"), bj.Sky()], image)
    off = []
    for pa in (0.0, 22.5, 45.0, 130.0):
        by = dict(zip(scene.names, widths(scene, {**scene.start, "g.q": 0.04, "g.pa": pa}), strict=True))
        assert by["g.pa"] == 0.0
        off.append(by["g.q"])
    assert np.allclose(off, -np.log(0.04) / 0.75, rtol=1e-9)
