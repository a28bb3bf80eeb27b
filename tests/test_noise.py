"""Noise other than stated: Student's t, and a factor on sigma; against Pyro's own density and what was put in."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import TRUTH, differences, small_scene, two_images

import bayesjoint as bj
from bayesjoint.scene.linear import Linear, linear_sites

F64 = torch.float64
KINDS = {
    "t": {"noise": bj.noise.StudentT(4)},
    "t in one image": {"noise": {"i": bj.noise.StudentT(3.0)}},
    "scale": {"extra": [bj.NoiseScale()]},
    "t and scale": {"noise": bj.noise.StudentT(5), "extra": [bj.NoiseScale(images=["g"])]},
}


def made(kind, images=None):
    options = KINDS[kind]
    images = small_scene().images if images is None else images
    scene = bj.Scene([bj.Sersic("galaxy", position=(0.3, -0.2)), bj.Sky(), *options.get("extra", [])], images, noise=options.get("noise"))
    values = {**TRUTH, **{s: 1.3 for s in scene.names if s.startswith("noise.")}}
    return scene, values


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_pyros_and_its_gradient_that_of_autograd(kind):
    scene, values = made(kind)
    z = scene.unconstrain(values)
    z = z + 0.01 * torch.randn(len(z), dtype=F64, generator=torch.Generator().manual_seed(1))
    leaf = z.clone().requires_grad_(True)
    value = scene.log_likelihood(leaf).sum()
    (fused,) = torch.autograd.grad(value, leaf)
    (plain,) = torch.autograd.grad(sum(t._plain(scene.full(scene.chart.values(leaf)[0])) for t in scene.likelihoods), leaf)
    assert torch.allclose(fused, plain, rtol=1e-8, atol=1e-8 * float(plain.abs().max()))
    conditioned = pyro.condition(scene.model, {k: v.detach() for k, v in scene.constrain(z).items()})
    trace = pyro.poutine.trace(conditioned).get_trace()
    trace.compute_log_prob()
    observed = sum(float(trace.nodes[f"image[{im.name}]"]["log_prob_sum"].detach()) for im in scene.images)
    assert float(value.detach()) == pytest.approx(observed, rel=1e-9)
    full = scene.full(scene.chart.values(z)[0])
    for term in scene.likelihoods:
        _, v, g, h = term.normal_equations(full)
        again, by = term._scored(full)
        assert float(v) == pytest.approx(float(again), rel=1e-10)
        assert torch.allclose(g, by, rtol=1e-7, atol=1e-7 * float(by.abs().max()))
        assert torch.linalg.eigvalsh(h).min() > -1e-9 * float(h.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_precision_is_the_expected_information(kind):
    """The gradients' scatter over simulated images is what the precision says."""
    scene, values = made(kind)
    theta = scene.vector(values)
    scores = []
    for seed in range(60):
        again = scene._like(images=scene.simulate(values, seed), plans=scene.plans, start=values)
        scores.append(sum(t._scored(again.full(theta))[1] for t in again.likelihoods))
    h = sum(t.normal_equations(scene.full(theta))[3] for t in scene.likelihoods)
    scale = torch.diagonal(h).rsqrt()
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(h * scale[:, None] * scale), (torch.stack(scores) * scale).T, upper=False)
    n = whitened.numel()
    assert abs(float(whitened.mean())) < 4 / np.sqrt(n)
    assert abs(float(whitened.square().mean()) - 1) < 4 * np.sqrt(2 / n)


def test_a_factor_on_sigma_is_found_and_widens_the_errors():
    empty, _ = made("scale", two_images())
    values = {**TRUTH, "noise.scale[g]": 1.5, "noise.scale[i]": 0.8}
    scene, _ = made("scale", empty.simulate(values, 2))
    best = scene.fit(progress=False)
    assert best.converged
    for name, factor in (("g", 1.5), ("i", 0.8)):
        error = best.errors[f"noise.scale[{name}]"]
        pixels = scene.images[[im.name for im in scene.images].index(name)].valid.sum()
        assert error == pytest.approx(factor / np.sqrt(2 * pixels), rel=0.1)
        assert abs(best.values[f"noise.scale[{name}]"] - factor) < 3.5 * error
    assert best.chi2 == pytest.approx(best.dof, rel=0.1)
    plain = bj.Scene([bj.Sersic("galaxy", position=(0.3, -0.2)), bj.Sky()], scene.images).fit(progress=False)
    assert 1.2 < best.errors["sky.level[g]"] / plain.errors["sky.level[g]"] < 1.55  # the shared structure is also seen in the other image
    assert best.scene.residuals(best.values)["g"].std() == pytest.approx(1.0, rel=0.05)
    table = best.table()
    assert list(table["source"]) == ["galaxy"]


def test_pixels_far_off_pull_a_students_t_but_little():
    clean = small_scene().images
    rng, spoilt = np.random.default_rng(5), []
    for im in clean:
        data = im.data.copy()
        hit = rng.random(im.shape) < 0.02
        data[hit] += 30 * im.sigma[hit]
        spoilt.append(im.replace(data=data))
    parts = [bj.Sersic("galaxy", position=(0.3, -0.2)), bj.Sky()]
    gauss, student = bj.Scene(parts, spoilt).fit(progress=False), bj.Scene(parts, spoilt, noise=bj.noise.StudentT(3)).fit(progress=False)
    assert student.converged
    z = {k: (student.values[k] - TRUTH[k]) / student.errors[k] for k in TRUTH}
    assert max(map(abs, z.values())) < 4
    assert abs(gauss.values["sky.level[g]"] - TRUTH["sky.level[g]"]) / gauss.errors["sky.level[g]"] > 10
    x = student.z.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(student.scene.log_density(x), x)
    assert float(g @ student.z_covariance @ g) < 1e-5  # it is a maximum


def test_fluxes_are_integrated_out_beside_a_noise_scale():
    scene, values = made("scale")
    linear = Linear(scene, scene.vector(values))
    rest = scene.unconstrain(values)[linear.rest].clone().requires_grad_(True)
    (g,) = torch.autograd.grad(linear.log_density(rest), rest)
    assert torch.allclose(g, differences(linear.log_density, rest), rtol=1e-4, atol=1e-3)
    assert linear_sites(made("t in one image")[0]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_noise_is_of_its_kind_and_scenes_are_loaded_with_it(kind, tmp_path):
    scene, values = made(kind)
    again = scene._like(images=scene.simulate(values, 7), plans=scene.plans, start=values)
    r = np.concatenate([v[im.valid] for im, v in zip(again.images, again.residuals(values).values(), strict=True)])
    assert np.quantile(r, [0.25, 0.75]) == pytest.approx([-0.7, 0.7], abs=0.1)
    again.save(tmp_path / "scene.yaml")
    loaded = bj.Scene.load(tmp_path / "scene.yaml", again.images)
    z = again.unconstrain(values)
    assert float(loaded.log_density(z)) == float(again.log_density(z))
    assert loaded.noise == again.noise
    part = again.subset(images=["g"])
    assert part.noise["g"] == again.noise["g"]


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (lambda: bj.noise.StudentT(2), "above 2, and 2 came"),
        (lambda: bj.noise.StudentT("4"), "a number above 2"),
        (lambda: bj.Scene([bj.Sky()], two_images(), noise="t"), "bj.noise.StudentT"),
        (lambda: bj.Scene([bj.Sky()], two_images(), noise={"x": bj.noise.StudentT()}), "noise= names 'x'"),
        (lambda: bj.Scene([bj.Sky()], two_images(), noise={"g": 3}), "The noise of 'g'"),
        (lambda: bj.Scene([bj.Sky(), bj.NoiseScale(), bj.NoiseScale(name="b")], two_images()), "Two NoiseScales"),
        (lambda: bj.Scene([bj.Sky(), bj.NoiseScale(dist.Normal(1.0, 0.1))], two_images()), "allows negative values"),
    ],
)
def test_what_is_no_noise_is_refused(give, says):
    with pytest.raises((ValueError, TypeError), match=says):
        give()
