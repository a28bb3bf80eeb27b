"""Images without a PSF: the light's means over pixels, against direct integration over each pixel,
refined towards the centre.
"""

import functools

import numpy as np
import pytest
import torch
from test_sources import CASES, PA, X, Y, half_chi2, local, tensor

import bayesjoint as bj
from bayesjoint.images import Frame
from bayesjoint.render.edges import RadialTable
from bayesjoint.render.renderer import Renderer
from bayesjoint.render.stamp import StampPlan
from bayesjoint.render.taper import Taper

F64, CPU = torch.float64, torch.device("cpu")
SIZE = 25


def renderer(name, size=SIZE, dtype=F64, device="cpu", **plan):
    image, middle = bj.Image(np.zeros((size, size)), sigma=1.0, pixel_scale=1.0), (size - 1) / 2
    planned = StampPlan((middle - X, middle + Y), q=CASES[name].q, **plan)
    return Renderer(
        image, Frame(None), [(CASES[name].source, planned)], dtype, torch.device(device)
    )


def whole(name):
    """What plans a source that ends as all core."""
    return {"extent": 1.3 * CASES[name].extent}


def means(light, size, x0, y0, depth=24, count=10):
    """Means over unit pixels by Gauss-Legendre in cells that are halved towards (x0, y0)."""
    node, weight = np.polynomial.legendre.leggauss(count)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(size), np.arange(size)))
    out, own, h = np.zeros(size * size), np.arange(size * size), 1.0
    for level in range(depth):
        near = np.maximum(np.abs(x - x0), np.abs(y - y0)) < 1.5 * h
        near |= level < 2  # cells of a quarter of a pixel, everywhere
        if level == depth - 1:
            near[:] = False
        at = [c[~near, None, None] + h / 2 * n for c, n in ((x, node), (y, node[:, None]))]
        values = light(*np.broadcast_arrays(*at))
        np.add.at(out, own[~near], (values * np.outer(weight, weight)).sum((1, 2)) / 4 * h * h)
        step = np.array([(a, b) for a in (-1, 1) for b in (-1, 1)]) * h / 4
        x, y, own, h = (
            (x[near, None] + step[:, 0]).ravel(),
            (y[near, None] + step[:, 1]).ravel(),
            np.repeat(own[near], 4),
            h / 2,
        )
    return out.reshape(size, size)


@functools.cache
def reference(name):
    case, middle = CASES[name], (SIZE - 1) / 2
    c, s = np.cos(np.radians(PA)), np.sin(np.radians(PA))

    def light(x, y):
        east, north = middle - x - X, y - middle - Y
        u, v = east * s + north * c, (east * c - north * s) / case.q
        return (
            case.source.light(
                torch.as_tensor(u), torch.as_tensor(v), *tensor((case.q, *case.light))
            ).numpy()
            / case.q
        )

    return means(light, SIZE, middle - X, middle + Y)


# error allowed, of the peak
DRAWN = {
    "Sersic": 1e-6, "DeVaucouleurs": 1e-6, "Sersic-cusp": 1e-6, "Gaussian-thin": 1e-6, "Moffat": 1e-6, "Nuker": 1e-6, "MultiGaussian": 1e-6,
    "Sersic+FourierModes": 1e-6, "Sersic+Spiral": 1e-6, "Sersic+Superellipse": 1e-5, "EdgeOn": 2e-5, "King": 1e-5,
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_light_is_integrated_over_pixels(name):
    ours, truth = renderer(name).image([local(name)], []).numpy(), reference(name)
    assert np.abs(ours - truth).max() < DRAWN[name] * truth.max()
    assert abs(ours.sum() / truth.sum() - 1) < 2e-6


@pytest.mark.parametrize("name", ["King", "Ferrer-cusp", "GaussianRing", "EdgeOn"])
def test_sources_that_end_are_all_core(name):
    """Edges are cut where the light ends; of an edge-on disc, whose transform is known, as many
    bands are drawn as have light.
    """
    ours, truth = renderer(name, **whole(name)).image([local(name)], []).numpy(), reference(name)
    assert np.abs(ours - truth).max() < (5e-6 if name == "EdgeOn" else 1e-6) * truth.max()


@pytest.mark.parametrize("step", [2, 4])
def test_coarse_grids_without_a_psf(step):
    """A large galaxy outside its core, on every second and fourth pixel: as on all of them."""
    image = bj.Image(np.zeros((151, 141)), sigma=1.0, pixel_scale=1.0)
    p = torch.tensor([-3.31, -1.17, 0.7, 37.0, 1.0, 30.0, 1.0], dtype=F64)
    plans = [StampPlan((73.31, 73.83), 0.7, k) for k in (1, step)]
    fine, coarse = (
        Renderer(image, Frame(None), [(bj.Sersic("g"), plan)], F64, CPU).image([p], [])
        for plan in plans
    )
    assert (fine - coarse).abs().max() < 5e-5 * fine.max() and (
        fine - coarse
    ).abs().median() < 1e-6 * fine.max()


def test_a_centre_anywhere_on_a_pixel():
    """On a corner, on an edge, and within rounding of one: fluxes add up, and neighbours are alike."""
    r, p = renderer("DeVaucouleurs"), local("DeVaucouleurs")
    p[2] = 1.0
    for at in ((0.5, 0.5), (0.5, 0.0), (0.0, 0.0), (0.5 + 1e-9, 0.5 - 1e-12), (0.5 - 1e-5, 0.2)):
        p[:2] = torch.tensor(at)
        image = r.image([p], [])
        mirrored = p.clone()
        mirrored[:2] = -p[:2]
        assert (image - r.image([mirrored], []).flip(0, 1)).abs().max() < 1e-8 * image.max()
        wide = renderer("DeVaucouleurs", 301).image([p], []).sum()
        assert 0.99 < float(wide) < 1


CONTRACT = ["Sersic", "Nuker", "King", "Sersic+FourierModes"]
contract = pytest.mark.parametrize(
    ("name", "plan"),
    [*((n, {}) for n in CONTRACT), ("King", whole("King")), ("EdgeOn", whole("EdgeOn"))],
)


@contract
def test_derivatives(name, plan):
    r, p = renderer(name, **plan), local(name, flux=30.0)
    torch.manual_seed(1)
    data, weight = torch.randn(SIZE, SIZE, dtype=F64), torch.rand(SIZE, SIZE, dtype=F64)
    f = half_chi2(r, data, weight)
    half, (fused,), _ = r.score([p], [], data, weight)
    bare = r.score([p], [], data, weight, slopes=False)[0]
    leaf = p.clone().requires_grad_()
    (plain,) = torch.autograd.grad(f(leaf), leaf)
    product = r.jacobian([p], []) @ ((r.image([p], []) - data) * weight).reshape(-1)
    assert abs(float(half) / float(f(p)) - 1) < 1e-12 and abs(float(bare) / float(half) - 1) < 1e-12
    for ours in (fused, product):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-10 * float(plain.abs().max()))
    # nodes move with the centre: what they are worth does not, as far as they are exact
    assert torch.autograd.gradcheck(
        f, (leaf,), eps=1e-5, atol=1e-6 * float(plain.abs().max()), rtol=1e-4
    )


@pytest.mark.parametrize("name", ["Sersic", "Sersic+FourierModes"])
def test_twice_differentiable(name):
    r, p = renderer(name, 9, fine=0.6), local(name).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda v: 30 * r.image([v], []).square().sum(), (p,), eps=1e-6, atol=1e-4, rtol=1e-3
    )


@contract
def test_single_precision_and_devices(name, plan):
    """A stray CPU tensor, or a wait for the device, is an error on the meta device."""
    exact = renderer(name, **plan).image([local(name)], [])
    rough = renderer(name, dtype=torch.float32, **plan).image(
        [local(name, dtype=torch.float32)], []
    )
    assert (
        rough.dtype == torch.float32 and (rough.double() - exact).abs().max() < 1e-5 * exact.max()
    )
    r, p, pixels = (
        renderer(name, device="meta", **plan),
        local(name).to("meta"),
        torch.empty(SIZE, SIZE, dtype=F64, device="meta"),
    )
    half, (grad,), _ = r.score([p], [], pixels, pixels)
    image, jacobian = r.image([p], []), r.jacobian([p], [])
    assert {x.device.type for x in (half, grad, image, jacobian)} == {"meta"}
    assert (grad.shape, image.shape, jacobian.shape) == (p.shape, pixels.shape, (len(p), SIZE**2))


@pytest.mark.parametrize("name", ["Sersic", "Sersic+Spiral"])
def test_smooth_from_pixel_to_pixel(name):
    """Half chi² at S/N 2000 changes by its slope, where the box moves on by a pixel and where an
    edge gets other nodes, too.
    """
    r, h = renderer(name), 1e-6
    torch.manual_seed(2)
    noise = torch.randn(SIZE, SIZE, dtype=F64)
    for at in (-0.5, 0.0, 0.37, 0.5):
        p = local(name, at, 0.3)
        model = r.image([p], [])
        weight = torch.full_like(model, 2000.0) / model.norm()
        data = model + noise / weight

        def half(x, p=p, data=data, weight=weight**2):
            value, (grad,), _ = r.score([torch.cat([p.new_tensor([x]), p[1:]])], [], data, weight)
            return float(value), float(grad[0])

        assert abs(half(at + h)[0] - half(at - h)[0] - 2 * h * half(at)[1]) < 1e-3


def test_far_away_and_beside_the_image():
    """Where no pixel is reached there is no light, and no derivative; values that no image has are
    not finite at worst.
    """
    for name in ("Sersic", "Sersic+FourierModes"):
        r, ones = renderer(name), torch.ones(SIZE, SIZE, dtype=F64)
        for x in (1e4, 1e9):
            p = local(name, x=x)
            value, (grad,), _ = r.score([p], [], ones, ones)
            assert torch.isfinite(grad).all() and float(value) == pytest.approx(
                0.5 * SIZE**2, rel=1e-6
            )
            assert float(r.image([p], []).abs().max()) < 1e-6


def test_the_table_of_means_against_the_profile():
    """g is the mean of the light within a radius over 2 pi, its slopes are its own, and the adjoint
    is one.
    """
    table = RadialTable(bj.Sersic("g"), Taper(5.0, 6), 1.0, F64, CPU)
    params = torch.tensor([2.5, 3.0], dtype=F64)
    _, g, slope = table.plain(params.unbind())
    at = table.radius * (torch.arange(table.count + 1, dtype=F64) / table.count) ** 4
    node, weight = np.polynomial.legendre.leggauss(200)
    for k in (40, 150, 300):
        tau = torch.as_tensor((node + 1) / 2)
        rho = at[k] * tau**4
        light = bj.Sersic("g").radial_light(rho**2, *params) * torch.exp(-((rho / 5.0) ** 6))
        inside = float(
            (torch.as_tensor(weight / 2) * light * rho * at[k] * 4 * tau**3).sum() / at[k] ** 2
        )
        assert float(g[k]) == pytest.approx(inside, rel=1e-6)
    assert torch.allclose(slope[50:-1], torch.gradient(g)[0][50:-1], rtol=2e-3)
    light = torch.rand(2 * table.count + 1, dtype=F64)
    a, b = torch.rand(2, table.count + 1, dtype=F64)
    x, y = table.of(light)
    assert float(x @ a + y @ b) == pytest.approx(
        float(light @ table.of_adjoint(a.clone(), b)), rel=1e-12
    )


def test_a_fit_needs_no_finer_plan():
    """At a signal-to-noise of 3000 the plan of an image without a PSF serves as it is: its error is
    far below the noise.
    """
    image = bj.Image(np.zeros((61, 61)), sigma=1.0, pixel_scale=0.4, zeropoint=25.0, band="r")
    truth = {
        "g.x": 0.1,
        "g.y": -0.2,
        "g.q": 0.6,
        "g.pa": 40.0,
        "g.n": 3.5,
        "g.r_eff": 2.0,
        "g.flux[r]": 3e7,
    }
    empty = bj.Scene([bj.Sersic("g")], image)
    scene = bj.Scene([bj.Sersic("g")], empty.replanned(truth).simulate(truth, 1))
    best = scene.fit(progress=False)
    assert best.converged and best.render_errors["r"] < 1e-3
    assert best.scene.plans["r"]["g"].fine == 1.0
    assert max(abs(best.values[k] - v) / best.errors[k] for k, v in truth.items()) < 4
