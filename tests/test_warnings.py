"""What a fit says of itself: nothing where all is well, the cause where something is wrong, and a
flag in the row that it concerns."""

import logging
import re

import numpy as np
import pyro.distributions as dist
import pytest
from conftest import TRUTH, small_scene, two_images
from scipy.ndimage import gaussian_filter

import bayesjoint as bj
from bayesjoint.infer.search import Mode
from bayesjoint.infer.value_warnings import outside_fraction, rival_maxima
from bayesjoint.infer.warnings import (
    KINDS,
    FitWarning,
    Pattern,
    Severity,
    grouped,
    lines,
    name_images,
)
from bayesjoint.posterior.flags import LEGEND

SHAPES = {
    "galaxy.x": 0.2,
    "galaxy.y": 0.1,
    "galaxy.q": 0.6,
    "galaxy.pa": 40.0,
    "galaxy.n": 2.0,
    "galaxy.r_eff": 2.0,
}
FLUXES = {"galaxy.flux[g]": 1e6, "galaxy.flux[r]": 4e6, "sky.level[g]": 0.0, "sky.level[r]": 0.2}


def blank(bands="gr", size=81):
    """Empty images whose sky is seen round a galaxy."""
    psf = {"g": bj.PSF.moffat(1.2, 3.0, 0.26), "r": bj.PSF.moffat(1.0, 3.0, 0.26)}
    return [
        bj.Image(
            np.zeros((size, size)),
            sigma=1.0,
            psf=psf[b],
            pixel_scale=0.26,
            zeropoint=25.0,
            band=b,
            name=b,
        )
        for b in bands
    ]


def drawn(seed, neighbour=None, **more):
    """Images of a galaxy, and of a neighbour at a place (arcsec) of a flux."""
    components, values = [bj.Sersic("galaxy"), bj.Sky()], SHAPES | FLUXES | more
    if neighbour is not None:
        x, y, flux = neighbour
        components.append(bj.Point("p"))
        values |= {"p.x": x, "p.y": y, "p.flux[g]": 0.3 * flux, "p.flux[r]": flux}
    return bj.Scene(components, blank()).simulate(values, seed)


def fitted(images, *more):
    return bj.Scene([bj.Sersic("galaxy"), bj.Sky(), *more], images).fit(progress=False)


def louder(images, factor):
    """The same pixels with a sigma that is smaller by a factor."""
    return [im.replace(data=im.data, variance=im.variance / factor**2) for im in images]


def kinds(best):
    return [w.kind for w in best.warnings]


def test_nothing_is_said_where_all_is_well(best):
    assert best.warnings == [] and best.message.startswith(
        "Converged: chi2/dof 0.99, no warnings.\n"
    )
    assert "log posterior density" in best.message.splitlines()[-1] and best.maximised.startswith(
        "log posterior density"
    )
    assert list(best.table()["flags"]) == [""] and not best.singular
    assert fitted(drawn(1)).warnings == []


@pytest.mark.parametrize(
    ("place", "flux"), [((6.0, -4.0), 1e5), ((2.6, 1.0), 1e5), ((6.0, -4.0), 1e6)]
)
def test_a_neighbour_is_said_with_its_place_and_nothing_of_noise_or_registration(place, flux):
    best = fitted(drawn(2, (*place, flux)))
    assert kinds(best)[0] == "unmodelled light" and not {
        "registration",
        "zeropoint",
        "sigma",
        "correlated noise",
        "misfit",
    } & set(kinds(best))
    w = best.warnings[0]
    assert np.hypot(w.position["x"] - place[0], w.position["y"] - place[1]) < 0.4 and w.value > 10
    assert set(w.images) == {"g", "r"} and w.sources == ("galaxy",)
    assert ("reduced chi2 is" in w.text) == (flux > 1e5)
    assert best.table()["flags"][0].startswith("unmodelled light")


def test_while_reduced_chi2_says_that_the_model_is_wrong_nothing_else_of_the_residuals_is_said():
    images = louder(drawn(3, (6.0, -4.0, 1e6)), 1.4)
    best = fitted([images[0].shifted(0.1, 0.0), images[1]])
    assert (
        not {"registration", "sigma"} & set(kinds(best))
        and "Noise, registration and zeropoints can be judged once" in best.message
    )


def test_noise_alone_is_said_as_noise():
    best = fitted(louder(drawn(4), 1.4))
    assert kinds(best) == ["sigma"] and best.warnings[0].images == ("g", "r")
    assert best.message.splitlines()[1].startswith(
        "Both images: residual scatter is 1.3"
    ) and best.warnings[0].value == pytest.approx(1.4, rel=0.05)
    rng, model = (
        np.random.default_rng(1),
        bj.Scene([bj.Sersic("galaxy"), bj.Sky()], blank()).render(SHAPES | FLUXES),
    )
    noise = {
        k: gaussian_filter(rng.normal(size=v.shape), 0.7, mode="wrap") for k, v in model.items()
    }
    best = fitted(
        [im.replace(data=model[im.name] + noise[im.name] / noise[im.name].std()) for im in blank()]
    )
    assert kinds(best) == ["correlated noise"]


def test_a_shift_alone_is_said_as_a_shift_and_mended_by_it():
    g, r = drawn(5)
    best = fitted([g.shifted(0.2, -0.1), r])
    assert (
        kinds(best) == ["registration"]
        and "g by" in best.message
        and "bj.Shift(0.2, images=['g'])" in best.message
    )
    best = fitted([g.shifted(0.2, -0.1), r], bj.Shift(0.2, images=["g"]))
    assert kinds(best) == ["correction"] and int(best.warnings[0].severity) == 1


def test_arms_are_said_as_structure_of_the_galaxy():
    rng, scene = np.random.default_rng(6), bj.Scene([bj.Sersic("galaxy"), bj.Sky()], blank())
    model, out = scene.render(SHAPES | FLUXES), []
    for im in scene.images:
        j, i = np.indices(im.shape)
        x, y = scene.frame.to_sky(im.placement, i, j)
        r, phi = np.hypot(x - 0.2, y - 0.1), np.arctan2(y - 0.1, x - 0.2)
        arms = 1 + 0.4 * np.cos(2 * phi - 3 * np.log(r + 0.3))
        out.append(im.replace(data=model[im.name] * arms + rng.normal(size=im.shape)))
    best = fitted(out)
    assert kinds(best)[0] == "unmodelled light" and "within galaxy" in best.warnings[0].text
    assert not {"registration", "zeropoint", "sigma", "correlated noise"} & set(kinds(best))


def test_a_hot_pixel_is_no_neighbour():
    g, r = drawn(7)
    data = r.data.copy()
    data[15, 60] += 60
    best = fitted([g, r.replace(data=data)])
    assert (
        kinds(best) == ["bad pixels"]
        and "pixel (60, 15) of r" in best.message
        and best.warnings[0].images == ("r",)
    )


def test_a_fit_that_ends_too_early_says_so_first_and_in_every_row():
    scene = small_scene()
    best = scene.fit(start={"galaxy.n": 6.0, "galaxy.r_eff": 0.3}, max_iterations=2, progress=False)
    assert re.match(
        r"NOT converged after \d iterations: no convergence in \d iterations; chi2/dof \d",
        best.message,
    )
    assert (
        best.warnings[0].kind == "not converged" and best.warnings[0].severity is Severity.SERIOUS
    )
    assert (
        "not converged" in best.table()["flags"][0]
        and best.table().meta["warnings"] == best.remarks
    )


def test_a_value_at_its_bound_is_a_limit():
    images = drawn(1)
    best = bj.Scene([bj.Sersic("galaxy", n=dist.Uniform(0.5, 1.8)), bj.Sky()], images).fit(
        progress=False
    )
    (w,) = [w for w in best.warnings if w.kind == "at bound"]
    assert (
        w.parameters == ("galaxy.n",)
        and "(bound 1.8)" in w.text
        and "far from prior" not in kinds(best)
    )
    assert "n: at bound" in best.table()["flags"][0] and not best.singular
    inside = bj.Scene([bj.Sersic("galaxy", n=dist.Uniform(0.5, 2.3)), bj.Sky()], images).fit(
        progress=False
    )
    assert inside.warnings == []


def test_light_outside_the_frame_is_measured():
    scene = bj.Scene([bj.Sersic("galaxy", n=1.0, q=1.0, pa=0.0), bj.Sky()], blank())
    values = SHAPES | FLUXES
    galaxy = scene.components[0]
    inside = {k: v for k, v in values.items() if k in scene.names} | {
        "galaxy.x": 0.0,
        "galaxy.y": 0.0,
    }
    assert outside_fraction(scene, inside, galaxy) < 0.001
    edge = inside | {
        "galaxy.x": 81 * 0.26 / 2,
        "galaxy.r_eff": 0.5,
    }  # its middle on the frame's edge
    assert outside_fraction(scene, edge, galaxy) == pytest.approx(0.5, abs=0.01)
    # an exponential disc in a circle of radius R holds 1 - (1 + x) e^-x of its light, x = 1.678 R / r_eff; the square is between two circles
    x = np.array([np.sqrt(2), 1.0]) * 1.678 * 81 * 0.26 / 2 / 8.0
    low, high = (1 + x) * np.exp(-x)
    assert low < outside_fraction(scene, inside | {"galaxy.r_eff": 8.0}, galaxy) < high


def test_a_sky_that_trades_with_wings_is_said():
    images = drawn(8, **{"galaxy.r_eff": 12.0, "galaxy.n": 5.0})
    best = fitted(images)
    assert {"outside frame", "sky"} <= set(kinds(best)) and "bj.Sky(level='border')" in best.message
    assert all(f in best.table()["flags"][0] for f in ("outside frame", "sky"))


def test_a_component_that_the_data_do_not_need_is_said_to_be_so():
    images = drawn(9, **{"galaxy.n": 1.0})
    bulge = bj.Sersic("bulge", n=2.0, r_eff=0.5, q=0.8, pa=20.0)
    disc = bj.Exponential("disc", x=bulge.x, y=bulge.y)
    best = bj.Scene([bulge, disc, bj.Sky()], images).fit(
        start={"bulge.flux": 100.0}, progress=False
    )
    (w,) = [w for w in best.warnings if w.kind == "not needed"]
    assert w.sources == ("bulge",) and w.severity is Severity.NOTE
    assert [("not needed" in f) for f in best.table()["flags"]] == [True, False]


def test_alike_ones_are_one_with_their_images_and_the_gravest_come_first():
    names = [f"HSC_{b}" for b in "grizy"] + ["W1"]

    def one(image, value, kind="sigma", severity=Severity.WARNING):
        return FitWarning.of(
            kind,
            severity,
            Pattern("{images}: off by {values}.", "Mend {names}.", image, f"{value:.2f}"),
            images=(image,),
            value=value,
        )

    several = grouped(
        [
            *(one(n, 1.2 + 0.1 * k) for k, n in enumerate(names[:5])),
            one("W1", 9.0, "degenerate", Severity.SERIOUS),
        ],
        names,
    )
    assert [w.kind for w in several] == ["degenerate", "sigma"]
    assert (
        several[1].text == "All 5 HSC images: off by 1.20 to 1.60."
        and several[1].images == tuple(names[:5])
        and several[1].value == 1.6
    )
    assert (
        name_images(["a{b}"], ["a{b}", "c"]) == "a{b}"
        and name_images(names[:2], names) == "HSC_g and HSC_r"
    )
    assert (
        name_images(names, names) == "all 6 images"
        and name_images(names[1:], names) == "5 of 6 images (HSC_r, HSC_i, HSC_z, ...)"
    )
    many = [FitWarning("sigma", Severity.WARNING, f"{k} " + "x" * 150) for k in range(20)]
    said = lines(many)
    assert len(said) < 12 and said[-1] == f"And {20 - len(said) + 1} more: see best.warnings."


def test_they_are_logged_once_and_posteriors_have_them(caplog):
    with caplog.at_level(logging.WARNING, logger="bayesjoint"):
        best = fitted(louder(drawn(4), 1.4))
        _ = best.message, best.warnings
    assert len([r for r in caplog.records if "residual scatter" in r.message]) == 1
    post = best.laplace(draws=20, seed=1)
    assert "sigma" in post.table()["flags"][0] and post.table().meta["fit_warnings"]
    assert [w.plain()["kind"] for w in best.warnings] == ["sigma"] and best.remarks == [
        str(best.warnings[0])
    ]


def test_every_kind_has_a_legend():
    assert set(KINDS) <= set(LEGEND)


def test_a_scene_without_sky_or_with_all_held_says_nothing_wrong():
    g, i = two_images()
    scene = bj.Scene([bj.Sersic("galaxy")], [g, i])
    values = {k: v for k, v in TRUTH.items() if k in scene.names}
    best = bj.Scene([bj.Sersic("galaxy")], scene.simulate(values, 1)).fit(progress=False)
    assert best.warnings == []
    held = best.scene.fixed(best.values, best.names).fit(progress=False)
    assert held.warnings == [] and held.converged


def test_a_source_that_leaves_its_place_is_said():
    """Begun in the galaxy's wings: it ends on the galaxy."""
    images = drawn(2)
    far = bj.Sersic("galaxy", x=bj.start(4.0), y=bj.start(-1.0), r_eff=bj.start(0.5))
    best = bj.Scene([far, bj.Sky()], images).fit(starts=1, progress=False)
    (w,) = [w for w in best.warnings if w.kind == "strayed"]
    assert w.sources == ("galaxy",) and w.value == pytest.approx(np.hypot(3.8, 1.1), abs=0.1)
    assert f'galaxy (by {w.value:.3g}")' in w.text and "strayed" in best.table()["flags"][0]
    near = bj.Sersic("galaxy", x=bj.start(1.0), y=bj.start(-0.5))
    assert kinds(bj.Scene([near, bj.Sky()], images).fit(progress=False)) == []


def test_sources_that_would_be_searched_were_there_fewer_are_said():
    """Five galaxies of n = 3 with a prior about 1: each is suspect, and no search can mend so many."""
    names, prior = "abcde", bj.Param(prior=dist.LogNormal(0.0, 0.05))
    places = [(-6.0, -6.0), (6.0, -6.0), (0.0, 0.0), (-6.0, 6.0), (6.0, 6.0)]
    shapes = {"q": 0.8, "pa": 30.0, "n": 3.0, "r_eff": 0.8, "flux[r]": 2e6}
    true = {f"{n}.{k}": v for n in names for k, v in shapes.items()} | {"sky.level[r]": 0.0}
    true |= {f"{n}.{k}": v for n, at in zip(names, places, strict=True) for k, v in zip("xy", at, strict=True)}
    free = [bj.Sersic(n, position=at) for n, at in zip(names, places, strict=True)]
    images = bj.Scene([*free, bj.Sky()], blank("r")).simulate(true, 1)
    narrow = [bj.Sersic(n, position=at, n=prior) for n, at in zip(names, places, strict=True)]
    best = bj.Scene([*narrow, bj.Sky()], images).fit(progress=False)
    (w,) = [w for w in best.warnings if w.kind == "search"]
    assert set(w.sources) == set(names) and best.converged
    assert all("search" in row["flags"] for row in best.table())
    best = bj.Scene([*free, bj.Sky()], images).fit(progress=False)
    assert "search" not in kinds(best)


def test_another_maximum_is_said_with_what_differs_there():
    scene = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], drawn(3))
    best = scene.fit(progress=False)
    there = best.values | {"galaxy.n": 4.0}
    z = scene.unconstrain(there)
    modes = [Mode(best.z, best.z_covariance, 0.0, 0.0, 0.7), Mode(z, best.z_covariance, -1.0, -1.0, 0.3)]
    (w,) = rival_maxima(scene, best.values, best.errors, modes)
    assert w.kind == "other maximum" and w.value == 0.3 and "holds 30% of the posterior" in w.text
    assert f"galaxy.n = 4 (here {best.values['galaxy.n']:.3g})" in w.text
    few = [modes[0], Mode(z, best.z_covariance, -4.0, -4.0, 0.02)]
    assert rival_maxima(scene, best.values, best.errors, few) == []
