"""The scene's model is Pyro's: its own NUTS, autoguides, Predictive and condition work on it and give our posterior."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal, init_to_value

import bayesjoint as bj

TRUTH = {"galaxy.x": 0.4, "galaxy.y": -0.7, "galaxy.r_eff": 3.0, "galaxy.flux[a]": 40.0, "galaxy.flux[b]": 25.0}


@pytest.fixture(scope="module")
def best():
    """A galaxy of known shape in two images, in units in which all errors are of the order of 0.1 to 1: Pyro's kernels know no whitening."""
    psf = bj.PSF.gaussian(3.5, 1.0)
    images = [bj.Image(np.zeros((25, 25)), sigma=s, psf=psf, pixel_scale=1.0, band=b) for s, b in ((0.1, "a"), (0.08, "b"))]
    galaxy = bj.Sersic("galaxy", position=(0.0, 0.0), q=0.7, pa=30.0, n=1.0, r_eff=dist.LogNormal(1.0, 0.5), flux=dist.Normal(0.0, 100.0))
    return bj.Scene(galaxy, bj.Scene(galaxy, images).simulate(TRUTH, 1)).fit(progress=False)


@pytest.fixture(scope="module")
def ours(best):
    x = best.nuts(draws=1500, warmup=100, chains=2, seed=1, progress=False).theta.reshape(-1, len(best.names))
    return dict(zip(best.names, zip(x.mean(0), x.std(0), strict=True), strict=True))


def agree(ours, draws):
    for n, (mean, sd) in ours.items():
        x = draws[n].detach().double().numpy().ravel()
        assert abs(x.mean() - mean) < 0.25 * sd, n
        assert x.std() == pytest.approx(sd, rel=0.15), n


@pytest.mark.slow
def test_pyros_own_nuts_gives_the_same_posterior(best, ours):
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(1)
        kernel = NUTS(best.scene.model, init_strategy=init_to_value(values=tensors(best.values)))
        mcmc = MCMC(kernel, num_samples=1000, warmup_steps=150, disable_progbar=True)
        mcmc.run()
    agree(ours, mcmc.get_samples())


@pytest.mark.slow
def test_pyros_autoguide_gives_the_same_posterior(best, ours):
    with torch.random.fork_rng(), pyro.get_param_store().scope(), pyro.validation_enabled(False):
        torch.manual_seed(1)
        guide = AutoMultivariateNormal(best.scene.model, init_loc_fn=init_to_value(values=tensors(best.scene.start)))
        engine = SVI(best.scene.model, guide, pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.995}), Trace_ELBO(num_particles=2))
        for _ in range(800):
            engine.step()
        agree(ours, Predictive(best.scene.model, guide=guide, num_samples=1000, return_sites=best.names)())


def tensors(values):
    return {n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()}


def test_predictive_and_condition(best):
    scene = best.scene
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(3)
        trace = pyro.poutine.trace(pyro.condition(scene.model, tensors(best.values))).get_trace()
        z = scene.unconstrain(best.values)
        slope = torch.autograd.functional.jacobian(lambda x: torch.stack(list(scene.constrain(x).values())), z)
        want = float(scene.log_density(z).detach()) - float(torch.linalg.slogdet(slope)[1])
        assert float(trace.log_prob_sum().detach()) == pytest.approx(want, rel=1e-9)
        posterior = {n: torch.stack([v, v]) for n, v in scene.constrain(z).items()}
        images = Predictive(pyro.poutine.uncondition(scene.model), posterior_samples=posterior)()
    model = scene.render(best.values)
    for im in scene.images:
        drawn = images[f"image[{im.name}]"].detach().numpy()
        assert drawn.shape == (2, *im.shape) and not np.array_equal(drawn[0], drawn[1])
        assert ((drawn - model[im.name]) / im.sigma).std() == pytest.approx(1.0, rel=0.1)
