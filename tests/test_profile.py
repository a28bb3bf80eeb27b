"""Profiles of the log density: exact where it is a parabola, the same as fits with the parameter
held, and what errors become where it is none."""

import numpy as np
import pyro.distributions as dist
import pytest
from conftest import small_scene

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.infer.curvature import _one_sigma


def test_a_profile_of_a_linear_parameter_is_a_parabola():
    image = bj.Image(
        np.zeros((25, 25)),
        sigma=1.0,
        pixel_scale=0.5,
        psf=bj.PSF.gaussian(1.5, 0.5),
        zeropoint=31.4,
        band="r",
    )
    scene = bj.Scene([bj.Point("a", x=0.0, y=0.0), bj.Sky()], image)
    best = scene.with_images(scene.simulate({"a.flux[r]": 100.0, "sky.level[r]": 0.3}, 1)).fit(
        progress=False
    )
    p = best.profile("a.flux[r]", points=[50.0, 90.0, 130.0])
    t = (p.values - p.value) / p.error
    assert len(p.values) == 4 and np.allclose(
        p.log_density - best.log_density, -(t**2) / 2, atol=1e-6
    )
    low, high = best.profile("a.flux[r]").interval(0.6827)
    assert high - p.value == pytest.approx(p.error, rel=0.01) and p.value - low == pytest.approx(
        p.error, rel=0.01
    )
    low, high = best.profile("a.flux[r]").interval(0.95)
    assert high - low == pytest.approx(2 * 1.96 * p.error, rel=0.01)
    assert (
        p.parameters["sky.level[r]"][0] > p.parameters["sky.level[r]"][-1]
    )  # what the source loses the sky gains


def test_it_is_what_fits_with_the_parameter_held_reach():
    best = small_scene().fit(progress=False)
    own, error = best.values["galaxy.n"], best.errors["galaxy.n"]
    p = best.profile("galaxy.n", points=[own - error, own + 2 * error])
    held = best.scene.fixed({**best.values, "galaxy.n": own + 2 * error}, ["galaxy.n"]).fit(
        start=best, progress=False
    )
    values = {**held.values, "galaxy.n": own + 2 * error}
    assert p.log_density[-1] == pytest.approx(
        float(best.scene.log_density(best.scene.unconstrain(values))), abs=1e-3
    )
    assert p.parameters["galaxy.r_eff"][-1] == pytest.approx(held.values["galaxy.r_eff"], rel=1e-3)
    assert p.drop[1] == 0 and 0.3 < p.drop[0] < 0.8 and not p.higher and "n: " in repr(p)
    ax = plots.profile_density(p)
    assert ax.get_xlabel() == "galaxy.n" and len(ax.lines) == 3


def test_what_a_profile_cannot_be_asked():
    best = small_scene().fit(progress=False)
    with pytest.raises(ValueError, match=r"no free parameter 'galaxy\.m'"):
        best.profile("galaxy.m")
    with pytest.raises(ValueError, match=r"points must be values that galaxy\.n may have"):
        best.profile("galaxy.n", points=[-1.0])
    with pytest.raises(ValueError, match="level must be a probability"):
        best.profile("galaxy.n", points=[1.5]).interval(68)


def test_a_profile_ends_at_a_bound():
    images = small_scene().images
    best = bj.Scene([bj.Sersic("galaxy", n=dist.Uniform(0.5, 1.6)), bj.Sky()], images).fit(
        progress=False
    )
    p = best.profile("galaxy.n", points=6)
    low, high = p.interval()
    assert (
        0.9 < low < best.values["galaxy.n"] < high < 1.6
        and p.bounds == (0.5, pytest.approx(1.6))
        and p.values.max() < 1.6
    )
    short = best.profile("galaxy.n", points=[best.values["galaxy.n"] - 0.01])
    assert np.isnan(short.interval()[0])


def test_one_sigma_from_the_fall_at_two():
    assert _one_sigma(2.0) == pytest.approx(1.0)
    assert _one_sigma(1.0) > 1.1 and _one_sigma(4.0) < 0.9 and _one_sigma(0.0) == 2.0


def test_bulge_and_disc_whose_errors_are_not_gaussian_say_so_with_their_interval():
    psf = bj.PSF.moffat(0.8, 3.5, 0.25)
    image = bj.Image(
        np.zeros((61, 61)), sigma=1.0, psf=psf, pixel_scale=0.25, zeropoint=31.4, band="z"
    )
    bulge = bj.Sersic("bulge", position=(0.0, 0.0))
    scene = bj.Scene(
        [bulge, bj.Exponential("disc", x=bulge.x, y=bulge.y), bj.Sky(level=0.0)], image
    )
    truth = {
        "bulge.x": 0.02,
        "bulge.y": -0.03,
        "bulge.q": 0.8,
        "bulge.pa": 20.0,
        "bulge.n": 2.5,
        "bulge.r_eff": 0.5,
        "disc.q": 0.5,
        "disc.pa": 70.0,
    }
    truth |= {"disc.r_eff": 2.0, "bulge.flux[z]": 4000.0, "disc.flux[z]": 8000.0}
    best = scene.with_images(scene.simulate(truth, 2)).fit(start=truth, progress=False)
    (w,) = [w for w in best.warnings if w.kind == "not Gaussian"]
    assert "bulge.n" in w.parameters and "bulge.n = " in w.text
    low, high = w.intervals["bulge.n"]
    own, (exact_low, exact_high) = (
        best.values["bulge.n"],
        best.profile("bulge.n", points=4).interval(),
    )
    assert own - low == pytest.approx(own - exact_low, rel=0.15) and high - own == pytest.approx(
        exact_high - own, rel=0.15
    )
    flags = best.table()["flags"][0]
    assert f"n: not Gaussian ({low:.3g} to {high:.3g})" in flags
