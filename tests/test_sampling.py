"""Sampling: which fits are refused, effective draws, fluxes and skies in closed form, soft edges, several maxima."""

import copy

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from conftest import TRUTH, small_scene
from scipy import stats

import bayesjoint as bj
from bayesjoint.infer.exact import closed_form
from bayesjoint.infer.maxima import Chains, Part, groups, joined
from bayesjoint.infer.search import Mode
from bayesjoint.infer.soft import noise_size, sample_amplitudes
from bayesjoint.infer.targets import Edged, felt_edges
from bayesjoint.posterior import Posterior
from bayesjoint.scene.linear import Linear

SAMPLERS = {
    "laplace": {"draws": 8},
    "svi": {"draws": 8, "max_steps": 5, "progress": False},
    "nuts": {"draws": 4, "warmup": 2, "chains": 1, "progress": False},
}


@pytest.fixture(scope="module")
def faint():
    """Fluxes and skies alone, in one image: three blended sources whose fluxes are not to be negative, two of them faint."""
    empty = bj.Image(np.zeros((21, 21)), sigma=1.0, psf=bj.PSF.gaussian(1.2, 0.5), pixel_scale=0.5, zeropoint=31.4, band="r")
    flux = bj.sky.priors.SoftPositive(2000.0, 0.4)
    places = {"a": -1.0, "b": 0.0, "c": 0.8}
    sources = [bj.Sersic(k, x=x, y=0.0, q=0.8, pa=30.0, n=1.0, r_eff=0.7, flux=flux) for k, x in places.items()]
    scene = bj.Scene([*sources, bj.Sky()], empty)
    truth = {"a.flux[r]": 400.0, "b.flux[r]": 4.0, "c.flux[r]": -6.0, "sky.level[r]": 0.1}
    return bj.Scene(scene.components, scene.simulate(truth, seed=2)).fit(progress=False)


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_fit_that_has_not_converged_is_not_sampled(scene, sampler):
    bad = scene.fit(max_iterations=1, progress=False)
    assert not bad.converged
    with pytest.raises(ValueError, match=r"must have converged .* force=True"):
        getattr(bad, sampler)(**SAMPLERS[sampler])
    post = getattr(bad, sampler)(**SAMPLERS[sampler], force=True)
    assert "had not converged" in post.reasons[0] and not post.converged


def test_a_singular_covariance_is_not_sampled(scene):
    best = scene.fit(progress=False)
    best.singular = True
    with pytest.raises(ValueError, match=r"singular at a bound.*force=True"):
        best.laplace(10)
    assert "singular at a bound" in best.laplace(10, force=True).reasons[0]


# -- effective draws ------------------------------------------------------------------------------------------------------


def test_duplicates_are_no_effective_draws(scene):
    """A tenth of the draws differ, in any order: to ArviZ they are independent."""
    rng = np.random.default_rng(1)
    own = scene.constrain(scene.unconstrain(TRUTH))
    few = np.array([float(v) for v in own.values()]) * (1 + 1e-3 * rng.standard_normal((60, len(own))))
    theta = few[rng.integers(0, 60, 600)][None]
    info = {"sampler": "laplace", "k_hat": 0.1, "importance_ess": 500.0, "resampled": True, "render_errors": {}}
    post = Posterior.of(scene, theta, np.zeros((1, 600, 2)), {"lp": np.zeros((1, 600))}, info)
    assert post.distinct == 60
    summary = post.summary()
    assert (summary["ess_bulk"] <= 60).all() and (summary["ess_tail"] <= 60).all()
    assert summary["flags"].str.contains("few draws").all() and "few draws" in post.table()["flags"][0]
    assert any("60 of the 600 draws are distinct" in r for r in post.reasons)


def test_laplace_and_svi_count_distinct_draws(best):
    for post in (best.laplace(40, seed=1), best.svi(15, seed=1, max_steps=5, progress=False)):
        most = len(np.unique(post.theta[0], axis=0))
        assert post.distinct == most and most <= post.theta.shape[1]
        assert (post.summary()[["ess_bulk", "ess_tail"]] <= most).all(axis=None)


def _chains(scene, theta):
    stats = {"lp": np.zeros(theta.shape[:2])}
    info = {"sampler": "nuts", "render_errors": {}}
    return Posterior.of(scene, theta, np.zeros((*theta.shape[:2], 2)), stats, info)


def test_diagnostics_that_cannot_be_had_are_not_fine(scene):
    rng = np.random.default_rng(2)
    middle = np.array([float(TRUTH[n]) for n in scene.names])
    theta = middle * (1 + 1e-3 * rng.standard_normal((4, 500, len(middle))))
    assert _chains(scene, theta).converged
    stuck = theta.copy()
    stuck[:, :, scene.names.index("galaxy.n")] = 1.5
    post = _chains(scene, stuck)
    assert any("cannot be computed for galaxy.n: its draws are all equal" in r for r in post.reasons)
    flags = post.summary()["flags"]
    assert "R-hat" in flags["galaxy.n"] and "few draws" in flags["galaxy.n"] and not flags["galaxy.x"]
    stuck[0, 3, scene.names.index("galaxy.n")] = np.nan
    assert any("galaxy.n: some of its draws are not finite" in r for r in _chains(scene, stuck).reasons)
    few = _chains(scene, theta[:1, :3])
    assert any("1 x 3 draws are too few" in r for r in few.reasons) and (few.summary()["flags"] != "").all()


# -- fluxes and skies alone -----------------------------------------------------------------------------------------------


def test_fluxes_and_skies_alone_are_drawn_in_closed_form(scene, monkeypatch):
    shapes = [n for n in TRUTH if "[" not in n]
    best = scene.fixed(TRUTH, shapes).fit(progress=False)
    closed_form(best)
    monkeypatch.setattr(bj.scene.likelihood.ImageLikelihood, "log_prob", None)  # no image is drawn for any draw
    posts = {
        "laplace": best.laplace(4000, seed=1),
        "linear": best.laplace(4000, seed=1, marginalize="linear"),
        "svi": best.svi(4000, seed=2, progress=False),
        "nuts": best.nuts(1000, chains=4, seed=3, progress=False, marginalize="auto"),
    }
    monkeypatch.undo()
    covariance = best.z_covariance.numpy()
    sd = np.sqrt(np.diag(covariance))
    for name, post in posts.items():
        x = (post.theta.reshape(-1, len(sd)) - best.z.numpy()) / sd
        assert np.abs(x.mean(0)).max() < 4 / np.sqrt(4000), name
        assert np.abs(np.cov(x.T) - covariance / np.outer(sd, sd)).max() < 6 / np.sqrt(4000)
        assert post.converged and post.k_hat == -np.inf and "closed form" in post.notes[0], post.reasons
        assert post.info["sampler"] == ("laplace" if name == "linear" else name)
        value = post.log_evidence()
        assert value.error == 0 and value.method == "closed form" and not value.words
        assert value.value == pytest.approx(best.log_evidence().value, abs=1e-6)
    assert posts["nuts"].theta.shape == (4, 1000, len(sd))
    z = best.scene.unconstrain(dict(zip(best.names, posts["svi"].theta[0, 7].tolist(), strict=True)))
    by_image, prior = best.scene.log_parts(z)
    groups = posts["svi"].arviz
    assert np.allclose(groups.log_likelihood["image_log_likelihood"].values[0, 7], by_image, rtol=1e-10)
    assert groups.sample_stats["lp"].values[0, 7] == pytest.approx(float(by_image.sum() + prior), rel=1e-10)
    with_weights = best.laplace(50, seed=1, marginalize=None)
    assert np.isfinite(with_weights.k_hat) and not with_weights.notes
    found = with_weights.log_evidence()
    assert abs(found.value - value.value) < 4 * found.error


def test_a_closed_form_survives_saving(scene, tmp_path):
    best = scene.fixed(TRUTH, [n for n in TRUTH if "[" not in n]).fit(progress=False)
    post = best.laplace(50, seed=1)
    post.save(tmp_path / "post.nc")
    again = bj.load(tmp_path / "post.nc")
    assert again.k_hat == -np.inf and again.notes == post.notes and again.reasons == post.reasons
    assert again.log_evidence().value == post.log_evidence().value


# -- soft edges -------------------------------------------------------------------------------------------------------------


def test_one_soft_edge_is_exact():
    """The density of one amplitude, a skew normal: against its distribution function."""
    scene = small_scene().fixed(TRUTH, [n for n in TRUTH if n != "galaxy.flux[g]"])
    best = bj.Scene([bj.Sersic("galaxy", flux=bj.sky.priors.SoftPositive(5e4, 100.0)), bj.Sky()], scene.images)
    best = best.fixed(TRUTH, [n for n in TRUTH if n != "galaxy.flux[g]"]).fit(progress=False)
    linear, _, solution = closed_form(best)
    assert len(linear.soft) == 1
    solution.mean = torch.tensor([-1.5 * float(solution.covariance().sqrt())], dtype=torch.float64)
    noise = torch.as_tensor(np.random.default_rng(1).standard_normal((4000, noise_size(linear))))
    x, weight = sample_amplitudes(solution, noise)
    assert np.ptp(weight.numpy()) < 1e-12
    mean, sd, s = float(solution.mean), float(solution.covariance().sqrt()), float(linear.softness)
    grid = np.linspace(mean - 10 * sd, mean + 10 * sd, 400001)
    density = 2 * stats.norm.pdf(grid, mean, sd) * stats.norm.cdf(grid / s)
    cdf = np.cumsum(density) * (grid[1] - grid[0])
    assert float(weight[0].exp()) == pytest.approx(cdf[-1], rel=1e-5)
    assert stats.kstest(x[:, 0].numpy(), lambda v: np.interp(v, grid, cdf / cdf[-1])).pvalue > 0.01


def test_soft_edges_are_weighed_exactly(faint):
    """Against rejection: draws of the Gaussian, kept with probability Phi(f/s) for each edge."""
    linear, value, solution = closed_form(faint)
    assert len(linear.soft) == 3
    rng = np.random.default_rng(4)
    plain = solution.draw(torch.zeros(len(linear.sites), dtype=torch.float64))
    assert torch.allclose(plain, solution.mean)
    factor = np.linalg.cholesky(solution.covariance().numpy())
    x = solution.mean.numpy() + rng.standard_normal((400000, len(linear.sites))) @ factor.T
    log_factor = linear.log_factor(torch.as_tensor(x)).numpy()
    kept = x[np.log(rng.random(len(x))) < log_factor - 3 * np.log(2)]
    assert len(kept) > 4000
    post = faint.laplace(3000, seed=1)
    y = post.theta[0][:, linear.sites]
    assert post.converged, post.reasons
    assert not post.info["exact"] and post.info["importance_ess"] > 6000
    for k in range(y.shape[1]):
        assert stats.ks_2samp(kept[:, k], y[:, k]).pvalue > 0.01, faint.names[linear.sites[k]]
    found = post.log_evidence()
    assert abs(found.value - value - np.log(np.exp(log_factor).mean())) < 4 * found.error + 0.02
    z = faint.scene.unconstrain(dict(zip(faint.names, post.theta[0, 7].tolist(), strict=True)))
    assert post.arviz.sample_stats["lp"].values[0, 7] == pytest.approx(float(faint.scene.log_density(z)), rel=1e-10)


@pytest.fixture(scope="module")
def faint_disc():
    """Bulge and disc of one centre, the disc lost in the noise; the size of the bulge and both fluxes free. With the exact density of the size."""
    empty = bj.Image(np.zeros((15, 15)), sigma=1.0, psf=bj.PSF.gaussian(1.0, 0.5), pixel_scale=0.5, zeropoint=31.4, band="r")
    flux, round_ = bj.sky.priors.SoftPositive(3000.0, 0.5), {"x": 0.0, "y": 0.0, "q": 0.99, "pa": 0.0}
    bulge = bj.Sersic("bulge", n=1.5, r_eff=dist.LogNormal(0.0, 0.5), flux=flux, **round_)
    scene = bj.Scene([bulge, bj.Exponential("disc", r_eff=1.8, flux=flux, **round_)], empty)
    truth = {"bulge.r_eff": 0.9, "bulge.flux[r]": 120.0, "disc.flux[r]": 6.0}
    best = bj.Scene(scene.components, scene.simulate(truth, seed=4)).fit(progress=False)
    linear = Linear(best.scene, best.scene.chart.values(best.z)[0])
    grid = torch.linspace(-2.0, 1.2, 161, dtype=torch.float64)
    lp = []
    for x in grid:
        with torch.no_grad():
            value, solution = linear.evaluate(x[None])
        covariance = solution.covariance().numpy() + 0.25 * np.eye(2)
        lp.append(float(value) + np.log(4 * stats.multivariate_normal(np.zeros(2), covariance).cdf(solution.mean.numpy())))
    density = np.exp(np.array(lp) - max(lp))
    log_z = float(np.log(density.sum() * float(grid[1] - grid[0])) + max(lp))
    x = grid.numpy()
    mean = (x * density).sum() / density.sum()
    return best, log_z, mean, np.sqrt(((x - mean) ** 2 * density).sum() / density.sum())


@pytest.mark.parametrize("method", ["laplace", *(pytest.param(m, marks=pytest.mark.slow) for m in ("svi", "nuts"))])
def test_fluxes_are_integrated_out_with_the_edges_exactly(faint_disc, method):
    best, log_z, mean, sd = faint_disc
    assert best.values["disc.flux[r]"] < 2 * best.errors["disc.flux[r]"]
    options = {"laplace": {"draws": 300}, "svi": {"draws": 150, "max_steps": 50, "progress": False}}
    options["nuts"] = {"draws": 150, "warmup": 40, "chains": 1, "progress": False}
    post = getattr(best, method)(seed=1, **options[method])
    assert post.info["marginalize"] == ("" if method == "nuts" else "linear")
    x = np.log(post.draws("bulge.r_eff"))
    error = sd / np.sqrt(float(post.diagnostics["ess_bulk"].min()))
    assert abs(x.mean() - mean) < 4 * error and x.std() == pytest.approx(sd, rel=0.25)
    assert post.draws("disc.flux[r]").min() > -3.0
    lp = post.arviz.sample_stats["lp"].values
    z = best.scene.unconstrain(dict(zip(best.names, post.theta[0, 7].tolist(), strict=True)))
    assert lp[0, 7] == pytest.approx(float(best.scene.log_density(z)), rel=1e-9)
    if method == "nuts":
        assert int(post.arviz.sample_stats["diverging"].sum()) <= 2  # a wall makes every second one diverge
    else:
        found = post.log_evidence()
        assert abs(found.value - log_z) < 4 * found.error < 0.5


def test_coordinates_without_a_wall_are_of_the_same_density(faint_disc):
    """The density of the scene is that in these coordinates, integrated over the number that each edge brings."""
    best = faint_disc[0]
    edges = felt_edges(best)
    assert [best.names[i] for i in edges] == ["disc.flux[r]"]
    target = Edged(best.scene, best.z, best.z_covariance, edges)
    assert target.departure() < 6
    x = target.flat(0.5 * torch.randn(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(target.log_density(x), x)
    steps = 1e-5 * torch.diagonal(target.lower).detach()
    assert torch.allclose(gradient * steps / 1e-5, differences_in(target.log_density, x, steps) * steps / 1e-5, rtol=1e-4, atol=1e-4)
    # at a given flux: the integral over e of the density of (u, e), u = f + s e
    u, s = torch.linspace(1e-6, 4.0, 801, dtype=torch.float64), float(target.softness)
    flux, place, terms = 1.0, x.detach().clone(), []
    for value in u:
        place[2], place[3] = target._flat(value[None])[0], (float(value) - flux) / s
        whole, extra = target._whole(place)
        slope = float(torch.autograd.functional.jacobian(target._flat, value[None]))
        terms.append(float(extra.exp()) * slope / s)
        assert float(whole[2]) == pytest.approx(flux, abs=1e-6)
    assert float(torch.trapezoid(torch.tensor(terms, dtype=torch.float64), u)) == pytest.approx(1.0, abs=1e-3)  # times the scene's own density


def differences_in(f, x, steps):
    """Slope of a scalar function by central differences, each coordinate by its own step."""
    with torch.no_grad():
        return torch.stack([(f(x + d) - f(x - d)) / (2 * s) for d, s in zip(torch.diag(steps), steps, strict=True)])


@pytest.mark.slow
def test_chains_of_the_structure_are_resampled_by_the_edges(faint_disc):
    best, _, mean, sd = faint_disc
    post = best.nuts(150, warmup=40, chains=2, seed=1, marginalize="linear", progress=False)
    x = np.log(post.draws("bulge.r_eff"))
    ess = float(post.diagnostics["ess_bulk"].min())
    assert abs(x.mean() - mean) < 4 * sd / np.sqrt(ess) and post.distinct < 300 and post.info["edge_k_hat"] < 0.7


def test_a_guide_without_weights_leaves_edges_to_the_draws(faint_disc):
    best = faint_disc[0]
    with pytest.raises(ValueError, match=r"far above the edge of their prior at 0 .* resample=True"):
        best.svi(10, marginalize="linear", resample=False, progress=False)
    assert best.svi(10, resample=False, max_steps=5, progress=False).info["marginalize"] == ""


# -- several maxima ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_maxima():
    """One point in the model, two in the pixels: maxima of the posterior at either, and the log density of x without the flux."""
    empty = bj.Image(np.zeros((11, 25)), sigma=1.0, psf=bj.PSF.gaussian(1.0, 0.5), pixel_scale=0.5, zeropoint=31.4, band="r")
    both = bj.Scene([bj.Point("a", x=-2.5, y=0.0), bj.Point("b", x=2.5, y=0.0)], empty)
    image = empty.replace(data=both.render({"a.flux[r]": 25.0, "b.flux[r]": 24.8})["r"])  # without noise, which would choose
    scene = bj.Scene([bj.Point("a", x=dist.Normal(0.0, 3.0), y=0.0)], image)
    ends = [scene.fit(start={"a.x": x, "a.flux[r]": 25.0}, progress=False) for x in (-2.5, 2.5)]
    heights = np.array([e.log_density + 0.5 * float(torch.logdet(e.z_covariance)) for e in ends])
    weights = np.exp(heights - heights.max()) / np.exp(heights - heights.max()).sum()
    modes = [Mode(e.z, e.z_covariance, e.log_density, h, w) for e, h, w in zip(ends, heights, weights, strict=True)]
    first = int(np.argmax(weights))
    best = ends[first]
    best.modes = [modes[first], modes[1 - first]]
    linear = Linear(scene, best.scene.chart.values(best.z)[0])
    grid = torch.linspace(-4.5, 4.5, 601, dtype=torch.float64)
    with torch.no_grad():
        lp = np.array([float(linear.log_density(x[None])) for x in grid])
    density = np.exp(lp - lp.max())
    step = float(grid[1] - grid[0])
    beyond = density[(grid > 0).numpy() != (float(best.values["a.x"]) > 0)].sum() / density.sum()
    return best, float(np.log(density.sum() * step) + lp.max()), float(beyond)


def _beyond(post, best):
    return float((np.sign(post.draws("a.x")) != np.sign(best.values["a.x"])).mean())


def test_the_toy_has_two_maxima(two_maxima):
    best, _, beyond = two_maxima
    assert 0.1 < beyond < 0.5 and best.modes[1].weight == pytest.approx(beyond, abs=0.05)


@pytest.mark.parametrize("method", ["laplace", "laplace, joint", "svi"])
def test_weighed_samplers_draw_from_both_maxima(two_maxima, method):
    best, exact, beyond = two_maxima
    if method == "svi":
        post = best.svi(200, seed=1, max_steps=30, progress=False)
    else:
        post = best.laplace(200, seed=1, marginalize=None if "joint" in method else "auto")
    assert _beyond(post, best) == pytest.approx(beyond, abs=0.1)
    assert post.info["maxima"][1] == pytest.approx(beyond, abs=0.04)
    assert f"2 maxima; the second holds {100 * post.info['maxima'][1]:.2g} % of it" in post.notes[0]
    assert post.k_hat < 0.5 and "maxima" in repr(post)
    found = post.log_evidence()
    assert abs(found.value - exact) < 4 * found.error
    assert best.log_evidence().value == pytest.approx(exact, abs=0.1)


def test_a_guide_that_is_not_resampled_says_that_it_holds_one_maximum(two_maxima):
    best, _, _ = two_maxima
    post = best.svi(30, seed=1, max_steps=20, progress=False, resample=False)
    assert _beyond(post, best) == 0.0
    assert any("the first alone" in r for r in post.reasons) and not post.notes


@pytest.mark.parametrize("marginalize", [None, pytest.param("linear", marks=pytest.mark.slow)])
def test_nuts_weighs_its_maxima_by_their_evidence(two_maxima, marginalize):
    best, exact, beyond = two_maxima
    options = {"chains": 2, "seed": 1, "progress": False, "marginalize": marginalize}
    post = best.nuts(100, **options)
    assert post.theta.shape == (2, 100, 2)
    share = post.info["maxima"][1]
    assert share == pytest.approx(beyond, abs=0.05) and _beyond(post, best) == pytest.approx(share, abs=0.01)
    assert "the second holds" in post.notes[0]
    found = post.log_evidence()
    assert abs(found.value - exact) < 4 * found.error < 0.8 and found.method == "bridge sampling"
    assert (post.diagnostics["r_hat"] < 1.05).all() and (post.diagnostics["ess_bulk"] <= 200).all()


def test_chains_that_do_not_mix_are_not_weighed_alike(two_maxima):
    """A fit that knows of one maximum, and chains that ended about two: one at the first, three at the other."""
    best, _, beyond = two_maxima
    chains = []
    for mode, count in zip(best.modes, (1, 3), strict=True):
        lone = copy.copy(best)
        lone.z, lone.z_covariance, lone.modes = mode.z, mode.covariance, [mode]
        post = lone.nuts(80, chains=count, seed=2, progress=False)
        z = np.stack([best.scene.unconstrain(dict(zip(best.names, t, strict=True))).numpy() for t in post.theta.reshape(-1, 2).tolist()])
        ll = post.arviz.log_likelihood["image_log_likelihood"].values
        chains.append(Chains(z.reshape(post.theta.shape), ll, {"lp": post.arviz.sample_stats["lp"].values}))
    everything = Chains(*(np.concatenate([getattr(c, k) for c in chains]) for k in ("z", "log_likelihood")), {"lp": np.concatenate([c.stats["lp"] for c in chains])})
    none = np.zeros(0, dtype=int)
    found = groups(everything, none)
    assert [g.tolist() for g in found] == [[0], [1, 2, 3]]
    parts = [Part.of(z.mean(0), np.cov(z.T)) for z in (everything.z[g].reshape(-1, 2) for g in found)]
    post = joined(best.scene, everything, parts, (4, 80), {"sampler": "nuts", "seed": 1})
    assert _beyond(post, best) == pytest.approx(beyond, abs=0.1)  # 0.75 of the chains are there
