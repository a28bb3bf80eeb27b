"""Inference: the fit, and all samplers on a scene whose posterior is known exactly."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from conftest import TRUTH, small_scene, two_images

import bayesjoint as bj
from bayesjoint.infer.chain import STATS, ChainTask, run_chain
from bayesjoint.infer.lm import linearise
from bayesjoint.infer.nuts import BENT
from bayesjoint.infer.polish import polish
from bayesjoint.infer.targets import Joint
from bayesjoint.scene.identity import digest

METHODS = {
    "laplace": lambda best: best.laplace(draws=2500, seed=1, marginalize=None),
    "svi": lambda best: best.svi(draws=4000, seed=1, resample=False, progress=False, marginalize=None),
    "svi, resampled": lambda best: best.svi(draws=2500, seed=1, progress=False, marginalize=None),
    "svi, lowrank": lambda best: best.svi(draws=4000, seed=1, guide="lowrank", resample=False, progress=False, marginalize=None),
    "svi, flow": lambda best: best.svi(draws=4000, seed=1, guide="flow", resample=False, progress=False, marginalize=None),
    "nuts": lambda best: best.nuts(draws=1200, warmup=100, chains=2, seed=1, progress=False, marginalize=None),
}


@pytest.fixture(scope="module")
def linear():
    """Structure held, fluxes and skies free: a linear-Gaussian scene, with its exact posterior."""
    fixed = {k.split(".")[1]: v for k, v in TRUTH.items() if "[" not in k}
    galaxy = bj.Sersic("galaxy", **fixed, flux=dist.Normal(3000.0, 2000.0))
    sky = bj.Sky(order=1, slope_x=dist.Normal(0.0, 0.01), slope_y=dist.Normal(0.0, 0.01))
    scene = bj.Scene([galaxy, sky], small_scene().images)
    zero = dict.fromkeys(scene.names, 0.0)
    base = scene.render(zero)
    columns = {n: scene.render({**zero, n: 1.0}) for n in scene.names}
    precision = np.diag([float(s.prior.scale) ** -2 for s in scene.layout.sites])
    right = np.array([float(s.prior.loc) * float(s.prior.scale) ** -2 for s in scene.layout.sites])
    for im in scene.images:
        a = np.stack([((columns[n][im.name] - base[im.name]) / im.sigma).ravel() for n in scene.names])
        precision += a @ a.T
        right += a @ ((im.data - base[im.name]) / im.sigma).ravel()
    covariance = np.linalg.inv(precision)
    return scene, covariance @ right, covariance


def test_the_fit_of_a_linear_scene_is_exact(linear):
    scene, mean, covariance = linear
    best = scene.fit(progress=False)
    sd = np.sqrt(np.diag(covariance))
    assert best.converged
    assert np.abs((np.array(list(best.values.values())) - mean) / sd).max() < 1e-5
    assert np.abs(best.covariance / np.outer(sd, sd) - covariance / np.outer(sd, sd)).max() < 1e-6


LONG = ("svi, resampled", "svi, flow")


@pytest.mark.parametrize("method", [pytest.param(m, marks=pytest.mark.slow) if m in LONG else m for m in METHODS])
def test_samplers_reproduce_the_exact_posterior(linear, method):
    scene, mean, covariance = linear
    post = METHODS[method](scene.fit(progress=False))
    x = post.theta.reshape(-1, len(mean))
    sd = np.sqrt(np.diag(covariance))
    n = 2000  # effective draws, or fewer than there are
    assert np.abs((x.mean(0) - mean) / sd).max() < 4 / np.sqrt(n)
    assert np.abs(np.cov(x.T) / np.outer(sd, sd) - covariance / np.outer(sd, sd)).max() < 6 / np.sqrt(n)
    assert post.converged, post.reasons
    if method != "nuts":
        assert post.k_hat < 0.5


@pytest.mark.slow
def test_marginalised_samplers_agree_with_joint_ones(best):
    """Structure drawn alone, fluxes and skies exactly afterwards: the same posterior, all sites of it."""
    long = best.nuts(draws=2000, warmup=100, chains=2, seed=3, progress=False)
    x = long.theta.reshape(-1, len(best.names))
    mean, sd = x.mean(0), x.std(0)
    for post in (
        best.nuts(draws=1200, warmup=100, chains=2, seed=4, progress=False, marginalize="linear"),
        best.laplace(2500, seed=4, marginalize="linear"),
        best.laplace(2500, seed=4, marginalize=None),
        best.svi(2500, seed=4, marginalize="linear", progress=False),
    ):
        y = post.theta.reshape(-1, len(best.names))
        assert post.converged, post.reasons
        assert np.abs((y.mean(0) - mean) / sd).max() < 0.15
        assert np.abs(y.std(0) / sd - 1).max() < 0.1
        assert np.abs(np.corrcoef(x.T) - np.corrcoef(y.T)).max() < 0.12
        ll = post.arviz.log_likelihood["image_log_likelihood"].values.reshape(-1, 2)
        for k in (0, 500):
            z = best.scene.unconstrain(dict(zip(best.names, y[k].tolist(), strict=True)))
            assert ll[k] == pytest.approx(best.scene.log_likelihood(z).numpy(), rel=1e-9)


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from conftest import small_scene
if __name__ == "__main__":
    best = small_scene().fit(progress=False)
    best.nuts(draws=400, warmup=20, chains=2, seed=6, progress=False, checkpoint={folder!r}, marginalize={marginalize!r})
"""


@pytest.mark.parametrize("marginalize", [None, "linear"])
def test_killed_in_mid_sampling_nothing_drawn_is_lost(best, tmp_path, marginalize):
    """kill -9 on a run with two chains in processes of their own; what goes on from there gives the unbroken run's draws."""
    folder, script = tmp_path / "run", tmp_path / "script.py"
    script.write_text(KILLED.format(tests=str(pathlib.Path(__file__).parent), folder=str(folder), marginalize=marginalize))
    # in another number of threads than here: sums differ in their last digits, and what was drawn counts all the same
    threads = "1" if torch.get_num_threads() > 1 else "2"
    run = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads})
    rows = [folder / f"chain_{c}.rows" for c in (0, 1)]
    width = 8 * (len(best.names) + 2 + len(STATS) + (6 if marginalize else len(best.names)) + 1)
    until = time.monotonic() + 300
    while not all(f.exists() and f.stat().st_size > 10 * width for f in rows):
        assert run.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = [np.fromfile(f, count=f.stat().st_size // width * (width // 8)).reshape(-1, width // 8) for f in rows]
    assert all(10 <= len(b) < 400 for b in before)
    options = {"draws": 60, "warmup": 20, "chains": 2, "seed": 6, "progress": False, "marginalize": marginalize}
    again = best.nuts(checkpoint=folder, **options)
    assert np.allclose(again.theta, best.nuts(**options).theta, rtol=1e-8)
    for b, f in zip(before, rows, strict=True):
        assert np.array_equal(np.fromfile(f).reshape(-1, width // 8)[: len(b)], b)


def test_what_cannot_be_integrated_out_is_refused():
    images = small_scene().images
    odd = bj.Scene([bj.Sersic("galaxy", flux=dist.LogNormal(12.0, 1.0)), bj.Sky()], images).fit(progress=False)
    with pytest.raises(ValueError, match=r"galaxy.flux\[g\] has a LogNormal"):
        odd.nuts(draws=10, marginalize="linear", progress=False)
    assert odd.laplace(200).info["marginalize"] == ""
    heavy = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], images, noise=bj.noise.StudentT(4)).fit(progress=False)
    with pytest.raises(ValueError, match="noise is not Gaussian"):
        heavy.laplace(10, marginalize="linear")
    with pytest.raises(ValueError, match="'linear', 'auto' or None"):
        heavy.laplace(10, marginalize="yes")
    with pytest.raises(ValueError, match="normal, lowrank, flow"):
        heavy.svi(10, guide="full", progress=False)


def test_the_fit_recovers_the_truth_and_says_so(best):
    assert best.converged and "log posterior density" in best.message
    assert max(abs(best.values[k] - v) / best.errors[k] for k, v in TRUTH.items()) < 3.5
    assert best.dof == 41 * 47 + 25 * 23 - 10
    assert 0.9 < best.chi2 / best.dof < 1.1
    rises = np.diff([h["log_density"] for h in best.history])
    assert (rises >= -1e-9 * abs(best.log_density)).all() and best.history[0]["iteration"] == 0


def test_it_is_a_maximum_of_exactly_the_log_density(best):
    z = best.z.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(best.scene.log_density(z), z)
    assert float(g @ best.z_covariance @ g) < 1e-5
    like = best.scene.fit(best, prior=False, progress=False)
    z = like.z.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(like.scene.log_likelihood(z).sum(), z)
    assert float(g @ like.z_covariance @ g) < 1e-5
    assert like.chi2 <= best.chi2 and "likelihood" in like.message


def test_the_last_way_by_gradients_alone_ends_at_the_same_maximum(best):
    """From two sigma off, by a precision that is wrong by up to a factor of ten."""
    rng = np.random.default_rng(3)
    sd = torch.linalg.cholesky(best.z_covariance)
    state = linearise(best.scene, best.z + sd @ torch.as_tensor(2 * rng.standard_normal(len(best.z))), True)
    wrong = torch.as_tensor(10 ** rng.uniform(-0.5, 0.5, len(best.z)))
    state.precision = wrong[:, None] * state.precision * wrong
    z = polish(best.scene, state, True)
    off = torch.linalg.solve_triangular(sd, (z - best.z)[:, None], upper=False)
    assert state.log_density < best.log_density - 1 and float(off.norm()) < 1e-3
    state.precision = state.precision * 0
    assert polish(best.scene, state, True) is None  # nothing to whiten by


def test_errors_are_the_delta_method(best):
    z = best.z
    jac = torch.autograd.functional.jacobian(lambda x: torch.stack(list(best.scene.constrain(x).values())), z)
    cov = (jac @ best.z_covariance @ jac.T).numpy()
    assert np.allclose(np.sqrt(np.diag(cov)), list(best.errors.values()), rtol=1e-8)


def test_a_degenerate_direction_is_named_and_nothing_is_nan():
    a, _ = two_images()
    scene = bj.Scene(
        [bj.Sersic("one", x=0.0, y=0.0, q=0.6, pa=35.0, n=1.5, r_eff=1.6), bj.Sersic("two", x=0.0, y=0.0, q=0.6, pa=35.0, n=1.5, r_eff=1.6)], [a]
    )
    best = scene.fit(prior=False, progress=False)
    assert "one.flux[g]" in best.message and "two.flux[g]" in best.message and "Degenerate" in best.message
    assert np.isfinite(best.covariance).all() and all(np.isfinite(v) for v in best.values.values())


def test_an_empty_image_gives_no_nan():
    best = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], two_images()).fit(progress=False)
    assert all(np.isfinite([*best.values.values(), *best.errors.values()])) and np.isfinite(best.covariance).all()


@pytest.mark.slow
def test_joint_is_tighter_than_each_alone_and_agrees():
    """By volume: where size and index of the joint maximum are larger, so may be their errors."""
    scene = small_scene()
    joint = scene.fit(progress=False).laplace(draws=1000, seed=1)

    def shapes(post):
        drawn = {p: post.draws(f"galaxy.{p}") for p in ("x", "y", "q")}
        return drawn | {p: np.log(post.draws(f"galaxy.{p}")) for p in ("n", "r_eff")}

    def volume(drawn):
        return np.sqrt(np.linalg.det(np.cov([*drawn.values()])))

    b = shapes(joint)
    for name in ("g", "i"):
        a = shapes(scene.subset(images=[name]).fit(progress=False).laplace(draws=1000, seed=2))
        assert volume(b) < 0.5 * volume(a)
        for p in a:
            assert b[p].std() < a[p].std() * (1.02 if p in ("x", "y", "q") else 1.1), p
            assert abs(a[p].mean() - b[p].mean()) < 4 * a[p].std(), p


def test_same_seed_same_draws_and_no_global_state(best):
    state = torch.get_rng_state()
    a, b, c = (best.nuts(draws=20, warmup=20, chains=2, seed=s, progress=False, workers=w).theta for s, w in ((4, 2), (4, 1), (5, 1)))
    assert np.allclose(a, b, rtol=1e-9) and not np.allclose(a, c)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(best.laplace(50, seed=3).theta, best.laplace(50, seed=3).theta)
    assert np.allclose(best.laplace(50, seed=3, workers=2).theta, best.laplace(50, seed=3, workers=1).theta, rtol=1e-9)
    import pyro

    assert len(pyro.get_param_store()) == 0
    best.svi(10, seed=1, max_steps=20, progress=False)
    assert len(pyro.get_param_store()) == 0 and torch.equal(torch.get_rng_state(), state)


def test_a_checkpoint_goes_on_where_it_was(best, tmp_path):
    whole = best.nuts(draws=30, warmup=15, chains=1, seed=2, progress=False).theta
    best.nuts(draws=12, warmup=15, chains=1, seed=2, progress=False, checkpoint=tmp_path)
    rows = tmp_path / "chain_0.rows"
    rows.write_bytes(rows.read_bytes() + b"half a row")
    gone_on = best.nuts(draws=30, warmup=15, chains=1, seed=2, progress=False, checkpoint=tmp_path).theta
    assert np.allclose(whole, gone_on, rtol=1e-9)
    with pytest.raises(ValueError, match="another run"):
        best.nuts(draws=30, warmup=15, chains=1, seed=3, progress=False, checkpoint=tmp_path)


def test_a_checkpoint_is_of_one_density(linear, tmp_path):
    """A prior or PSF that leaves the maximum where it was, or nearly, makes another run."""
    fit = linear[0].fit(progress=False)
    options = {"draws": 8, "warmup": 5, "chains": 1, "seed": 2, "progress": False, "marginalize": None, "checkpoint": tmp_path}
    fit.nuts(**options)
    site, scene = fit.names[0], fit.scene
    same = dist.Normal(torch.tensor(fit.values[site]).double(), torch.tensor(10 * fit.errors[site]).double())
    priors = {s.name: s.prior for s in scene.layout.sites}
    narrow = scene._like(priors=priors | {site: same}).fit(progress=False)
    with pytest.raises(ValueError, match=r"another run \(its priors differ\)"):
        narrow.nuts(**options)
    im = scene.images[0]
    other = im.psf.array.copy()
    other[0, 0] += 1e-9
    psf = bj.PSF(other, oversampling=im.psf.oversampling, pixel_response=im.psf.pixel_response, normalize=False)
    with pytest.raises(ValueError, match=r"another run \(its PSFs differ\)"):
        scene.with_images([im.replace(psf=psf), *scene.images[1:]]).fit(progress=False).nuts(**options)
    assert np.array_equal(scene.fit(progress=False).nuts(**options).theta, fit.nuts(**options).theta)


def test_a_checkpoint_lies_where_the_caller_stands(best, tmp_path, monkeypatch):
    """Workers that were begun elsewhere write to the same folder."""
    for name in "ab":
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        best.nuts(draws=2, warmup=2, chains=2, seed=1, workers=2, progress=False, checkpoint="draws")
        assert all((tmp_path / name / f"draws/chain_{c}.rows").exists() for c in (0, 1))


def test_damaged_draws_are_drawn_anew(best, tmp_path, caplog):
    options = {"draws": 12, "warmup": 5, "chains": 1, "seed": 2, "progress": False, "checkpoint": tmp_path}
    whole = best.nuts(**options).theta
    rows, card = tmp_path / "chain_0.rows", tmp_path / "run.json"
    good, rng = rows.read_bytes(), np.random.default_rng(1)
    for _ in range(6):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        rows.write_bytes(bad)
        caplog.clear()
        assert np.array_equal(best.nuts(**options).theta, whole)
        assert "draws are damaged" in caplog.text and len(rows.read_bytes()) == len(good)
    text = card.read_text()
    for bad in (text[:-20], text.replace("0.", "1.", 1), "[]", ""):
        card.write_text(bad)
        with pytest.raises(ValueError, match="must be as the run wrote it, and is damaged"):
            best.nuts(**options)


def test_draws_of_another_density_are_refused(best, tmp_path):
    """Where no digest tells: each draw has its log density beside it."""
    task = ChainTask(Joint(best.scene, best.z, best.z_covariance), 0, 1, 6, 5, None, str(tmp_path), 1)
    run_chain(task, lambda: None)
    images = [im.replace(variance=1.01 * im.variance) for im in best.scene.images]
    scene = best.scene.with_images(images)
    with pytest.raises(ValueError, match="a draw's log density is off by"):
        run_chain(ChainTask(Joint(scene, best.z, best.z_covariance), 0, 1, 6, 5, None, str(tmp_path), 1), lambda: None)


def test_a_checkpoint_keeps_the_maximum_that_it_began_with(best, tmp_path):
    """The same fit made elsewhere differs in its last digits: the run goes on; another maximum is another run."""
    options = {"draws": 20, "warmup": 15, "chains": 1, "seed": 2, "progress": False, "checkpoint": tmp_path}
    whole = best.nuts(**options).theta
    card = tmp_path / "run.json"
    run = json.loads(card.read_text())
    sd = best.z_covariance.diagonal().sqrt()

    def nearby(by):
        moved = {k: v for k, v in run.items() if k != "digest"} | {"z": (best.z + by * sd).tolist()}
        card.write_text(json.dumps(moved | {"digest": digest(moved)}))
        for f in tmp_path.glob("chain_0.*"):
            f.unlink()
        return best.nuts(**options)

    moved = nearby(1e-4).theta
    assert not np.array_equal(moved, whole)  # the other maximum is what it goes on with
    with pytest.raises(ValueError, match=r"galaxy\.x"):
        nearby(0.1)


def test_steps_are_long_where_the_posterior_is_nearly_normal(linear, best):
    """The exact Normal has no departure from itself; a wall has, and its steps are adapted; the user's own word stands."""

    def departure(fit):
        return Joint(fit.scene, fit.z, fit.z_covariance).departure()

    exact, walled = (
        linear[0].fit(progress=False),
        bj.Scene([bj.Sersic("galaxy", n=dist.Uniform(0.5, 1.3)), bj.Sky()], best.scene.images).fit(progress=False),
    )
    assert departure(exact) < 1e-6 and departure(walled) > BENT

    def aim(fit, **given):
        return fit.nuts(draws=2, warmup=2, chains=1, seed=1, progress=False, marginalize=None, **given).info["target_accept"]

    assert (aim(exact), aim(walled), aim(walled, target_accept=0.7)) == (None, 0.8, 0.7)


def test_steady_steps_that_are_too_long_are_given_up(best, tmp_path):
    """Where the covariance is three times too wide in each direction a step of 1.1 is one of 3.3: none is taken, and a chain finds its own."""
    target = Joint(best.scene, best.z, 9.0 * best.z_covariance)
    task = ChainTask(target, 0, 1, 20, None, None, str(tmp_path), 1)
    run_chain(task, lambda: None)
    stats = dict(zip(STATS, np.fromfile(task.rows).reshape(20, -1)[:, -len(target) - len(STATS) - 1 : -len(target) - 1].T, strict=True))
    assert (stats["step_size"] < 0.6).all() and stats["acceptance_rate"].mean() > 0.6


def test_off_the_cpu_no_place_is_kept_or_looked_for(best):
    target = Joint(best.scene, best.z, best.z_covariance)
    target.settle(torch.empty(len(best.names), device="meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_all_is_the_same(best):
    there = bj.Scene(best.scene.components, best.scene.images, device="cuda").fit(progress=False)
    assert all(abs(there.values[n] - best.values[n]) < 0.01 * best.errors[n] for n in best.names)
    for post in (there.laplace(200, seed=1), there.nuts(draws=50, warmup=30, chains=1, seed=1, progress=False)):
        assert all(abs(post.draws(n).mean() - best.values[n]) < best.errors[n] for n in best.names if not n.endswith(".pa"))
