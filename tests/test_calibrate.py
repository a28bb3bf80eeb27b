"""Calibration: the checks on ranks whose distribution is known, the simulations on scenes whose posterior is known."""

import runpy

import numpy as np
import pyro.distributions as dist
import pytest
from conftest import ROOT, TRUTH
from scipy import stats

import bayesjoint as bj
from bayesjoint.calibrate import Calibration, check, plot, sbc
from bayesjoint.calibrate.uniformity import band, holm, uniform_p

STRUCTURE = {k.split(".")[1]: v for k, v in TRUTH.items() if "[" not in k}


def tiny(galaxy, sigma=0.05, **sky):
    """One image of 25 x 23 pixels."""
    return bj.Scene(
        [galaxy, bj.Sky(**sky)],
        [bj.Image(np.zeros((25, 23)), sigma=sigma, psf=bj.PSF.gaussian(1.6, 0.45), pixel_scale=0.45, zeropoint=22.5, band="g")],
    )


def linear():
    """Flux and sky level free: the posterior is Normal, in closed form."""
    return tiny(bj.Sersic("galaxy", **STRUCTURE, flux=dist.Normal(3000.0, 3000.0)), level=dist.Normal(0.0, 0.02))


def exact_levels(scene, truths, pixels):
    """Levels of the truths in the exact posteriors of a linear scene with one image."""
    zero, (im,) = dict.fromkeys(scene.names, 0.0), scene.images
    base = scene.render(zero)[im.name]
    a = np.stack([((scene.render({**zero, n: 1.0})[im.name] - base) / im.sigma).ravel() for n in scene.names])
    loc, scale = (np.array([float(getattr(s.prior, k)) for s in scene.layout.sites]) for k in ("loc", "scale"))
    covariance = np.linalg.inv(a @ a.T + np.diag(scale**-2))
    mean = np.array([covariance @ (a @ ((d - base) / im.sigma).ravel() + loc / scale**2) for d in pixels])
    return stats.norm.cdf((truths - mean) / np.sqrt(np.diag(covariance)))


def keeping(scene, kept):
    """A simulator like the scene's own, which keeps the pixels."""

    def simulate(values, seed):
        images = scene.simulate(values, seed)
        kept.append(images[0].data)
        return images

    return simulate


def synthetic(rng, n=100, k=6, width=1.0, shift=0.0, correlation=0.5, draws=200, failed=0):
    """A calibration of k correlated Normal parameters; posteriors are too narrow by `width`, and biased by `shift` of theirs."""
    r = np.full((k, k), correlation) + (1 - correlation) * np.eye(k)
    z = width * rng.standard_normal((n, k)) @ np.linalg.cholesky(r).T + shift
    u = np.c_[stats.norm.cdf(z), stats.chi2(k).sf((z @ np.linalg.inv(r) * z).sum(1))] * (draws + 1)
    ranks = np.floor(u).astype(int).clip(0, draws)
    jitter, ranks = u - ranks, np.where(np.arange(n)[:, None] < failed, -1, ranks)
    nothing = np.full(n, np.nan)
    reasons = tuple("RuntimeError: no." if i < failed else "" for i in range(n))
    return Calibration(
        (*(f"p{i}" for i in range(k)), "log likelihood"), ranks, np.full(n, draws), jitter, z, nothing, nothing, reasons, {"sampler": "laplace"}
    )


def test_a_good_calibration_is_flagged_about_as_often_as_alpha_says():
    rng = np.random.default_rng(1)
    for n in (40, 150):
        flagged = np.mean([not check(synthetic(rng, n=n), alpha=0.1).calibrated for _ in range(200)])
        assert 0.03 < flagged < 0.16


@pytest.mark.parametrize("fault, word", [({"width": 1.25}, "too narrow"), ({"width": 0.8}, "too wide"), ({"shift": 0.5}, "above")])
def test_planted_faults_are_caught_and_named(fault, word):
    rng = np.random.default_rng(2)
    verdicts = [check(synthetic(rng, n=200, **fault)) for _ in range(20)]
    assert not any(v.calibrated for v in verdicts)
    assert all(any(word in r for r in v.reasons) for v in verdicts)
    assert "NOT calibrated" in repr(verdicts[0]) and word in repr(verdicts[0])


def test_p_values_are_uniform_and_the_band_holds_what_it_says():
    rng = np.random.default_rng(3)
    u = rng.random((1500, 60))
    p = np.array([uniform_p(x) for x in u])
    assert all(abs((p <= a).mean() - a) < 4 * np.sqrt(a * (1 - a) / len(p)) + 0.005 for a in (0.02, 0.1, 0.5))
    places, low, high = band(60, 0.1)
    f = (u[:, :, None] <= places).mean(1)
    assert abs(((f < low - 1e-9) | (f > high + 1e-9)).any(1).mean() - 0.1) < 0.035
    assert uniform_p(stats.beta(2.5, 1).ppf(u[0])) < 1e-3


def test_holm_with_equal_weights_is_the_textbook_s():
    assert np.allclose(holm(np.array([0.01, 0.04, 0.03, 0.005]), np.full(4, 0.25)), [0.03, 0.06, 0.06, 0.02])
    assert np.allclose(holm(np.array([0.01, np.nan]), np.full(2, 0.5)), [0.01, 1.0])


def test_failures_are_shown_and_many_of_them_are_no_calibration():
    rng = np.random.default_rng(4)
    few, many, all_but = (synthetic(rng, failed=f) for f in (1, 30, 95))
    assert check(few).calibrated and "1 failed" in repr(check(few)) and "RuntimeError" in repr(few)
    assert not check(many).calibrated and "30 of 100 simulations failed" in check(many).reasons[0]
    assert not check(all_but).calibrated and len(check(all_but).table) == 0 and "NOT" in repr(check(all_but))


def test_ranks_are_those_of_the_exact_posterior_and_the_seed_s():
    scene, kept = linear(), []
    result = sbc(scene, simulations=10, draws=100, seed=3, workers=1, progress=False, simulate=keeping(scene, kept))
    assert result.ranks.shape == (10, 3) and not result.failed.any() and result.names == (*scene.names, "log likelihood")
    exact = exact_levels(scene, result.truths, kept)
    assert np.abs(result.levels[:, :2] - exact).max() < 5 * 0.5 / np.sqrt(result.draws.min())
    assert np.corrcoef(stats.norm.ppf(exact).ravel(), result.scores[:, :2].ravel())[0, 1] > 0.95
    again = sbc(scene, simulations=4, draws=100, seed=3, workers=2, progress=False, simulate=lambda values, seed: scene.simulate(values, seed))
    assert np.array_equal(again.ranks, result.first(4).ranks) and np.array_equal(again.levels, result.first(4).levels)
    other = sbc(scene, simulations=4, draws=100, seed=4, workers=1, progress=False)
    assert not np.array_equal(other.truths, again.truths)


def test_an_angle_is_ranked_on_the_circle():
    fixed = {k: v for k, v in STRUCTURE.items() if k != "pa"}
    scene, kept = tiny(bj.Sersic("galaxy", **fixed, flux=2.5e4), level=0.0), []
    result = sbc(scene, simulations=6, draws=200, seed=5, workers=1, progress=False, simulate=keeping(scene, kept))
    wide = 0
    for truth, pixels, level in zip(result.truths[:, 0], kept, result.levels[:, 0], strict=True):
        one = scene.with_images([scene.images[0].replace(data=pixels)])
        middle = one.fit(progress=False).values["galaxy.pa"]
        turn = np.linspace(-90, 90, 181)
        logp = np.array([float(one.log_likelihood(one.unconstrain({"galaxy.pa": middle + t})).sum()) for t in turn])
        p = np.exp(logp - logp.max())
        below = np.interp((truth - middle + 90) % 180 - 90, turn, np.cumsum(p) - 0.5 * p) / p.sum()
        assert abs(below - level) < 0.12
        sd = np.sqrt((p * turn**2).sum() / p.sum())
        wide += abs((truth % 180) - (middle % 180)) > 90 or sd > min(middle % 180, 180 - middle % 180)
    assert wide >= 1  # a posterior that lies across pa = 0


def test_a_fit_that_raises_is_a_failure_and_not_the_end(monkeypatch):
    own, count = bj.Scene.fit, iter(range(100))

    def fit(self, *args, **options):
        if next(count) % 3 == 0:
            raise RuntimeError("the fit\nfell over")
        return own(self, *args, **options)

    monkeypatch.setattr(bj.Scene, "fit", fit)
    result = sbc(linear(), simulations=6, draws=40, workers=1, progress=False)
    assert result.failed.tolist() == [True, False, False] * 2
    assert result.reasons[0] == "RuntimeError: the fit fell over" and (result.ranks[0] == -1).all() and np.isfinite(result.truths).all()
    assert "2 failed" in repr(result)


def test_nuts_takes_its_options_and_says_what_it_doubts():
    result = sbc(linear(), simulations=2, sampler="nuts", marginalize=None, draws=20, warmup=10, chains=1, workers=1, progress=False)
    assert not result.failed.any() and result.info["warmup"] == 10 and (result.draws <= 20).all() and np.isnan(result.k_hat).all()
    assert result.doubtful.all() and "effective sample size" in result.reasons[0]  # 20 draws are too few


BAD = {
    "sampler": ({"sampler": "gibbs"}, "laplace"),
    "simulations": ({"simulations": 0}, "simulations is to be"),
    "draws": ({"draws": 2.5}, "draws is to be"),
    "seed": ({"seed": -1}, "seed is to be"),
    "workers": ({"workers": 0}, "workers is to be"),
    "option": ({"warmup": 3}, "takes no option 'warmup'"),
    "simulate": ({"simulate": 3}, "function of values and seed"),
    "no images": ({"simulate": lambda values, seed: None}, "one bj.Image for each"),
    "shape": ({"simulate": lambda values, seed: [np.zeros((3, 3))]}, "one bj.Image for each"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence(case):
    options, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        sbc(linear(), **{"simulations": 1, "workers": 1, "progress": False, **options})


def test_other_bad_input(tmp_path):
    rng, scene = np.random.default_rng(6), linear()
    with pytest.raises(ValueError, match="nothing to calibrate"):
        sbc(scene.fixed(dict.fromkeys(scene.names, 0.1), scene.names))
    with pytest.raises(ValueError, match="masked or not finite"):
        sbc(scene, simulations=1, workers=1, progress=False, simulate=lambda v, s: [im.replace(mask=np.eye(25, 23)) for im in scene.images])
    with pytest.raises(ValueError, match="at least 10 simulations"):
        check(synthetic(rng, n=9))
    with pytest.raises(ValueError, match="alpha"):
        check(synthetic(rng), alpha=1.5)
    with pytest.raises(ValueError, match="at least 10 simulations with ranks"):
        plot(synthetic(rng, n=20, failed=15))
    with pytest.raises(FileNotFoundError, match="no file"):
        Calibration.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("text")
    with pytest.raises(OSError, match="cannot be read"):
        Calibration.load(tmp_path / "text.nc")


def test_a_calibration_is_saved_and_read_back(tmp_path):
    rng = np.random.default_rng(7)
    one = synthetic(rng, failed=2)
    one.save(tmp_path / "c.nc")
    two = Calibration.load(tmp_path / "c.nc")
    for k in ("ranks", "draws", "jitter", "truths", "ess", "k_hat"):
        assert np.array_equal(getattr(one, k), getattr(two, k), equal_nan=k in ("ess", "k_hat"))
    assert (one.names, one.reasons, one.info) == (two.names, two.reasons, two.info)
    assert repr(check(one)) == repr(check(two))
    with pytest.raises(ValueError, match="no posterior"):
        bj.load(tmp_path / "c.nc")


def test_the_picture_has_a_panel_for_each_quantity_and_one_of_coverage(tmp_path):
    axes = plot(synthetic(np.random.default_rng(8), width=1.6))
    assert [a.get_title() for a in axes] == [*(f"p{i}" for i in range(6)), "log likelihood", "coverage of central intervals"]
    axes[0].figure.savefig(tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 20_000
    assert axes[6].lines[-1].get_color() == "#D55E00"  # it leaves its band


def test_a_scene_on_other_images_keeps_priors_and_what_is_held_and_starts_anew(scene):
    held = scene.fixed({"galaxy.n": 2.5}, ["galaxy.n"])
    shifted = [im.replace(data=np.roll(im.data, 4, axis=1), sigma=2 * im.sigma) for im in held.images]
    new = held.with_images(shifted)
    assert new.names == held.names and new.layout.fixed == held.layout.fixed
    assert all(str(a.prior) == str(b.prior) for a, b in zip(new.layout.sites, held.layout.sites, strict=True))
    assert abs(new.start["galaxy.x"] - held.start["galaxy.x"]) > 0.5 and np.array_equal(held.images[0].data, scene.images[0].data)
    with pytest.raises(ValueError, match="names, in order"):
        scene.with_images(list(scene.images)[::-1])


@pytest.mark.slow
def test_the_two_band_scene_is_calibrated_and_a_wrong_noise_is_caught():
    room = runpy.run_path(str(ROOT / "benchmarks" / "calibrate.py"))
    scene = room["scene"](room["SNR"]["high"])
    options = {"simulations": 40, "draws": 150, "seed": 1, "progress": False}
    verdict = check(sbc(scene, **options))
    assert verdict.calibrated, verdict
    verdict = check(sbc(scene, simulate=room["planted"]("sigma", room["SNR"]["high"], 1.25), **options))
    assert not verdict.calibrated and any("narrow" in r or "worse" in r for r in verdict.reasons), verdict
