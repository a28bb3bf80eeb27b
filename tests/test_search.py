"""The search for the highest maximum, and the priors that keep it within what galaxies are."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from conftest import differences, small_scene, two_images
from scipy import integrate, optimize, stats

import bayesjoint as bj
from bayesjoint.infer.library import Library
from bayesjoint.infer.search import concentric, overlapping
from bayesjoint.scene.linear import Linear, soft_mode
from bayesjoint.sky.border import border_of
from bayesjoint.sky.priors import SoftPositive, TruncatedLogNormal, TruncatedNormal

QUIET = {"progress": False}
SHAPES = {
    "bulge.x": 0.1, "bulge.y": -0.05, "bulge.q": 0.8, "bulge.pa": 60.0, "bulge.n": 2.5, "bulge.r_eff": 0.5,
    "disc.q": 0.5, "disc.pa": 100.0, "disc.r_eff": 1.8,
}  # fmt: skip
FLUXES = {"bulge.flux[g]": 4e4, "bulge.flux[i]": 9e4, "disc.flux[g]": 1e5, "disc.flux[i]": 1.2e5, "sky.level[g]": 0.01, "sky.level[i]": 0.5}


def t(v):
    return torch.tensor(v, dtype=torch.float64)


def bulge_and_disc(images, disc=bj.Exponential, **more):
    bulge = bj.Sersic("bulge", **more)
    return bj.Scene([bulge, disc("disc", x=bulge.x, y=bulge.y), bj.Sky()], images)


@pytest.fixture(scope="module")
def drawn():
    return bulge_and_disc(two_images(), position=(0.1, -0.05)).simulate(SHAPES | FLUXES, seed=5)


@pytest.fixture(scope="module")
def best(drawn):
    return bulge_and_disc(drawn).fit(**QUIET)


# -- priors ---------------------------------------------------------------------------------------------------------------
def test_a_truncated_prior_is_the_cut_distribution():
    prior = TruncatedLogNormal(t(np.log(2.0)), t(0.6), t(0.3), t(8.0))
    x = np.linspace(0.31, 7.99, 50)
    whole = stats.lognorm(0.6, scale=2.0)
    wanted = whole.logpdf(x) - np.log(whole.cdf(8.0) - whole.cdf(0.3))
    np.testing.assert_allclose(prior.log_prob(t(x)), wanted, rtol=1e-12)
    assert prior.log_prob(t(8.1)) == prior.log_prob(t(0.2)) == -np.inf
    normal = TruncatedNormal(t(0.0), t(0.5), t(-10.0), t(1.9))
    np.testing.assert_allclose(normal.log_prob(t(x[:10])), stats.truncnorm(-20, 3.8, 0, 0.5).logpdf(x[:10]), rtol=1e-10)
    torch.manual_seed(1)
    assert stats.kstest(prior.sample((4000,)).numpy(), lambda v: (whole.cdf(v) - whole.cdf(0.3)) / (whole.cdf(8.0) - whole.cdf(0.3))).pvalue > 0.01


@pytest.mark.parametrize("far", [0.0, 2.0, 5.0, 30.0])
def test_its_coordinate_goes_to_the_bounds_and_back(far):
    line = TruncatedLogNormal(t(0.0), t(1.0), t(0.1), t(20.0)).line
    x = t([-far, far])
    y = line(x)
    assert bool(((y >= 0.1) & (y <= 20.0)).all())
    back = line.inv(y)
    assert bool(back.isfinite().all()) and (far > 5 or torch.allclose(back, x, atol=1e-6))
    assert bool(line.inv(t([0.05, 21.0])).isnan().all())
    h = 1e-5
    np.testing.assert_allclose(line.slope(x, y), (line(x + h) - line(x - h)) / (2 * h), rtol=1e-4, atol=1e-9)


def test_a_soft_positive_prior_is_a_skew_normal():
    prior, x = SoftPositive(t(100.0), t(2.0)), np.linspace(-10, 300, 40)
    skew = stats.skewnorm(50.0, scale=100.0)
    np.testing.assert_allclose(prior.log_prob(t(x)), skew.logpdf(x), rtol=1e-9)
    assert (float(prior.mean), float(prior.stddev)) == pytest.approx((skew.mean(), skew.std()), rel=1e-9)
    torch.manual_seed(1)
    assert stats.kstest(prior.sample((4000,)).numpy(), skew.cdf).pvalue > 0.01


def test_the_density_is_one_everywhere(drawn):
    """Flat density, Pyro's trace and the integral over fluxes are of the same priors, at bounds and edges too."""
    scene = bulge_and_disc(drawn)
    assert isinstance(scene.layout.sites[scene.names.index("disc.flux[g]")].prior, SoftPositive)
    values = SHAPES | FLUXES | {"bulge.n": 7.9, "disc.flux[g]": -30.0}
    z = scene.unconstrain(values).requires_grad_()
    (g,) = torch.autograd.grad(scene.log_density(z), z)
    torch.testing.assert_close(g, differences(scene.log_density, z.detach(), 1e-6), rtol=1e-4, atol=0.5)
    theta, lp, _ = scene.chart.scored(z.detach())
    assert float(lp) == pytest.approx(float(scene.log_prior(z.detach())), rel=1e-12)
    linear = Linear(scene, theta)
    k = linear.sites.index(scene.names.index("disc.flux[g]"))
    assert float(linear.softness[k]) > 0 and np.isnan(float(linear.softness[-1]))
    amplitudes = theta[linear.sites].double()
    prior = sum(float(scene.layout.sites[i].prior.log_prob(theta[i])) for i in linear.sites)
    gauss = sum(
        float(stats.norm(float(m), float(p) ** -0.5).logpdf(float(a)))
        for m, p, a in zip(linear.mean, linear.precision, amplitudes, strict=True)
    )
    assert prior == pytest.approx(gauss + float(linear.log_factor(amplitudes)), rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_the_mode_of_soft_fluxes_is_the_highest(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(6, 4))
    precision, mean, softness = a.T @ a + 0.1 * np.eye(4), rng.normal(0, 3, 4), np.array([0.1, 0.3])

    def minus(x):
        return 0.5 * (x - mean) @ precision @ (x - mean) - stats.norm.logcdf(x[:2] / softness).sum()

    found = soft_mode(t(precision), t(mean), torch.tensor([0, 1]), t(softness)).numpy()
    wanted = optimize.minimize(minus, np.abs(mean), method="BFGS", options={"gtol": 1e-9})
    assert minus(found) <= wanted.fun + 1e-6


def test_only_what_shares_a_centre_is_not_negative(drawn):
    def kinds(*components):
        scene = bj.Scene([*components, bj.Sky()], drawn)
        return {s.component.name: type(s.prior).__name__ for s in scene.layout.sites if s.spec.unit == "flux"}

    a, p = bj.Sersic("a"), bj.Sersic("p")
    assert kinds(bj.Sersic("a"), bj.Sersic("b")) == {"a": "Normal", "b": "Normal"}
    assert kinds(a, bj.Sersic("b", x=a.x, y=a.y), bj.Point("c", x=a.x, y=a.y)) == {"a": "SoftPositive", "b": "SoftPositive", "c": "Normal"}
    assert kinds(bj.Sersic("a", x=0.1, y=0.2), bj.Sersic("b", x=0.1, y=0.2)) == {"a": "SoftPositive", "b": "SoftPositive"}
    assert kinds(p, bj.Sersic("b", x=p.x)) == {"p": "Normal", "b": "Normal"}


def test_bounds_are_told_and_kept(drawn):
    scene = bj.Scene([bj.Sersic("g"), bj.Sky()], drawn)
    side = max(n * im.pixel_scale for im in drawn for n in im.shape)
    size = scene.layout.sites[scene.names.index("g.r_eff")].prior
    assert (float(size.low), float(size.high)) == pytest.approx((0.1 * 0.25, 2 * side), rel=1e-6)
    assert "TruncatedLogNormal(0.69315, 0.6, 0.3, 8)" in scene.describe()
    with pytest.raises(ValueError, match=r"g.n must be within its prior, 0.3 to 8; got 9"):
        scene.fit({"g.n": 9.0}, **QUIET)


def test_data_that_press_against_a_bound_end_there(drawn):
    """A point drawn wide: its size goes to the least there is, in few steps."""
    empty = bj.Scene([bj.Point("p", position=(0.1, 0.0)), bj.Sky()], two_images())
    images = empty.simulate({"p.x": 0.1, "p.y": 0.0, "p.flux[g]": 3e5, "p.flux[i]": 4e5, "sky.level[g]": 0.0, "sky.level[i]": 0.0}, seed=2)
    best = bj.Scene([bj.Sersic("g", n=bj.Param(prior=dist.LogNormal(0.0, 0.1))), bj.Sky()], images).fit(**QUIET)
    assert best.converged and 0.025 <= best.values["g.r_eff"] < 0.1 and len(best.history) < 60
    again = best.scene.fit(best, **QUIET)
    assert again.converged and again.log_density == pytest.approx(best.log_density, abs=0.01)


# -- the search -----------------------------------------------------------------------------------------------------------
def test_it_ends_where_the_truth_leads(best, drawn):
    scene = bulge_and_disc(drawn)
    from_truth = scene.fit(SHAPES | FLUXES, **QUIET)
    assert best.converged and best.log_density > from_truth.log_density - 0.1
    assert list(best.restarts.colnames) == ["log_density", "chi2", "count"] and best.restarts["count"].sum() >= 2
    assert "starts led to this maximum" in best.message
    assert sum(m.weight for m in best.modes) == pytest.approx(1.0) and best.modes[0].log_density == best.log_density
    total = np.logaddexp.reduce([m.log_evidence for m in best.modes])
    assert total == pytest.approx(float(best.log_evidence().value), abs=1e-6)


def test_so_does_any_order_of_the_components(best, drawn):
    disc = bj.Exponential("disc")
    turned = bj.Scene([disc, bj.Sersic("bulge", x=disc.x, y=disc.y), bj.Sky()], drawn).fit(**QUIET)
    assert turned.log_density == pytest.approx(best.log_density, abs=0.1)


def test_of_two_of_a_kind_the_first_is_the_smaller(drawn):
    both = bulge_and_disc(drawn, disc=bj.Sersic)
    found = both.fit(**QUIET)
    assert found.values["bulge.r_eff"] < found.values["disc.r_eff"]
    assert found.restarts["log_density"][0] == pytest.approx(found.log_density, abs=1e-6)


def test_components_of_one_centre_begin_at_its_light_and_at_different_sizes(drawn):
    start = bulge_and_disc(drawn).start
    assert start["bulge.r_eff"] < 0.6 * start["disc.r_eff"]
    assert start["bulge.q"] == start["disc.q"] and start["bulge.pa"] == start["disc.pa"]


def test_a_disc_seen_edge_on_is_found_in_a_round_bulge():
    """It is thinner than the light of both."""
    thin = {"bulge.q": 0.95, "bulge.n": 4.0, "bulge.r_eff": 1.0, "disc.q": 0.1, "disc.pa": 100.0, "disc.r_eff": 2.5}
    bright = {k: 20 * v for k, v in FLUXES.items() if "flux" in k}
    shared = bulge_and_disc(two_images(), disc=bj.Sersic, position=(0.1, -0.05))
    images = shared.simulate(SHAPES | FLUXES | thin | bright | {"disc.n": 1.0}, seed=6)
    scene = bulge_and_disc(images, disc=bj.Sersic)
    at_truth = scene.fit(SHAPES | FLUXES | thin | bright | {"disc.n": 1.0}, **QUIET)
    found = scene.fit(**QUIET)
    assert found.log_density > at_truth.log_density - 0.1
    assert min(found.values[f"{c}.q"] for c in ("bulge", "disc")) == pytest.approx(0.1, abs=0.03)


def test_a_clean_galaxy_is_not_searched():
    best = small_scene().fit(**QUIET)
    assert len(best.restarts) == 1 and best.restarts["count"][0] == 1 and "starts" not in best.message


def test_how_many_starts(drawn):
    scene = bulge_and_disc(drawn)
    assert scene.fit(starts=1, **QUIET).restarts["count"].sum() == 1
    assert scene.fit(starts=4, **QUIET).restarts["count"].sum() >= 4
    assert scene.fit(scene.start, **QUIET).restarts["count"].sum() == 1
    for wrong in (0, 1.5, "many", True):
        with pytest.raises(ValueError, match="starts must be 'auto' or a positive whole number"):
            scene.fit(starts=wrong, **QUIET)


def test_groups(drawn):
    a, c = bj.Sersic("a"), bj.Sersic("c")
    scene = bj.Scene([a, bj.Exponential("b", x=a.x, y=a.y), c, bj.Point("p"), bj.Sky()], drawn)
    assert [[g.name for g in group] for group in concentric(scene)] == [["a", "b"]]
    near = dict(scene.start) | {"a.x": 0.0, "a.y": 0.0, "a.r_eff": 1.0, "b.r_eff": 2.0, "c.x": 3.0, "c.y": 0.0, "c.r_eff": 1.0}
    assert [[g.name for g in group] for group in overlapping(scene, near)] == [["a", "b", "c"]]
    assert [[g.name for g in group] for group in overlapping(scene, near | {"c.x": 30.0})] == [["a", "b"]]


def test_the_library_compares_by_chi2(drawn):
    """What the best fluxes of a combination take off chi² is what solving for them gives."""
    scene = bulge_and_disc(drawn)
    first = scene.start
    library = Library.of(scene, first, concentric(scene)[0], [])
    ranked = library.ranked(50)
    linear = Linear(scene, scene.vector(first))

    def chi2(values):
        z, _ = linear.profile(scene.unconstrain(values))
        return sum((r**2).sum() for r in scene.residuals({k: float(v) for k, v in scene.constrain(z).items()}).values())

    gains = np.array([row[2] for row in ranked])
    exact = np.array([-0.5 * chi2(row[0]) for row in ranked[::7]])
    assert (np.diff(gains) <= 0).all()
    np.testing.assert_allclose(gains[::7] - gains[0], exact - exact[0], atol=1.0)
    above = bj.Sersic("bulge")
    ordered = bj.Scene([above, bj.Exponential("disc", x=above.x, y=above.y, r_eff=bj.Above(above.r_eff)), bj.Sky()], drawn)
    rows = Library.of(ordered, ordered.start, concentric(ordered)[0], []).ranked(20)
    assert all(v["disc.r_eff.above"] > 0 for v, *_ in rows)
    free = bj.Sersic("bulge")
    tied = bj.Scene([free, bj.Exponential("disc", x=free.x, y=free.y, r_eff=2.0 * free.r_eff), bj.Sky()], drawn)
    assert Library.of(tied, tied.start, concentric(tied)[0], []) is None and tied.fit(**QUIET).converged


# -- the sky of the border ----------------------------------------------------------------------------------------------------
def test_a_sky_held_near_the_border(drawn):
    rng = np.random.default_rng(3)
    j, i = np.indices((80, 90))
    light = 50 * np.exp(-np.hypot(i - 45, j - 40) / 15.0)  # it fills the image
    image = bj.Image(2.0 + light + rng.normal(0, 0.3, light.shape), sigma=0.3, pixel_scale=0.3, zeropoint=25.0, band="r")
    border = border_of(image)
    assert border.level > 2.0 and abs(border.level - 2.0) < 2 * border.light
    scene = bj.Scene([bj.Sersic("g"), bj.Sky(level="border")], [image])
    prior = scene.layout.sites[scene.names.index("sky.level[r]")].prior
    assert float(prior.loc) == border.level and float(prior.scale) >= border.light
    assert "sky.level is held near the level of each image's border" in scene.describe()
    flat = bj.Image(2.0 + rng.normal(0, 0.3, light.shape), sigma=0.3, pixel_scale=0.3, zeropoint=25.0, band="r")
    assert border_of(flat).level == pytest.approx(2.0, abs=0.06) and border_of(flat).light < 0.1
    hidden = image.replace(mask=np.hypot(i - 45, j - 40) > 25)
    with pytest.raises(ValueError, match="must have 20 pixels in use"):
        bj.Scene([bj.Sersic("g"), bj.Sky(level="border")], [hidden])


def test_a_skew_normal_s_integral_is_one():
    prior = SoftPositive(t(10.0), t(0.1))
    total = integrate.quad(lambda f: float(prior.log_prob(t(f)).exp()), -2, 80, limit=300)[0]
    assert total == pytest.approx(1.0, abs=1e-8)
