"""Fluxes and skies in closed form, and columns of the Jacobian where they are not zero: against dense linear algebra."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import TRUTH, differences, small_scene

import bayesjoint as bj
from bayesjoint.render.blocks import Block, trimmed
from bayesjoint.scene import likelihood
from bayesjoint.scene.linear import Linear

F64 = torch.float64


def number(x):
    return float(x.detach())


def two_in_windows():
    """Two galaxies and a star in two images, with windows on the galaxies in the first, and one flux that is held."""
    empty = small_scene()
    galaxies = [bj.Sersic("a", position=(-2.0, 0.5)), bj.Sersic("b", position=(2.5, -1.0))]
    made = bj.Scene([*galaxies, bj.Point("star", position=(0.5, 3.0)), bj.Sky(order=1)], empty.images)
    values = {**made.start, "a.q": 0.5, "a.r_eff": 0.7, "b.r_eff": 0.5, "a.flux[g]": 1e5, "b.flux[g]": 5e4, "star.flux[g]": 2e4}
    plans = {k: dict(v) for k, v in made.plans.items()}
    plans["g"]["a"] = dataclasses.replace(plans["g"]["a"], step=2, window=(3, 26, 6, 40))
    plans["g"]["b"] = dataclasses.replace(plans["g"]["b"], window=(24, 47, 2, 33))
    return made.with_plans(plans, values).fixed(values, ["b.flux[i]"]), values


def dense_system(scene, z):
    """Columns of unit amplitude of every linear site, and the residual with all at zero, in units of the noise: by plain rendering."""
    theta = scene.chart.values(z)[0].detach().clone()
    sites = Linear(scene, theta).sites
    theta[sites] = 0.0

    def models(v):
        full = scene.full(v)
        return torch.cat([((t.model(full)) / t.unit * t.weight).view(-1) for t in scene.likelihoods])

    base = models(theta)
    columns = []
    for i in sites:
        one = theta.clone()
        one[i] = 1e5
        columns.append((models(one) - base) / 1e5)
    data = torch.cat([(t.data * t.weight).view(-1) for t in scene.likelihoods])
    return sites, torch.stack(columns), data - base


def exact_marginal(scene, z):
    """The log density with the linear sites integrated out, by brute force."""
    sites, u, y = dense_system(scene, z)
    priors = [scene.chart.priors[i] for i in sites]
    m, p = torch.stack([q.loc for q in priors]), torch.stack([q.scale for q in priors]) ** -2
    a = u @ u.T + torch.diag(p)
    s = torch.diagonal(a).rsqrt()
    b = u @ y + p * m
    mean = torch.linalg.solve(a * s[:, None] * s, b * s) * s
    logdet = torch.logdet(a * s[:, None] * s) - 2 * torch.log(s).sum()
    value = sum(t.const for t in scene.likelihoods) - 0.5 * (y @ y + (p * m * m).sum() - b @ mean + logdet - torch.log(p).sum())
    rest = z.clone()
    rest[sites] = m
    at_mean = scene.log_prior(rest) - sum(q.log_prob(q.loc) for q in priors)
    return float(value + at_mean), mean, torch.linalg.inv(a * s[:, None] * s) * s[:, None] * s


@pytest.mark.parametrize("make", [lambda: (small_scene(), TRUTH), two_in_windows], ids=["galaxy", "windows"])
def test_marginal_density_is_the_integral(make):
    scene, values = make()
    z = scene.unconstrain({k: v for k, v in values.items() if k in scene.names})
    z = z + 0.03 * torch.randn(len(z), dtype=F64, generator=torch.Generator().manual_seed(1)) * (z.abs() < 50)
    linear = Linear(scene, scene.vector({k: v for k, v in values.items() if k in scene.names}))
    want, mean, covariance = exact_marginal(scene, z)
    rest = z[linear.rest].clone().requires_grad_(True)
    value = linear.log_density(rest)
    assert number(value) == pytest.approx(want, rel=1e-9)
    solution = linear.solve(scene.full(scene.chart.values(z)[0]))
    assert torch.allclose(solution.mean, mean, rtol=1e-7)
    assert torch.allclose(solution.covariance(), covariance, rtol=1e-6, atol=1e-12 * float(covariance.abs().max()))
    (gradient,) = torch.autograd.grad(value, rest)
    assert torch.allclose(gradient, differences(linear.log_density, rest), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("make", [lambda: (small_scene(), TRUTH), two_in_windows], ids=["galaxy", "windows"])
def test_profile_and_likelihoods_are_those_of_the_scene(make):
    scene, values = make()
    start = {k: v for k, v in values.items() if k in scene.names}
    z = scene.unconstrain(start)
    linear = Linear(scene, scene.vector(start))
    best, value = linear.profile(z)
    assert value == pytest.approx(number(scene.log_density(best)), rel=1e-10)
    x = best.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(scene.log_density(x), x)
    sd = torch.diagonal(linear.solve(scene.full(scene.chart.values(z)[0])).covariance()).sqrt()
    assert (g[linear.sites] * sd).abs().max() < 1e-4  # no slope is left along fluxes and skies
    solution = linear.solve(scene.full(scene.chart.values(z)[0]))
    drawn = z.clone()
    drawn[linear.sites] = solution.draw(torch.randn(len(linear.sites), dtype=F64, generator=torch.Generator().manual_seed(2)))
    assert torch.allclose(solution.log_likelihoods(drawn[linear.sites]), scene.log_likelihood(drawn), rtol=1e-9)


def test_draws_have_the_conditional_mean_and_covariance():
    scene = small_scene()
    linear = Linear(scene, scene.vector(TRUTH))
    solution = linear.solve(scene.full(scene.vector(TRUTH)))
    noise = torch.randn(4000, len(linear.sites), dtype=F64, generator=torch.Generator().manual_seed(3))
    x = torch.stack([solution.draw(e) for e in noise])
    sd = torch.diagonal(solution.covariance()).sqrt()
    assert ((x.mean(0) - solution.mean) / sd).abs().max() < 4 / np.sqrt(4000)
    assert (torch.cov((x / sd).T) - solution.covariance() / sd[:, None] / sd).abs().max() < 6 / np.sqrt(4000)


@pytest.mark.parametrize("budget", [2**30, 3 * 41 * 47 * 8 * 8, 1])
def test_normal_equations_are_those_of_the_dense_jacobian(monkeypatch, budget):
    monkeypatch.setattr(likelihood, "BUDGET", budget)  # all at once, or in groups, or one by one
    scene, values = two_in_windows()
    full = scene.full(scene.vector({k: v for k, v in values.items() if k in scene.names}))
    for term in scene.likelihoods:
        chi2, value, g, h = term.normal_equations(full)
        jac = term.renderer.jacobian(*term._split(full), term.weight) * term.factor[:, None]
        residual = ((term.data - term.model(full) / term.unit) * term.weight).view(-1)
        n = len(full)
        want_g, want_h = torch.zeros(n, dtype=F64), torch.zeros(n, n, dtype=F64)
        want_g.index_add_(0, term.index, jac @ residual)
        want_h.index_put_((term.index[:, None], term.index), jac @ jac.T, accumulate=True)
        assert float(chi2) == pytest.approx(float(residual @ residual), rel=1e-12)
        assert float(value) == pytest.approx(float(term.log_prob(full)), rel=1e-12)
        assert torch.allclose(g, want_g, rtol=1e-8, atol=1e-8 * float(want_g.abs().max()))
        s = torch.diagonal(want_h).clamp(min=1e-300).rsqrt()
        assert ((h - want_h) * s[:, None] * s).abs().max() < 1e-9


def test_a_source_with_a_window_holds_no_more_than_its_window():
    image = bj.Image(np.zeros((200, 240)), sigma=1.0, psf=bj.PSF.gaussian(1.0, 0.25), pixel_scale=0.25, band="r")
    made = bj.Scene([bj.Sersic("a", position=(10.0, 3.0)), bj.Point("star", position=(-12.0, 3.0)), bj.Sky()], image)
    values = {**made.start, "a.r_eff": 2.0, "a.q": 0.5, "a.flux[r]": 1e3, "star.flux[r]": 1e2}
    window = (130, 190, 80, 150)
    plans = {"r": {**made.plans["r"], "a": dataclasses.replace(made.plans["r"]["a"], step=1, window=window)}}
    scene = made.with_plans(plans, values)
    term, full = scene.likelihoods[0], scene.full(scene.vector(values))
    local = term._split(full)
    blocks = {b.rows[0]: b for b in term.renderer.blocks(*local)}
    margin = max(image.psf.native_shape) // 2
    starts = np.cumsum([0, *(len(v) for v in local[0])]).tolist()
    reached = [slice(max(lo - margin, 0), min(hi + margin, size)) for size, lo, hi in ((200, 80, 150), (240, 130, 190))]
    assert list(term.renderer.part[0].where) == reached
    core = term.renderer.stamps[0].where(local[0][0][:-1])
    assert list(blocks[starts[0]].where) == [slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(reached, core, strict=True)]
    assert [w.stop - w.start for w in blocks[starts[1]].where] == list(term.renderer.stamps[1].n)  # a star: the box of its PSF
    assert blocks[starts[2]].where == (slice(0, 200), slice(0, 240))
    assert [n // len(v) for n, v in zip(term.renderer.cells(*local), (*local[0], *local[1]), strict=True)] == [
        b.values[0].numel() for b in (blocks[k] for k in starts)
    ]


def test_columns_are_held_where_they_matter():
    image = bj.Image(np.ones((260, 240)), sigma=1.0, psf=bj.PSF.moffat(1.0, 3.0, 0.3), pixel_scale=0.3, zeropoint=25.0, band="r")
    galaxy = bj.Sersic("a", position=(10.0, 3.0), window=10.0)
    made = bj.Scene([galaxy, bj.Point("star", position=(-12.0, 3.0)), bj.Sky()], image)
    full, term, tail = made.full(made.vector({**made.start, "a.r_eff": 0.8, "a.n": 1.0, "a.flux[r]": 1e3, "star.flux[r]": 1e2})), made.likelihoods[0], 1e-8
    local, residual = term._split(full), term.data * term.weight
    whole = term.renderer.blocks(*local, term.weight)
    held = term.renderer.blocks(*local, term.weight, tail=tail, residual=residual)
    left = (term.data - term.model(full) / term.unit) * term.weight
    assert torch.allclose(residual, left, rtol=0, atol=1e-12 * float(left.abs().max()))  # nothing is left away of the model
    cut = 0
    for a, b in zip(whole, held, strict=True):
        rows, columns = (slice(v.start - w.start, v.stop - w.start) for v, w in zip(b.where, a.where, strict=True))
        assert torch.equal(a.values[:, rows, columns], b.values)
        lost = 1 - b.values.square().sum((1, 2)) / a.values.square().sum((1, 2))
        assert lost.max() < 4 * tail
        cut += b.values.numel() < 0.7 * a.values.numel()
    assert cut == 2  # all but the sky


def test_a_block_of_nothing_is_empty():
    block = Block([3, 4], (slice(2, 9), slice(1, 6)), torch.zeros(2, 7, 5, dtype=F64))
    assert trimmed(block, 1e-10).values.numel() == 0
