"""Evidence, leave-one-out, predictive checks and comparisons: against exact values, and by what they must and must not say."""

import re
import warnings

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from conftest import ROOT
from scipy import ndimage
from scipy.special import gammaln, logsumexp
from torch.distributions import constraints

import bayesjoint as bj
from bayesjoint.infer.bridge import crossed
from bayesjoint.infer.evidence import evidence
from bayesjoint.posterior import arviz_seam as seam
from bayesjoint.posterior.loo import _leave_out

PSF = bj.PSF.gaussian(2.5, 1.0)
TRUTH = {"galaxy.x": 0.2, "galaxy.y": -0.3, "galaxy.q": 0.6, "galaxy.pa": 40.0, "galaxy.n": 1.3, "galaxy.r_eff": 4.0, "galaxy.flux[r]": 1200.0}


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("ERROR", "bayesjoint")


class Linear:
    """Two images, one star in its place, fluxes and skies free with Normal priors: everything is known exactly."""

    def __init__(self):
        def scene(images):
            star = bj.Point("star", x=0.0, y=0.0, flux=dist.Normal(40.0, 30.0))
            return bj.Scene([star, bj.Sky(level=dist.Normal(0.0, 1.0))], images)

        mask = np.zeros((17, 15), bool)
        mask[3, 4:6] = True
        empty = [
            bj.Image(np.zeros((16, 17)), sigma=1.0, pixel_scale=1.0, psf=PSF, band="a"),
            bj.Image(np.zeros((17, 15)), sigma=0.7, pixel_scale=1.1, psf=PSF, band="b", mask=mask),
        ]
        truth = {"star.flux[a]": 30.0, "star.flux[b]": 60.0, "sky.level[a]": 0.3, "sky.level[b]": -0.4}
        self.scene = scene(scene(empty).simulate(truth, seed=5))
        self.names = self.scene.names
        zero = dict.fromkeys(self.names, 0.0)
        one = [self.scene.render({**zero, n: 1.0}) for n in self.names]
        images = self.scene.images
        self.a = np.concatenate([np.stack([o[im.name][im.valid] / im.sigma[im.valid] for o in one]) for im in images], 1)
        y = np.concatenate([im.data[im.valid] / im.sigma[im.valid] for im in images])
        log_sigma = np.concatenate([np.log(im.sigma[im.valid]) for im in images])
        loc, scale = (np.array([float(getattr(s.prior, k)) for s in self.scene.layout.sites]) for k in ("loc", "scale"))
        whole = np.eye(y.size) + (self.a.T * scale**2) @ self.a
        d = y - self.a.T @ loc
        self.log_z = -0.5 * (y.size * np.log(2 * np.pi) + np.linalg.slogdet(whole)[1] + d @ np.linalg.solve(whole, d)) - log_sigma.sum()
        self.cov = np.linalg.inv(self.a @ self.a.T + np.diag(scale**-2))
        self.mean = self.cov @ (self.a @ y + loc / scale**2)
        h = np.einsum("ip,ij,jp->p", self.a, self.cov, self.a)
        self.elpd = -0.5 * np.log(2 * np.pi / (1 - h)) - 0.5 * (y - self.a.T @ self.mean) ** 2 / (1 - h) - log_sigma


@pytest.fixture(scope="module")
def linear():
    return Linear()


@pytest.fixture(scope="module")
def posts(linear):
    best = linear.scene.fit(progress=False)
    return {
        "laplace": best.laplace(draws=500, seed=1, marginalize=None),
        "svi": best.svi(draws=500, seed=1, progress=False, marginalize=None),
        "nuts": best.nuts(draws=200, warmup=40, chains=2, seed=1, progress=False, workers=1, marginalize=None),
    }


def _chains(scene, theta):
    """Draws as if nuts had made them."""
    lp = [float(scene.log_density(scene.unconstrain(dict(zip(scene.names, t, strict=True))))) for t in theta.reshape(-1, theta.shape[-1])]
    lp = np.reshape(lp, theta.shape[:2])
    return bj.Posterior.of(scene, theta, lp[..., None], {"lp": lp, "diverging": lp > 0, "energy": -lp}, {"sampler": "nuts"})


# -- evidence -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["laplace", "svi", "nuts"])
def test_evidence_of_a_linear_scene_is_exact_within_its_error(linear, posts, method):
    found = posts[method].log_evidence(draws=1000)
    assert abs(found.value - linear.log_z) < 4 * found.error + 1e-6 and found.error < 0.05
    assert not [w for w in found.words if "draws themselves" not in w]
    assert found.method == ("bridge sampling" if method == "nuts" else "importance sampling")


def test_laplace_evidence_of_a_linear_scene_is_exact(linear):
    found = linear.scene.fit(progress=False).log_evidence()
    assert found.value == pytest.approx(linear.log_z, abs=1e-6) and np.isnan(found.error) and not found.words


def test_evidence_of_a_bent_posterior_is_that_of_quadrature():
    """Axis ratio and angle by quadrature over their own values, without the chart; the flux in closed form."""

    def scene(images):
        return bj.Scene([bj.Sersic("g", x=0.0, y=0.0, n=1.0, r_eff=3.0, flux=dist.Normal(150.0, 120.0))], images)

    empty = bj.Image(np.zeros((15, 16)), sigma=1.0, pixel_scale=1.0, psf=PSF)
    made = scene(scene(empty).simulate({"g.q": 0.6, "g.pa": 40.0, "g.flux[image]": 110.0}, seed=3))
    im, prior = made.images[0], {s.name: s.prior for s in made.layout.sites}
    loc, scale = 150.0, 120.0
    nodes, weights = np.polynomial.legendre.leggauss(14)
    terms = []
    for q, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        for pa in np.arange(18) * 10.0:
            m = made.render({"g.q": q, "g.pa": pa, "g.flux[image]": 1.0})["image"]
            h, b = (m**2).sum() + scale**-2, (m * im.data).sum() + loc / scale**2
            terms.append(0.5 * b * b / h - 0.5 * np.log(h) - np.log(scale) + float(prior["g.q"].log_prob(torch.tensor(q))) + np.log(w / 18))
    exact = logsumexp(terms) - 0.5 * (im.data**2).sum() - 0.5 * (loc / scale) ** 2 - 0.5 * im.data.size * np.log(2 * np.pi)
    best = made.fit(progress=False)
    weighed = best.laplace(draws=100, seed=1)
    for post in (weighed, _chains(made, weighed.theta.reshape(2, 50, 3))):
        found = post.log_evidence(draws=200)
        assert abs(found.value - exact) < 4 * found.error and found.error < 0.15
    assert best.log_evidence().value == pytest.approx(exact, abs=0.3)


def test_an_angle_with_a_coordinate_of_its_own_counts_one_turn():
    """A galaxy all but lost in the noise, its angle all but free: proposals beyond half a turn are the same angles again."""

    def scene(images):
        return bj.Scene([bj.Gaussian("g", x=0.0, y=0.0, fwhm=3.0, q=dist.Beta(5.0, 3.0), flux=dist.Normal(0.0, 1e-3))], images)

    im = bj.Image(np.random.default_rng(1).normal(size=(9, 9)), sigma=1.0, pixel_scale=1.0, psf=bj.PSF.gaussian(1.5, 1.0))
    made = scene(im)
    assert made.chart.angle.any()
    exact = -0.5 * (im.data**2).sum() - 0.5 * im.data.size * np.log(2 * np.pi)
    best = made.fit(progress=False, max_iterations=1)
    best.z = made.unconstrain({"g.q": 0.65, "g.pa": 170.0, "g.flux[image]": 0.0})
    best.z_covariance = torch.diag(torch.tensor([{"g.q": 0.8, "g.pa": 70.0, "g.flux[image]": 1e-3}[n] for n in made.names]) ** 2).double()
    found = best.laplace(draws=200, seed=1, force=True).log_evidence()
    assert abs(found.value - exact) < 4 * found.error < 0.5
    rng = np.random.default_rng(2)
    theta = np.stack([rng.beta(5, 3, (2, 150)), rng.uniform(0, 180, (2, 150)), rng.normal(0, 1e-3, (2, 150))], -1)
    theta = theta[:, :, [["g.q", "g.pa", "g.flux[image]"].index(n) for n in made.names]]
    found = _chains(made, theta).log_evidence(draws=300)
    assert abs(found.value - exact) < 4 * found.error < 1.0


def test_the_error_of_importance_sampling_is_calibrated():
    n, size, free = 8, 800, 10.0
    off = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        y = rng.standard_normal((size, n)) / np.sqrt(rng.chisquare(free, size) / free)[:, None]
        log_q = gammaln(0.5 * (free + n)) - gammaln(0.5 * free) - 0.5 * n * np.log(free * np.pi)
        log_q = log_q - 0.5 * (free + n) * np.log1p((y**2).sum(1) / free)
        value, error, k = evidence(-0.5 * (y**2).sum(1) - log_q - 1e4)
        off.append((value + 1e4 - 0.5 * n * np.log(2 * np.pi)) / error)
        assert k < 0.5
    assert 0.7 < np.std(off) < 1.35 and abs(np.mean(off)) < 0.5


def test_the_error_of_the_bridge_is_calibrated():
    """A skewed target, and chains with memory."""
    n = 5

    def density(z):
        return 1.5 * z[..., 0] - 1.5 * np.exp(z[..., 0]) - 0.5 * (z[..., 1:] ** 2).sum(-1)

    exact = gammaln(1.5) - 1.5 * np.log(1.5) + 0.5 * (n - 1) * np.log(2 * np.pi)
    off = []
    for seed in range(50):
        rng = np.random.default_rng(10_000 + seed)
        z = rng.standard_normal((2, 400, n))
        z[..., 0] = np.log(rng.gamma(1.5, 1 / 1.5, (2, 400)))
        for k in range(1, 400):  # every other draw stays where it was
            stay = rng.random(2) < 0.5
            z[stay, k] = z[stay, k - 1]
        value, error, apart = crossed(z, density(z), density, 800, seed)
        off.append((value - exact) / error)
        assert apart < 5
    assert 0.7 < np.std(off) < 1.35 and abs(np.mean(off)) < 0.5


def test_weights_that_cannot_be_trusted_are_said(linear):
    lw = 8 * np.abs(np.random.default_rng(1).standard_cauchy(2000)) ** 0.5
    assert evidence(lw)[2] > 0.7
    post = linear.scene.fit(progress=False).laplace(draws=50, seed=1)
    post.info["log_evidence_k_hat"] = 0.9
    assert any("Pareto k-hat is 0.90" in w for w in post.log_evidence().words)
    post.info.update(log_evidence_k_hat=0.1, log_evidence_error=2.0)
    assert any("error is 2" in w for w in post.log_evidence().words)
    assert evidence(np.full(40, -np.inf))[0] == -np.inf


@pytest.mark.parametrize("prior", [dist.ImproperUniform(constraints.real, (), ()), dist.Normal(0.0, 1.0).mask(False)])
def test_an_improper_prior_has_no_evidence(linear, prior):
    im = linear.scene.images[0]
    best = bj.Scene([bj.Sky(level=prior)], [im]).fit(progress=False)
    post = best.laplace(draws=50, seed=1)
    for asked in (best.log_evidence, post.log_evidence):
        with pytest.raises(ValueError, match=r"prior of sky.level\[a\] is improper"):
            asked()
    assert "log_evidence" not in post.info
    good = bj.Scene([bj.Sky(level=dist.Normal(0.0, 1.0).mask(True))], [im]).fit(progress=False)
    assert np.isfinite(good.log_evidence().value)


def test_evidence_in_files_and_where_there_is_none(linear, posts, tmp_path):
    with pytest.raises(ValueError, match="prior=False"):
        linear.scene.fit(prior=False, progress=False).log_evidence()
    posts["laplace"].save(tmp_path / "l.nc")
    assert bj.load(tmp_path / "l.nc").log_evidence().value == posts["laplace"].log_evidence().value
    nuts = posts["nuts"]
    before = nuts.log_evidence(draws=200, seed=3)
    nuts.save(tmp_path / "n.nc")
    again = bj.load(tmp_path / "n.nc")
    assert again.log_evidence().value == before.value and "bridge" in again.log_evidence().method
    again.info.pop("log_evidence")
    with pytest.raises(ValueError, match=r"set post\.scene"):
        again.log_evidence()
    again.scene = bj.Scene([bj.Sky()], list(linear.scene.images))
    with pytest.raises(ValueError, match=r"sites of post\.scene"):
        again.log_evidence()
    other = bj.Scene(linear.scene.components, [im.replace(data=im.data + 1) for im in linear.scene.images])
    again.scene = other
    with pytest.raises(ValueError, match="not that of the draws"):
        again.log_evidence()
    for wrong in ({"draws": 3}, {"seed": -1}, {"draws": "many"}):
        with pytest.raises(ValueError, match="whole number"):
            nuts.log_evidence(**wrong)


# -- leave one out --------------------------------------------------------------------------------------------------------
def test_pointwise_log_likelihoods_sum_to_the_image_s(linear):
    scene = linear.scene
    z = scene.unconstrain(scene.start)
    full = scene.full(scene.chart.values(z)[0])
    for term, whole in zip(scene.likelihoods, scene.log_likelihood(z), strict=True):
        point = term.pointwise(full)
        assert float(point.sum()) == pytest.approx(float(whole), rel=1e-12)
        assert (point.numpy()[term.image.mask] == 0).all() and point.shape == term.image.shape


@pytest.mark.parametrize("method", ["laplace", "svi", "nuts"])
def test_loo_of_a_linear_scene_is_exact_within_its_noise(linear, posts, method):
    found = posts[method].loo()
    got = np.concatenate([i.elpd_i[np.isfinite(i.elpd_i)] for i in found.images.values()])
    assert got.shape == linear.elpd.shape and np.abs(got - linear.elpd).max() < 0.15
    assert found.elpd == pytest.approx(linear.elpd.sum(), abs=0.5) and found.p_loo == pytest.approx(4, abs=1.0)
    assert found.se == pytest.approx(np.sqrt(got.size * linear.elpd.var()), rel=0.01)
    assert not any("vary together" in w for w in found.words) and found.table["k_high"].iloc[-1] <= 2


def test_loo_is_arviz_s_and_needs_no_whole_matrix(linear, posts):
    import arviz

    post = posts["nuts"]
    found, bounded = post.loo(), post.loo(memory=1)
    assert bounded.elpd == pytest.approx(found.elpd, rel=1e-12)
    blocks = list(posts["laplace"].pointwise_log_likelihood("a", memory=1))
    assert len(blocks) > 1 and max(b[2].nbytes for b in blocks) <= 1e6
    post.add_log_likelihood()
    if seam.is_modern():
        pytest.skip("ArviZ 1.x averages effective sizes otherwise")
    for im in linear.scene.images:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = arviz.loo(post.arviz, var_name=f"image[{im.name}]", pointwise=True)
        row, mine = found.table.loc[im.name], found.images[im.name]
        assert (other.elpd_loo, other.se, other.p_loo) == pytest.approx((row["elpd"], row["se"], row["p_loo"]), rel=1e-9)
        assert other.n_data_points == row["pixels"] == im.valid.sum()
        assert np.allclose(other.pareto_k.values, mine.k_i[im.valid])


def test_pixels_that_no_parameter_moves_are_left_out_as_they_are():
    ll = np.full((2, 200), -1.3)
    ll[1, :3] = -1.31
    elpd, p, k = _leave_out(ll, 1.0)
    assert elpd[0] == pytest.approx(-1.3) and p[0] == pytest.approx(0, abs=1e-12) and k[0] == -np.inf
    assert np.isfinite(elpd).all()


def test_psis_of_either_arviz(monkeypatch):
    """ArviZ 1.x takes log likelihoods, minus the log ratios, one target at a time, and refuses equal tails."""
    import sys
    import types

    lw = 0.7 * np.random.default_rng(0).normal(size=(3, 400))
    here = seam.psis(lw, 0.9)
    if seam.is_modern():
        pytest.skip("this is ArviZ 1.x")
    old = seam._arviz().psislw

    def psislw(ary, r_eff=1.0):
        if np.ptp(ary) < 1e-6:
            raise ValueError("All tail values are the same")
        return old(-ary, r_eff)

    base = types.ModuleType("arviz_stats.base")
    base.array_stats = types.SimpleNamespace(psislw=psislw)
    monkeypatch.setitem(sys.modules, "arviz_stats", types.ModuleType("arviz_stats"))
    monkeypatch.setitem(sys.modules, "arviz_stats.base", base)
    monkeypatch.setattr(seam, "is_modern", lambda: True)
    there = seam.psis(lw, 0.9)
    assert np.allclose(here[0], there[0]) and np.allclose(here[1], there[1])
    w, k = seam.pareto_smooth(lw[0])
    assert np.argmax(w) == np.argmax(lw[0]) and k == pytest.approx(here[1][0], abs=0.1)
    assert seam.psis(1e-8 * lw)[1].tolist() == [np.inf] * 3


# -- predictive checks, comparison -----------------------------------------------------------------------------------------
def _sky(extra=0.0, seed=7, noise=None):
    """A galaxy in one image, with what the model does not hold."""
    empty = bj.Image(np.zeros((36, 40)), sigma=1.0, pixel_scale=1.0, psf=PSF, band="r", name="r")
    made = bj.Scene([bj.Sersic("galaxy", position=(0.0, 0.0)), bj.Sky()], [empty])
    model = made.render({**TRUTH, "sky.level[r]": 0.2})["r"]
    noise = np.random.default_rng(seed).normal(size=empty.shape) if noise is None else noise
    return empty.replace(data=model + noise + extra)


def _galaxy(image, *more, draws=200):
    scene = bj.Scene([bj.Sersic("galaxy", position=(0.0, 0.0)), *more, bj.Sky()], [image])
    return scene.fit(progress=False).laplace(draws=draws, seed=1)


def _companion(flux):
    y, x = np.indices((36, 40))
    light = np.exp(-0.5 * ((y - 26) ** 2 + (x - 30) ** 2) / (2.5 / 2.355) ** 2)
    return flux * light / light.sum()


@pytest.fixture(scope="module")
def lone():
    """The right model; and a companion that the model lacks, or has."""
    crowded = _sky(_companion(40.0))
    position = [float(v) for v in bj.Scene([bj.Sky()], [crowded]).frame.to_sky(crowded.placement, 30, 26)]
    friend = bj.Point("friend", position=position, flux=dist.Normal(0.0, 100.0))
    return {"right": _galaxy(_sky()), "without": _galaxy(crowded), "with": _galaxy(crowded, friend)}


def test_checks_are_quiet_for_a_right_model(lone):
    found = lone["right"].check(draws=250, seed=1)
    assert found.passed and "like the data" in repr(found) and len(found.table) == 5
    assert ((found.table["p"] > 0.01) & (found.table["p"] < 0.99)).all()
    assert lone["with"].check(draws=250, seed=1).passed


def test_checks_catch_a_companion_that_chi2_does_not(lone):
    found = lone["without"].check(draws=250, seed=1)
    p = found.table["p"].loc["r"]
    assert 0.01 < p["chi2"] < 0.99 and p["peak"] < 0.01 and p["blocks"] < 0.01 and not found.passed
    x, y = (int(v) for v in re.search(r"pixel x = (\d+), y = (\d+)", repr(found)).groups())
    assert abs(x - 30) <= 1 and abs(y - 26) <= 1


def test_checks_catch_correlated_noise_that_chi2_does_not():
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(60, 60)), 0.7)[10:46, 10:50]
    post = _galaxy(_sky(noise=noise / noise.std()))
    p = post.check(draws=250, seed=1).table["p"].loc["r"]
    assert 0.01 < p["chi2"] < 0.99 and p["blocks"] < 0.01 and p["neighbours"] < 0.01
    assert any("vary together" in w and "overstated" in w for w in post.loo().words)


def test_checks_catch_a_nucleus_and_wrong_sigmas(lone):
    image = lone["right"].scene.images[0]
    held = {k.split(".")[1]: v for k, v in TRUTH.items() if "[" not in k}
    y, x = np.indices(image.shape)
    cx, cy = bj.Scene([bj.Sky()], [image]).frame.to_pixel(image.placement, TRUTH["galaxy.x"], TRUTH["galaxy.y"])
    light = np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / (2.5 / 2.355) ** 2)
    bright = image.replace(data=image.data + 40 * light / light.sum())
    post = bj.Scene([bj.Sersic("galaxy", **held), bj.Sky()], [bright]).fit(progress=False).laplace(draws=150, seed=1)
    assert any("'galaxy', more light" in w for w in post.check(draws=200).words)
    for factor, said in ((1.3, "too large"), (0.8, "too small")):
        post = (
            bj.Scene([bj.Sersic("galaxy", **held), bj.Sky()], [image.replace(variance=image.variance * factor**2)]).fit(progress=False).laplace(150)
        )
        assert any(f"sigma is {said}" in w for w in post.check(draws=200).words)


def test_predicted_images_are_like_the_data(lone, tmp_path):
    post = lone["right"]
    image = post.scene.images[0]
    made = post.predictive(draws=150, seed=2)["r"]
    assert made.shape == (150, 36, 40) and np.array_equal(made, post.predictive(draws=150, seed=2)["r"])
    assert not np.array_equal(made, post.predictive(draws=150, seed=3)["r"])
    assert np.abs((made.mean(0) - post.scene.render(post.middle)["r"]) / image.sigma).max() < 6 / np.sqrt(150)
    assert made.std(0).mean() == pytest.approx(1.0, abs=0.03)
    group = seam.groups_of(post.arviz)["posterior_predictive"]
    assert group["image[r]"].dims == ("chain", "draw", "y_r", "x_r") and set(group) <= set(seam.groups_of(post.arviz)["observed_data"])
    post.save(tmp_path / "p.nc")
    assert "posterior_predictive" in seam.groups_of(bj.load(tmp_path / "p.nc").arviz)
    with pytest.raises(ValueError, match=r"would take 2 MB, and memory=1"):
        post.predictive(draws=150, memory=1)


def test_compare_finds_the_companion(lone):
    table = bj.compare({"without": lone["without"], "with": lone["with"]})
    assert list(table.index) == ["with", "without"] and table.loc["with", "elpd_diff"] == 0
    low = table.loc["without"]
    assert low["elpd_diff"] < -2 * low["dse"] < 0 and low["log_evidence_diff"] < -5 and low["log_evidence_diff_error"] < 0.5
    a, b = (lone[k].loo().images["r"].elpd_i for k in ("without", "with"))
    assert low["elpd_diff"] == pytest.approx((a - b).sum()) and low["dse"] == pytest.approx(np.sqrt(a.size) * (a - b).std())
    assert "elpd_diff" in repr(table)


def test_compare_says_what_limits_it(lone, linear, posts):
    image = lone["right"].scene.images[0]
    spare = _galaxy(image, bj.Point("spare", position=(8.0, 8.0)))
    table = bj.compare({"right": lone["right"], "spare": spare})
    assert any("do not tell the two apart" in w for w in table.words) and any("default priors of spare.flux[r]" in w for w in table.words)
    flat = bj.Scene([bj.Sky(level=dist.ImproperUniform(constraints.real, (), ()))], [image]).fit(progress=False).laplace(draws=100, seed=1)
    table = bj.compare({"right": lone["right"], "flat": flat})
    assert np.isnan(table.loc["flat", "log_evidence"]) and any("improper" in w for w in table.words) and table.index[0] == "right"
    with pytest.raises(ValueError, match="not of the same images"):
        bj.compare({"one": lone["right"], "other": lone["with"]})
    with pytest.raises(ValueError, match="not of the same images"):
        bj.compare({"one": lone["right"], "other": posts["laplace"]})
    for wrong in ({"one": lone["right"]}, [lone["right"], lone["with"]]):
        with pytest.raises(ValueError, match="at least two posteriors by name"):
            bj.compare(wrong)


def test_bad_requests_are_one_clear_sentence(posts, tmp_path):
    post = posts["laplace"]
    for asked, said in (
        (lambda: post.check(draws=10), "draws is to be a whole number of at least 100"),
        (lambda: post.check(seed=0.5), "seed is to be a whole number"),
        (lambda: post.predictive(draws=0), "draws is to be a whole number of at least 1"),
        (lambda: post.loo(draws=5), "at least 25 draws"),
        (lambda: post.loo(memory=0), "number of megabytes"),
        (lambda: next(post.pointwise_log_likelihood("c")), "no image 'c'"),
        (lambda: post.add_log_likelihood(memory=1), "would take 2 MB, and memory=1"),
    ):
        with pytest.raises(ValueError, match=said):
            asked()
    post.save(tmp_path / "p.nc")
    loaded = bj.load(tmp_path / "p.nc")
    for asked in (loaded.loo, loaded.check, loaded.predictive, loaded.add_log_likelihood, lambda: bj.compare({"a": loaded, "b": post})):
        with pytest.raises(ValueError, match=r"set post\.scene"):
            asked()


def test_the_page_s_example_runs(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "model_comparison.md").read_text()
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "model_comparison.md", "exec"), names)
    assert names["table"].index[0] == "with nucleus" and not names["posts"]["without"].check().passed
