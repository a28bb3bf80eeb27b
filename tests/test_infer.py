"""Inference: the fit, and all samplers on a scene whose posterior is known exactly."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from conftest import TRUTH, small_scene, two_images

import bayesjoint as bj

METHODS = {
    "laplace": lambda best: best.laplace(draws=2500, seed=1),
    "svi": lambda best: best.svi(draws=4000, seed=1, progress=False),
    "nuts": lambda best: best.nuts(draws=1200, warmup=100, chains=2, seed=1, progress=False),
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


@pytest.mark.parametrize("method", METHODS)
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


def test_joint_is_tighter_than_each_alone_and_agrees():
    scene = small_scene()
    joint = scene.fit(progress=False).laplace(draws=1000, seed=1)
    for name in ("g", "i"):
        alone = scene.subset(images=[name]).fit(progress=False).laplace(draws=1000, seed=2)
        for p in ("x", "y", "q", "n", "r_eff"):
            a, b = alone.draws(f"galaxy.{p}"), joint.draws(f"galaxy.{p}")
            assert b.std() < a.std() * 1.02
            assert abs(a.mean() - b.mean()) < 4 * a.std()


def test_same_seed_same_draws_and_no_global_state(best):
    state = torch.get_rng_state()
    a, b, c = (best.nuts(draws=20, warmup=20, chains=2, seed=s, progress=False, workers=w).theta for s, w in ((4, 2), (4, 1), (5, 1)))
    assert np.allclose(a, b, rtol=1e-9) and not np.allclose(a, c)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(best.laplace(50, seed=3).theta, best.laplace(50, seed=3).theta)
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
