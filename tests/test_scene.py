"""A scene as a Pyro model and as a flat density; its charts; scenes made from scenes."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from astropy.io import fits
from conftest import TRUTH, small_scene, two_images

import bayesjoint as bj
from bayesjoint.scene.density import score

F64 = torch.float64


def number(x):
    return float(torch.as_tensor(x).detach())


def without_jacobian(scene, z):
    def theta(x):
        return torch.stack([scene.constrain(x)[n] for n in scene.names])

    return number(scene.log_density(z)) - number(torch.linalg.slogdet(torch.autograd.functional.jacobian(theta, z))[1])


def pyro_density(scene, z):
    values = {n: v.detach() for n, v in scene.constrain(z).items()}
    return number(pyro.poutine.trace(pyro.poutine.condition(scene.model, data=values)).get_trace().log_prob_sum())


CHARTS = {
    "default": {},
    "q alone": {"q": dist.Uniform(0.1, 1.0)},
    "pa alone": {"pa": dist.Normal(30.0, 5.0)},
    "both": {"q": dist.Beta(2.0, 2.0), "pa": dist.Uniform(0.0, 180.0)},
    "sizes": {"n": dist.Uniform(0.3, 8.0), "r_eff": dist.Gamma(2.0, 1.0), "flux": dist.LogNormal(9.0, 2.0)},
    "fixed": {"q": 0.6, "n": bj.Param(value=1.5), "r_eff": bj.Param(prior=dist.LogNormal(0.3, 0.5), start=1.4)},
}


@pytest.mark.parametrize("priors", CHARTS.values(), ids=CHARTS.keys())
def test_flat_density_is_the_pyro_density_plus_the_jacobian(priors, scene):
    made = bj.Scene([bj.Sersic("galaxy", **priors), bj.Sky()], scene.images)
    near = torch.as_tensor(np.random.default_rng(1).standard_normal(len(made.names)) * 0.05)
    points = [made.unconstrain({k: v for k, v in TRUTH.items() if k in made.names}) + near]
    for seed in range(3):
        pyro.set_rng_seed(seed)
        trace = pyro.poutine.trace(made.model).get_trace()
        points.append(made.unconstrain({n: trace.nodes[n]["value"] for n in made.names}))
    for z in points:
        a, b = without_jacobian(made, z), pyro_density(made, z)
        assert abs(a - b) <= 1e-9 * max(1.0, abs(b))
        x = z.clone().requires_grad_(True)
        (g,) = torch.autograd.grad(made.log_density(x), x)
        assert torch.isfinite(g).all()


@pytest.mark.parametrize("priors", CHARTS.values(), ids=CHARTS.keys())
def test_the_gradient_of_one_pass_is_that_of_the_operations_one_by_one(priors, scene):
    """Also far out, where logarithms are held, and at a round galaxy."""
    made = bj.Scene([bj.Sersic("galaxy", **priors), bj.Sky()], scene.images)
    rng = np.random.default_rng(2)
    near = made.unconstrain({k: v for k, v in TRUTH.items() if k in made.names})
    round_ = near.clone()
    round_[[made.names.index(f"galaxy.{k}") for k in ("q", "pa") if f"galaxy.{k}" in made.names]] = 0.0
    for z in (near, near + 0.3 * torch.as_tensor(rng.standard_normal(len(near))), 100 * torch.as_tensor(rng.standard_normal(len(near))), round_):
        x = z.clone().requires_grad_(True)
        theta, t = made.chart.values(x)
        g = torch.as_tensor(rng.standard_normal(len(near)))
        lp = made.chart.log_prior(x, theta, t)
        if not torch.isfinite(lp):
            continue
        (want,) = torch.autograd.grad((theta @ g) + lp, x)
        values, prior, pull = made.chart.scored(z)
        assert torch.allclose(values, theta, rtol=1e-14, atol=0) and float(prior) == pytest.approx(number(lp), rel=1e-13)
        assert torch.allclose(pull(g), want.nan_to_num(0.0), rtol=1e-10, atol=1e-12 * float(want.nan_to_num(0.0).abs().max()))
        for ours, theirs in zip(made.chart.slopes(z), torch.autograd.functional.jacobian(made.chart.values, z), strict=True):
            theirs = theirs.nan_to_num(0.0)
            assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12 * float(theirs.abs().max()))
    by_image, prior, slope = score(made, near)
    x = near.clone().requires_grad_(True)
    likelihoods, again = made.log_parts(x)
    (want,) = torch.autograd.grad(likelihoods.sum() + again, x)
    assert torch.allclose(by_image, likelihoods) and torch.allclose(prior, again) and torch.allclose(slope, want, rtol=1e-10)


def test_gradient_and_second_derivative(scene):
    z = scene.unconstrain(TRUTH).requires_grad_(True)
    assert torch.autograd.gradcheck(scene.log_density, (z,), eps=1e-6, atol=1e-2, rtol=1e-5)
    (g,) = torch.autograd.grad(scene.log_density(z), z, create_graph=True)
    assert torch.autograd.grad(g.sum(), z)[0].isfinite().all()


def test_round_trip_and_graph(scene):
    z = scene.unconstrain(TRUTH)
    back = scene.constrain(z.clone().requires_grad_(True))
    for k, v in TRUTH.items():
        assert abs(number(back[k]) - v) < 1e-9 * max(1, abs(v))
        assert back[k].requires_grad


def test_a_round_galaxy_is_an_ordinary_point(scene):
    """The likelihood is smooth through q = 1: no cusp along a line through the ellipticity plane's origin.

    That is at its best size: elsewhere the bounds of sizes leave a cusp of some 1e-3 of the slope by size.
    """
    sizes = [(number(scene.log_likelihood(scene.unconstrain({**TRUTH, "galaxy.q": 1 - 1e-9, "galaxy.r_eff": r})).sum()), r) for r in np.linspace(1.0, 1.6, 601)]
    z0 = scene.unconstrain({**TRUTH, "galaxy.q": 1 - 1e-9, "galaxy.r_eff": max(sizes)[1]})
    i = scene.names.index("galaxy.q")
    h = 3e-3

    def f(e):
        z = z0.clone()
        z[i] = e
        return number(scene.log_likelihood(z).sum())

    left, middle, right = f(-h), f(0.0), f(h)
    slope_left, slope_right = (middle - left) / h, (right - middle) / h
    second = (f(2 * h) - 2 * f(h) + middle) / h**2
    assert abs((slope_right - slope_left) / h - second) < 0.05 * abs(second) + 1.0


def test_priors_do_not_depend_on_count_unit_or_pixels():
    a = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], two_images())
    images = [im.replace(data=im.data * 1e-9 + 5.0, variance=im.variance * 1e-18, zeropoint=im.zeropoint - 22.5) for im in two_images()]
    b = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], images)
    ours = {s.name: s.prior for s in a.layout.sites}
    theirs = {s.name: s.prior for s in b.layout.sites}
    for name in ("galaxy.flux[g]", "galaxy.flux[i]", "galaxy.x", "galaxy.r_eff"):
        assert float(ours[name].scale) == pytest.approx(float(theirs[name].scale), rel=1e-9)


def test_sharing_is_the_very_same_site(scene):
    bulge = bj.Sersic("bulge", n=4.0)
    made = bj.Scene([bulge, bj.Sersic("disc", x=bulge.x, y=bulge.y, n=1.0), bj.Point("agn", x=bulge.x, y=bulge.y, bands="i")], scene.images)
    assert {n for n in made.names if n.endswith((".x", ".y"))} == {"bulge.x", "bulge.y"}
    assert "agn.flux[i]" in made.names and "agn.flux[g]" not in made.names
    assert not {"bulge.n", "disc.n"} & set(made.names)


def test_fixed_free_and_subset(scene):
    held = scene.fixed(TRUTH, ["galaxy.x", "galaxy.n", "galaxy.flux"])
    assert set(scene.names) - set(held.names) == {"galaxy.x", "galaxy.n", "galaxy.flux[g]", "galaxy.flux[i]"}
    models = scene.render(TRUTH), held.render({k: v for k, v in TRUTH.items() if k in held.names})
    for name in ("g", "i"):
        assert np.allclose(models[0][name], models[1][name], rtol=1e-10)
    assert held.free(["galaxy.n"]).names == scene.fixed(TRUTH, ["galaxy.x", "galaxy.flux"]).names
    one = scene.subset(images=["i"])
    assert [im.name for im in one.images] == ["i"] and "galaxy.flux[g]" not in one.names
    assert scene.subset(components=["galaxy"]).names == tuple(n for n in scene.names if n.startswith("galaxy"))


def test_float32_follows(scene):
    single = bj.Scene([bj.Sersic("galaxy", n=dist.LogNormal(0.7, 0.5)), bj.Sky()], scene.images, dtype=torch.float32)
    double = bj.Scene([bj.Sersic("galaxy", n=dist.LogNormal(0.7, 0.5)), bj.Sky()], scene.images)
    z = double.unconstrain(TRUTH)
    a, b = number(single.log_density(z.float())), number(double.log_density(z))
    assert single.unconstrain(TRUTH).dtype == torch.float32
    assert abs(a - b) < 1e-4 * abs(b)


def test_all_tensors_follow_the_device():
    """On the meta device a stray CPU tensor, or a wait for the device, is an error."""
    images = small_scene().images
    made = bj.Scene(
        [bj.Sersic("galaxy", n=dist.LogNormal(0.7, 0.5), q=dist.Uniform(0.1, 1.0)), bj.Point("p", x=0.1, y=0.2), bj.Sky(order=1)],
        images,
        device="meta",
    )
    z = torch.zeros(len(made.names), dtype=F64, device="meta", requires_grad=True)
    with pyro.validation_enabled(False):
        assert made.log_density(z).device.type == "meta"
        (g,) = torch.autograd.grad(made.log_density(z), z)
        assert g.device.type == "meta" and g.shape == z.shape
        full = made.full(made.chart.values(z.detach())[0])
        for term in made.likelihoods:
            assert term.model(full).device.type == "meta"
            term._scored(full)
            term.normal_equations(full)
        pyro.poutine.trace(made.model).get_trace()


def test_names_of_images():
    a, b = two_images()
    same = [a, a.replace(data=a.data + 1), b]
    made = bj.Scene([bj.Sersic("galaxy")], same)
    assert [im.name for im in made.images] == ["g_1", "g_2", "i"]
    assert [n for n in made.names if "flux" in n] == ["galaxy.flux[g]", "galaxy.flux[i]"]
    each = bj.Scene([bj.Sersic("galaxy", flux=bj.Param(per="image"))], same)
    assert [n for n in each.names if "flux" in n] == ["galaxy.flux[g_1]", "galaxy.flux[g_2]", "galaxy.flux[i]"]


def test_starts_do_not_hang_on_the_unit_of_the_pixels(scene):
    scaled = [im.replace(data=im.data * 1e-12, variance=im.variance * 1e-24, zeropoint=im.zeropoint - 30) for im in scene.images]
    other = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], scaled)
    for name in ("galaxy.x", "galaxy.q", "galaxy.r_eff", "galaxy.flux[g]"):
        assert other.start[name] == pytest.approx(scene.start[name], rel=1e-6)


def test_simulate_is_reproducible_and_right(scene):
    a, b, c = (scene.simulate(TRUTH, seed)[0].data for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    residual = scene.simulate(TRUTH, 5)[0].data - scene.render(TRUTH)["g"]
    assert residual.std() == pytest.approx(0.05, rel=0.05)


def test_describe_names_every_site(scene):
    text = scene.describe()
    assert all(n in text for n in scene.names) and "AxisRatio" in text


def test_the_plan_is_checked_in_units_of_the_noise():
    import dataclasses

    from bayesjoint.scene.planning import BUDGET, render_errors

    image = bj.Image(np.zeros((61, 61)), sigma=1.0, psf=bj.PSF.gaussian(3.6, 1.0), pixel_scale=1.0)
    truth = {"g.x": 0.3, "g.y": -0.2, "g.q": 0.6, "g.pa": 40.0, "g.n": 2.5, "g.r_eff": 5.0, "g.flux[image]": 2e5}
    scene = bj.Scene(bj.Sersic("g"), bj.Scene(bj.Sersic("g"), image).simulate(truth, seed=1))
    plan = scene.plans["image"]["g"]
    coarse = scene._like(plans={"image": {"g": dataclasses.replace(plan, fine=0.4)}}, start=truth)
    true_error = np.linalg.norm(
        coarse.render(truth)["image"] - scene._like(plans={"image": {"g": dataclasses.replace(plan, fine=2.0)}}).render(truth)["image"]
    )
    seen = render_errors(coarse, truth)["image"]
    assert seen > BUDGET and 0.5 < seen / true_error < 2
    best = coarse.fit(truth, progress=False)
    assert best.scene.plans["image"]["g"].fine > 0.4 and best.render_errors["image"] < BUDGET
    assert "too coarsely" not in best.message
    assert scene.plans["image"]["g"] == plan  # a fit never changes its scene


def test_a_sharp_psf_sampled_at_the_pixels_is_named(caplog):
    caplog.set_level("INFO", logger="bayesjoint")
    y, x = np.mgrid[-9:10, -9:10]
    psf = bj.PSF(np.exp(-0.5 * (x**2 + y**2) / 0.9**2))
    faint = bj.Image(np.zeros((31, 31)), sigma=1.0, psf=psf, pixel_scale=1.0)
    scene = bj.Scene(bj.Point("p"), faint)
    assert "oversampled" in scene.describe() and caplog.records[-1].levelname == "INFO"
    bright = faint.replace(data=np.full((31, 31), 1e5))
    bj.Scene(bj.Point("p"), bright)
    assert caplog.records[-1].levelname == "WARNING" and "image" in caplog.records[-1].message
    caplog.clear()
    bj.Scene(bj.Point("p"), faint.replace(psf=bj.PSF.gaussian(2.1, 1.0)))
    assert not [r for r in caplog.records if "oversampled" in r.message]


def test_the_density_is_smooth_along_every_eigen_direction():
    """At S/N 2000, ± 5 sigma along each axis of the posterior and ± 1 px in x and y, the plan held: no step of the log density."""
    g, i = two_images()
    flux = {"galaxy.flux[g]": 6e6, "galaxy.flux[i]": 9e6}
    empty = bj.Scene([bj.Sersic("galaxy", position=(0.3, -0.2)), bj.Sky()], [g, i])
    scene = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], empty.simulate(TRUTH | flux, seed=5))
    best = scene.fit(progress=False)
    models = best.model_images()
    snr = max(np.sqrt(((models[im.name] / im.sigma) ** 2)[im.valid].sum()) for im in best.scene.images)
    assert snr > 2000
    _, axes = torch.linalg.eigh(best.z_covariance)
    sigma = torch.sqrt(torch.diagonal(axes.T @ best.z_covariance @ axes))
    rays = [(axes[:, k] * sigma[k], np.linspace(-5, 5, 21), 1e-6) for k in range(len(sigma))]
    for k in (scene.names.index("galaxy.x"), scene.names.index("galaxy.y")):
        unit = torch.zeros_like(best.z)
        unit[k] = 0.25  # one pixel of g
        crossings = []  # where a box moves on by a pixel, in either image
        for term in best.scene.likelihoods:
            stamp = term.renderer.stamps[0]
            place = torch.tensor([best.values["galaxy.x"], best.values["galaxy.y"]], dtype=torch.float64)
            at, moved = (
                stamp.pixel0 + stamp.inverse @ (place - stamp.sky0),
                stamp.inverse @ unit[[scene.names.index("galaxy.x"), scene.names.index("galaxy.y")]],
            )
            axis = int(moved.abs().argmax())
            crossings += [float((torch.floor(at[axis]) + 0.5 + n - at[axis]) / moved[axis]) for n in (-1, 0, 1)]
        rays.append((unit, [*np.linspace(-1, 1, 21), *crossings], 1e-6))
    for ray, places, h in rays:
        for t in places:
            z = (best.z + t * ray).requires_grad_(True)
            slope = torch.autograd.grad(best.scene.log_density(z), z)[0] @ ray
            with torch.no_grad():
                step = best.scene.log_density(z + h * ray) - best.scene.log_density(z - h * ray)
            assert abs(float(step - 2 * h * slope)) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_interval_has_a_density_far_beyond_rounding(scene, dtype):
    """A sampler's trial may run so far that its value rounds to the end, which a Uniform excludes: the density is that of a Normal there too."""
    made = bj.Scene([bj.Sersic("galaxy", n=dist.Uniform(0.5, 1.3)), bj.Sky()], scene.images, dtype=dtype)
    z, i = made.unconstrain({**made.start, "galaxy.n": 0.9}), made.names.index("galaxy.n")
    for far in (-40.0, -9.0, 9.0, 40.0):
        x = z.clone()
        x[i] = far
        x.requires_grad_(True)
        lp = made.log_prior(x)
        (g,) = torch.autograd.grad(lp, x)
        assert number(lp - made.log_prior(z)) == pytest.approx(-0.5 * (far**2 - number(z[i]) ** 2), rel=1e-5)
        assert number(g[i]) == pytest.approx(-far, rel=1e-5)


def test_images_of_one_band_and_two_instruments_are_said(tmp_path, caplog):
    first = bj.Image(np.random.default_rng(0).normal(size=(21, 21)), sigma=1.0, pixel_scale=0.1, band="F814W", name="a")
    paths = []
    for name, instrument in (("a", "ACS"), ("b", "WFC3"), ("c", "ACS")):
        first.replace(name=name).write(tmp_path / f"{name}.fits")
        with fits.open(tmp_path / f"{name}.fits", mode="update") as hdus:
            hdus[0].header.update({"TELESCOP": "HST", "INSTRUME": instrument})
        paths.append(tmp_path / f"{name}.fits")

    def said(paths, **given):
        caplog.clear()
        bj.Scene([bj.Point("p"), bj.Sky()], [bj.Image.read(p, **given) for p in paths])
        return [r.getMessage() for r in caplog.records if "share its flux" in r.getMessage()]

    assert len(said(paths)) == 1 and "WFC3" in said(paths)[0] and "band=" in said(paths)[0]
    assert not said(paths[::2]) and not said(paths, band="F814W")
