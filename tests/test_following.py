"""Parameters that follow from others, groups, windows, and what corrects images: shifts and zeropoints."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import yaml
from astropy import units as u
from pyro.infer.inspect import get_model_relations

import bayesjoint as bj
from bayesjoint.infer.targets import target_type
from bayesjoint.posterior.tables import source_table
from bayesjoint.scene.windows import lost_light

BANDS = {"g": 0.48, "r": 0.62, "i": 0.75, "z": 0.9}


def images(n=48):
    made = [
        bj.Image(np.zeros((n, n)), sigma=1.0, psf=bj.PSF.gaussian(1.0, 0.3), pixel_scale=0.3, zeropoint=25.0, band=b, wavelength=w)
        for b, w in BANDS.items()
    ]
    other = bj.Image(
        np.zeros((40, 40)), sigma=1.0, psf=bj.PSF.gaussian(1.4, 0.4), pixel_scale=0.4, zeropoint=25.3, band="i", wavelength=0.75, name="i2"
    )
    return [*made, other]


def everything():
    galaxy = bj.Sersic("galaxy", n=bj.Polynomial(1), r_eff=bj.WavelengthSpline([0.4, 0.7, 1.0]))
    disc = bj.Exponential("disc", x=galaxy.x, y=galaxy.y, q=0.5 * galaxy.q, pa=galaxy.pa + 10.0, r_eff=bj.Above(galaxy.r_eff), flux=bj.Polynomial(1))
    return [bj.Group("object", [galaxy, disc]), bj.Shift(0.2, images=["i2"]), bj.Zeropoint(0.1, images=["i2"]), bj.Sky()]


@pytest.fixture(scope="module")
def linked():
    scene = bj.Scene(everything(), images())
    values = dict.fromkeys(scene.names, 0.0) | {
        "object.galaxy.q": 0.7, "object.galaxy.pa": 30.0, "object.galaxy.n.c0": 2.0, "object.galaxy.n.c1": 0.3, "object.galaxy.r_eff.k0": 1.2,
        "object.galaxy.r_eff.k1": 1.0, "object.galaxy.r_eff.k2": 0.9, "object.disc.r_eff.above": 1.5, "object.disc.flux.c0": 9e4,
        "object.disc.flux.c1": 3e4, "shift.x[i2]": 0.15, "shift.y[i2]": -0.1, "zeropoint.offset[i2]": 0.05,
    } | {f"object.galaxy.flux[{b}]": f for b, f in zip(BANDS, (6e4, 1e5, 1.4e5, 1.6e5), strict=True)}  # fmt: skip
    return scene.with_images(scene.simulate(values, 1)), values


def slopes(f, z):
    x = z.clone().requires_grad_(True)
    (by,) = torch.autograd.grad(f(x), x)
    steps = 1e-5 * z.abs().clamp(min=1.0)
    return by, torch.stack([(f(z + d) - f(z - d)) / (2 * d.sum()) for d in torch.diag(steps)])


def test_gradients_through_links_are_those_of_differences(linked):
    scene, values = linked
    z = scene.unconstrain(values) + 0.01
    by, differences = slopes(scene.log_density, z)
    assert ((by - differences).abs() < 1e-5 * (1 + by.abs())).all()


def test_slopes_of_what_follows_are_those_of_all_at_once(linked):
    scene, values = linked
    base = scene.full(scene.vector(values))[: scene.layout.count]
    n = len(scene.names)
    want = torch.autograd.functional.jacobian(lambda theta: scene.links.extend(torch.cat([theta, base[n:]])), base[:n])
    assert torch.allclose(scene.links.slopes(base), want, rtol=1e-12, atol=1e-12 * float(want.abs().max()))


def test_pyro_draws_each_image_from_its_own_sites_alone(linked):
    scene, _ = linked
    relations = get_model_relations(scene.model, include_deterministic=True)["sample_sample"]
    first, corrected = set(relations["image[g]"]), set(relations["image[i2]"])
    assert "object.galaxy.flux[g]" in first and not {"object.galaxy.flux[i]", "shift.x[i2]", "sky.level[i2]"} & first
    assert {"object.galaxy.flux[i]", "shift.x[i2]", "zeropoint.offset[i2]", "object.disc.flux.c1", "sky.level[i2]"} <= corrected
    assert set(relations["object.galaxy.n[g]"]) == {"object.galaxy.n.c0", "object.galaxy.n.c1"}


def test_with_fluxes_integrated_out_too(linked):
    scene, values = linked
    best = scene.fit(values, progress=False)
    target = target_type(best.scene, "linear")(best.scene, best.z, best.z_covariance)
    marginal = {scene.names[i] for i in target.linear.sites}
    # those in the image with a zeropoint of its own are not linear in it
    assert "object.galaxy.flux[g]" in marginal and not marginal & {"object.galaxy.flux[i]", "object.disc.flux.c0", "object.disc.flux.c1"}
    by, differences = slopes(target.log_density, best.z[target.linear.rest] + 0.003)
    assert ((by - differences).abs() < 1e-4 * (1 + by.abs())).all()


def test_the_fit_finds_what_was_simulated(linked):
    scene, values = linked
    best = scene.fit(values, progress=False)
    off = {n: (best.values[n] - v) / best.errors[n] for n, v in values.items()}
    assert best.converged and max(abs(v) for v in off.values()) < 4, off


def test_pyro_sees_the_same_density(linked):
    scene, values = linked
    trace = pyro.poutine.trace(pyro.poutine.condition(scene.model, data=scene.constrain(scene.unconstrain(values)))).get_trace()
    z = scene.unconstrain(values)
    jacobian = torch.linalg.slogdet(torch.autograd.functional.jacobian(lambda x: scene.chart.values(x)[0], z))[1]
    assert abs(float(trace.log_prob_sum()) + float(jacobian) - float(scene.log_density(z))) < 1e-8 * abs(float(scene.log_density(z)))
    assert {"object.galaxy.n[g]", "object.disc.q", "object.disc.flux[z]"} <= set(trace.nodes)


def test_what_follows_has_the_values_it_is_to_have(linked):
    scene, values = linked
    galaxy, disc = scene.components[:2]
    by = {im.name: im for im in scene.images}

    def at(component, parameter, image):
        return scene.value(component, parameter, by[image], values)

    x = {n: (2 * w - 0.48 - 0.9) / (0.9 - 0.48) for n, w in BANDS.items()}
    line = next(s.prior for s in scene.layout.sites if s.name == "object.galaxy.n.c0").line  # the logarithm, but near the bounds
    for name, t in x.items():
        n = float(line(line.inv(torch.tensor(2.0, dtype=torch.float64)) + 0.3 * t))
        assert n == pytest.approx(2.0 * np.exp(0.3 * t), rel=0.02) and at(galaxy, "n", name) == pytest.approx(n, rel=1e-10)
        assert at(disc, "flux", name) == pytest.approx(9e4 + 3e4 * t, rel=1e-10)
        assert at(disc, "r_eff", name) == pytest.approx(2.5 * at(galaxy, "r_eff", name), rel=1e-10)
    assert at(disc, "q", "g") == pytest.approx(0.35) and at(disc, "pa", "g") == pytest.approx(40.0)
    assert at(galaxy, "x", "i2") == pytest.approx(-0.15) and at(galaxy, "y", "i2") == pytest.approx(0.1) and at(galaxy, "x", "i") == 0
    assert at(galaxy, "flux", "i2") == pytest.approx(1.4e5 * 10 ** (0.4 * 0.05))


def test_a_shift_is_what_is_added_to_the_pixels(linked):
    """The model of an image that was shifted by hand is that of a `Shift`."""
    scene, values = linked
    plain = [im if im.name != "i2" else im.shifted(0.15, -0.1) for im in scene.images]
    by_hand = bj.Scene([c for c in everything() if not isinstance(c, bj.Shift)], plain)
    model = by_hand.render({k: v for k, v in values.items() if not k.startswith("shift")})["i2"]
    assert np.allclose(model, scene.render(values)["i2"], rtol=0, atol=1e-5 * model.max())


def test_linked_scenes_are_saved_and_loaded(linked, tmp_path):
    scene, values = linked
    z = scene.unconstrain(values)
    scene.save(tmp_path / "s.yaml")
    again = bj.Scene.load(tmp_path / "s.yaml", scene.images)
    assert float(again.log_density(z)) == float(scene.log_density(z)) and again.names == scene.names
    plain = yaml.safe_load((tmp_path / "s.yaml").read_text())
    for bad in ({"polynomial": "os.system('true')"}, {"eval": ["1"]}, {"mul": ["object.galaxy.q"]}, {"mul": ["nobody.q", 2]}, {"above": 3}):
        plain["components"][1]["parameters"]["q"] = bad
        (tmp_path / "bad.yaml").write_text(yaml.safe_dump(plain))
        with pytest.raises(ValueError, match=r"object\.disc\.q|whole number"):
            bj.Scene.load(tmp_path / "bad.yaml", scene.images)


def test_tables_hold_what_follows(linked):
    scene, values = linked
    best = scene.fit(values, progress=False)
    post = best.laplace(80, seed=1)
    for table in (best.table(), post.table()):
        row = {c: table[c][0] for c in table.colnames}
        assert row["n_g"] < row["n_z"] and row["n_g_err"] > 0 and table["q"][1] == pytest.approx(0.5 * row["q"])
    assert post.draws("object.disc.r_eff[g]").shape == (80,)
    assert "object.galaxy.n is Polynomial" in scene.describe() and "object.disc.q is (0.5 * object.galaxy.q)." in scene.describe()


def test_a_group_can_be_had_alone(linked):
    scene, _ = linked
    part = scene.subset(components=["object", "sky"])
    assert [c.name for c in part.components] == ["object.galaxy", "object.disc", "sky"]
    held = scene.fixed({"object.galaxy.n.c0": 2.0, "object.galaxy.n.c1": 0.0}, ["object.galaxy.n"])
    assert not any(n.startswith("object.galaxy.n") for n in held.names)


def test_components_in_groups_stay_the_users_own():
    galaxy = bj.Sersic("galaxy")
    scene = bj.Scene([bj.Group("a", [bj.Group("b", [galaxy])]), bj.Point("star", x=galaxy.x), bj.Sky()], images()[:1])
    assert galaxy.name == "galaxy" and "a.b.galaxy.x" in scene.names and "star.x" not in scene.names


def circle(g, d):
    g.params["q"], d.params["q"] = 0.5 * d.q, 2.0 * g.q
    return [g, d]


WRONG = {
    "circle": (circle, "circle"),
    "outside": (lambda g, d: [bj.Sersic("a", q=0.5 * g.q)], "not in the scene"),
    "no wavelength": (lambda g, d: [bj.Sersic("a", n=bj.Polynomial(1))], "wavelength"),
    "order": (lambda g, d: bj.Polynomial(-1), "whole number"),
    "knots": (lambda g, d: bj.WavelengthSpline([1.0]), "two or more"),
    "above an angle": (lambda g, d: [g, bj.Sersic("b", pa=bj.Above(g.pa))], "order"),
    "above without prior": (lambda g, d: [g, bj.Sersic("b", x=bj.Above(g.x))], "prior"),
    "group": (lambda g, d: bj.Group("a", []), "at least one"),
    "twice": (lambda g, d: [bj.Group("a", [g]), bj.Group("b", [g])], "twice"),
    "two shifts": (lambda g, d: [g, bj.Shift(0.1, name="a"), bj.Shift(0.1, name="b")], "same image"),
    "width": (lambda g, d: bj.Shift(-1.0), "positive"),
    "window": (lambda g, d: bj.Sersic("a", window=[[5, 3], [0, 4]]), "half-open"),
    "window word": (lambda g, d: bj.Sersic("a", window="large"), "auto"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_wrong_links_get_a_sentence(case):
    make, said = case
    g, d = bj.Sersic("g"), bj.Sersic("d")
    image = bj.Image(np.zeros((40, 40)), sigma=1.0, pixel_scale=0.3, zeropoint=25.0, band="g")
    with pytest.raises((ValueError, TypeError), match=said):
        parts = make(g, d)
        if isinstance(parts, list):
            bj.Scene(parts, image)


# -- windows ----------------------------------------------------------------------------------------------------------------
def pair(window=None):
    n = 120
    image = bj.Image(np.zeros((n, n)), sigma=1.0, psf=bj.PSF.gaussian(1.0, 0.3), pixel_scale=0.3, zeropoint=25.0, band="g")
    sources = [bj.Sersic(f"s{k}", position=p, window=window) for k, p in enumerate([(-8.0, -7.0), (9.0, 8.0)])]
    return bj.Scene([*sources, bj.Sky()], image)


TRUE = {"s0.x": -8.0, "s0.y": -7.0, "s1.x": 9.0, "s1.y": 8.0, "sky.level[g]": 0.1} | {
    f"s{k}.{p}": v for k in (0, 1) for p, v in {"q": 0.6, "pa": 40.0, "n": 1.2, "r_eff": 1.5, "flux[g]": 3e4}.items()
}


def test_automatic_windows_change_nothing_that_matters():
    whole = pair()
    whole = whole.with_images(whole.simulate(TRUE, 3))
    windowed = bj.Scene(pair("auto").components, whole.images)
    a, b = whole.fit(progress=False), windowed.fit(progress=False)
    assert all(p.window is not None for p in b.scene.plans["g"].values())
    assert all(abs(a.values[n] - b.values[n]) < 0.1 * a.errors[n] for n in a.names) and max(b.lost_light["g"].values()) < 0.1


def test_a_radius_may_have_a_unit():
    windows = [bj.Sersic("a", window=w).window for w in (9.0, 9.0 * u.arcsec, 0.15 * u.arcmin)]
    assert windows == pytest.approx([9.0] * 3) and bj.Sersic("a", window={"r": 9 * u.arcsec}).window == {"r": 9.0}
    with pytest.raises(ValueError, match="window of a"):
        bj.Sersic("a", window=9 * u.nJy)


def test_a_window_may_be_narrower_than_the_psf():
    image = bj.Image(np.zeros((18, 18)), sigma=1.0, psf=bj.PSF.gaussian(6.1, 2.75), pixel_scale=2.75, zeropoint=25.0, band="g")
    values = {"s.x": 0.7, "s.y": -0.4, "s.q": 0.7, "s.pa": 20.0, "s.n": 0.5, "s.r_eff": 2.0, "s.flux[g]": 1e5}
    whole, cut = (bj.Scene(bj.Sersic("s", window=w, position=(0.0, 0.0)), image).render(values)["g"] for w in (None, 9.0))
    assert np.abs(whole - cut).max() < 1e-5 * whole.max()


def test_light_outside_a_window_is_counted_and_said():
    plain, boxes, lost = pair(), {"s0": (76, 97, 26, 47), "s1": (20, 41, 76, 97)}, {}
    components = [bj.Sersic(k, window={"g": [b[:2], b[2:]]}) for k, b in boxes.items()]
    scene = bj.Scene([*components, bj.Sky()], plain.simulate(TRUE, 3))
    best = scene.fit(TRUE, max_iterations=1, progress=False)
    for name, (x0, x1, y0, y1) in boxes.items():
        light = plain.render({**TRUE, "sky.level[g]": 0.0} | {f"{o}.flux[g]": 0.0 for o in boxes if o != name})["g"]
        light[y0:y1, x0:x1] = 0.0
        lost[name] = np.sqrt((light**2).sum())
    assert lost_light(scene, TRUE)["g"] == pytest.approx(lost, rel=0.1)
    strong = scene.fit({**TRUE, "s0.flux[g]": 3e5}, max_iterations=1, progress=False)
    assert "s0's window" in strong.message or max(strong.lost_light["g"].values()) < 1
    assert best.lost_light.keys() == {"g"}


def test_scene_from_finds_and_tells_apart():
    scene = bj.Scene([bj.Sersic("s0"), bj.Point("p"), bj.Sky()], [pair().images[0], pair().images[0].replace(band="r", name="r")])
    values = dict.fromkeys(scene.names, 0.0) | {
        "s0.x": -8.0,
        "s0.y": -7.0,
        "s0.q": 0.6,
        "s0.pa": 40.0,
        "s0.n": 1.2,
        "s0.r_eff": 1.5,
        "p.x": 9.0,
        "p.y": 8.0,
    }
    values |= {f"{s}.flux[{b}]": 2e5 for s in ("s0", "p") for b in "gr"}
    made = bj.scene_from(scene.simulate(values, 5))
    kinds = {type(c).__name__: c.name for c in made.components}
    assert set(kinds) == {"Sersic", "Point", "Sky"} and len(made.components) == 3
    best = made.fit(progress=False)
    assert best.converged
    for kind, name in (("Sersic", "s0"), ("Point", "p")):
        for k in ("x", "y"):
            assert abs(best.values[f"{kinds[kind]}.{k}"] - values[f"{name}.{k}"]) < 4 * best.errors[f"{kinds[kind]}.{k}"]
    with pytest.raises(ValueError, match="Nothing stands out"):
        bj.scene_from(pair().images[0].replace(data=np.random.default_rng(1).normal(size=(120, 120))))


def test_joint_fit_of_exposures_is_that_of_their_stack():
    """Four exposures of one pixel grid, PSF and noise say what their mean does: the likelihoods differ by a constant."""
    one = pair()
    exposures = [im for k in range(4) for im in one.simulate(TRUE, 10 + k)]
    named = [im.replace(name=f"e{k}") for k, im in enumerate(exposures)]
    joint = bj.Scene([bj.Sersic("s0", position=(-8, -7)), bj.Sersic("s1", position=(9, 8)), bj.Sky(level=0.1)], named)
    mean = one.images[0].replace(data=np.mean([im.data for im in exposures], 0), variance=np.full(one.images[0].shape, 0.25))
    stack = bj.Scene([bj.Sersic("s0", position=(-8, -7)), bj.Sersic("s1", position=(9, 8)), bj.Sky(level=0.1)], mean)
    assert joint.names == stack.names
    a, b = joint.fit(progress=False), stack.fit(progress=False)
    assert all(abs(a.values[n] - b.values[n]) < 0.02 * b.errors[n] and abs(a.errors[n] / b.errors[n] - 1) < 0.01 for n in a.names)


def test_a_start_with_a_unit_is_one_all_the_way(tmp_path):
    scene = bj.Scene([bj.Sersic("g", r_eff=bj.Polynomial(1, start=0.05 * u.arcmin)), bj.Sky()], images())
    scene.save(tmp_path / "s.yaml")
    again = bj.Scene.load(tmp_path / "s.yaml", scene.images)
    assert again.components[0].params["r_eff"].start == scene.start["g.r_eff.c0"] == pytest.approx(3.0)


def test_dist_priors_pass_through_links():
    scene = bj.Scene([bj.Sersic("g", n=bj.Polynomial(1, prior=dist.LogNormal(0.0, 0.1), coefficients=dist.Normal(0.0, 0.2))), bj.Sky()], images())
    assert "LogNormal(0, 0.1)" in scene.describe() and "Normal(0, 0.2)" in scene.describe()


def test_a_misplaced_or_misscaled_image_is_noticed():
    base = pair().images[0]
    three = [base.replace(name=n, band=b) for n, b in (("a", "g"), ("b", "g"), ("c", "r"))]
    scene = bj.Scene([bj.Sersic("s", position=(0, 0)), bj.Sky()], three)
    values = {"s.x": 0.0, "s.y": 0.0, "s.q": 0.6, "s.pa": 40.0, "s.n": 1.2, "s.r_eff": 1.5, "s.flux[g]": 1e6, "s.flux[r]": 1e6} | {
        f"sky.level[{n}]": 0.0 for n in "abc"
    }
    good = scene.simulate(values, 4)
    assert not scene.with_images(good).fit(progress=False).warnings
    off = [good[0], good[1].replace(data=good[1].data * 1.1), good[2].shifted(0.1, -0.05)]
    moved = bj.Scene(scene.components, off)
    message = moved.fit(progress=False).message
    other, sign = ("b", "+") if "band g: b by" in message else ("a", "-")  # against the one that tells more
    assert f"Zeropoints appear off, against the other images of band g: {other} by {sign}0." in message
    assert "Images appear offset from a: c by -0." in message and "images=['c'])" in message
    mended = bj.Scene([*scene.components, bj.Shift(0.5, images=["c"]), bj.Zeropoint(0.2, images=["b"])], off).fit(progress=False)
    assert {w.kind for w in mended.warnings} == {"correction", "sigma"} and "c lies -0." in mended.message and "b is off by +0." in mended.message
    for site, value in {"shift.x[c]": -0.1, "shift.y[c]": 0.05, "zeropoint.offset[b]": 2.5 * np.log10(1.1)}.items():
        assert abs(mended.values[site] - value) < 4 * mended.errors[site]


def test_a_light_curve_has_its_covariance_and_limits(tmp_path):
    base = pair().images[0]
    epochs = [base.replace(name=f"e{k}", epoch=58000.0 + 10 * k) for k in (2, 0, 1)]
    scene = bj.Scene([bj.Sersic("host", position=(0, 0)), bj.Point("sn", position=(1.0, 0.5), flux=bj.Param(per="image")), bj.Sky()], epochs)
    values = dict.fromkeys(scene.names, 0.0) | {
        "host.q": 0.6, "host.pa": 40.0, "host.n": 1.2, "host.r_eff": 1.5, "host.flux[g]": 2e5, "sn.x": 1.0, "sn.y": 0.5,
        "sn.flux[e2]": 2e4, "sn.flux[e0]": 0.0, "sn.flux[e1]": 3e4,
    }  # fmt: skip
    post = scene.with_images(scene.simulate(values, 6)).fit(progress=False).laplace(150, seed=1)
    post.save(tmp_path / "p.nc")
    for p in (post, bj.load(tmp_path / "p.nc")):
        curve = p.light_curve("sn")
        assert list(curve["image"]) == ["e0", "e1", "e2"] and list(curve["detected"]) == [False, True, True]
        truth = [values[f"sn.flux[{e}]"] for e in curve["image"]]
        assert (np.abs(curve["flux"].value - truth) < 4 * curve["flux_err"].value).all()
        assert np.allclose(np.sqrt(np.diag(curve.meta["covariance"])), curve["flux_err"].value)
        assert (curve["upper_limit"] > curve["flux"] + 2 * curve["flux_err"]).all() and np.isnan(curve["mag"][0]) and curve["mag"][1] > 0
    with pytest.raises(ValueError, match="no flux by image"):
        post.light_curve("host")
    dark = scene.fixed({"sn.flux[e0]": 0.0}, ["sn.flux[e0]"]).with_images(scene.simulate(values, 6)).fit(progress=False).laplace(100, seed=1)
    assert dark.light_curve("sn")["flux_err"][0] == 0


def test_a_star_moves():
    base = pair().images[0]
    epochs = [base.replace(name=f"e{k}", epoch=57000.0 + 1000 * k) for k in range(4)]
    scene = bj.Scene([bj.Point("star", position=(0, 0), motion=1.0), bj.Sky()], epochs)
    values = dict.fromkeys(scene.names, 0.0) | {"star.x": 0.1, "star.y": -0.2, "star.pm_x": 0.05, "star.pm_y": -0.03, "star.flux[g]": 3e5}
    years = 1.5 * 1000 / 365.25
    by = {im.name: im for im in scene.images}
    assert scene.value(scene.components[0], "x", by["e3"], values) == pytest.approx(0.1 + 0.05 * years)
    best = scene.with_images(scene.simulate(values, 8)).fit(progress=False)
    assert best.converged and all(
        abs(best.values[f"star.{k}"] - values[f"star.{k}"]) < 4 * best.errors[f"star.{k}"] for k in ("x", "y", "pm_x", "pm_y")
    )
    assert best.errors["star.pm_x"] < 0.01
    with pytest.raises(ValueError, match="no epoch"):
        bj.Scene([bj.Point("star", motion=1.0), bj.Sky()], [base])
    assert "&lt;" not in scene._repr_html_()[:5] and "star.pm_x" in scene._repr_html_()


def test_images_of_one_band_at_other_wavelengths_have_values_of_their_own():
    base = pair().images[0]
    several = [base.replace(band=b, name=n, wavelength=w) for b, n, w in (("r", "r1", 0.60), ("r", "r2", 0.62), ("r", "r3", 0.60), ("i", "i", 0.80))]
    disc = bj.Sersic("disc", position=(0, 0), n=1.0, r_eff=bj.Polynomial(1))
    core = bj.Sersic("core", x=disc.x, y=disc.y, n=2.0, r_eff=0.3 * disc.r_eff, q=bj.Function(lambda f, r: 0.9 + 0 * f * r, disc.flux, disc.r_eff))
    scene = bj.Scene([disc, core, bj.Sky()], several)
    values = {**scene.start, "disc.r_eff.c0": 1.5, "disc.r_eff.c1": 0.4}
    seen = {im.name: scene.value(disc, "r_eff", im, values) for im in several}
    assert seen["r1"] == seen["r3"] < seen["r2"] < seen["i"]
    theta = np.array([[values[n] for n in scene.names]])
    table = source_table(scene, theta, values, dict.fromkeys(scene.names, 0.0))
    for name in ("r1", "r2", "r3", "i"):
        for row, factor in ((0, 1.0), (1, 0.3)):
            assert table[f"r_eff_{name}"][row].value == pytest.approx(factor * seen[name])
