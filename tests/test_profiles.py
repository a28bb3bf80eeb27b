"""Every profile and shape: total flux, formula, derivatives, extremes, precision, devices."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.special import gammaincinv, k0, k1
from torch.autograd import gradcheck, gradgradcheck

from bayesjoint.sky import galaxies as g
from bayesjoint.sky import profiles
from bayesjoint.sky.shapes import FourierModes, Spiral, Superellipse, Truncation, Warp

F64 = torch.float64
KNOTS = (0.2, 0.7, 1.5, 3.0)


def t(x, dtype=F64):
    return torch.tensor(x, dtype=dtype)


# -- the formulas once more, in numpy and without norm ------------------------------------------------------------------------
def sersic(r, n, r_eff):
    return np.exp(-gammaincinv(2 * n, 0.5) * (r / r_eff) ** (1 / n))


def core_sersic(r, n, r_eff, r_b, a, c):
    return (1 + (r_b / r) ** a) ** (c / a) * np.exp(-gammaincinv(2 * n, 0.5) * ((r**a + r_b**a) / r_eff**a) ** (1 / (n * a)))


def moffat(r, fwhm, beta):
    return (1 + (2 * r / fwhm) ** 2 * (2 ** (1 / beta) - 1)) ** -beta


def nuker(r, r_b, a, b, c):
    return (r / r_b) ** -c * (1 + (r / r_b) ** a) ** ((c - b) / a)


def king(r, r_c, r_t, a):
    edge = (1 + (r_t / r_c) ** 2) ** (-1 / a)
    return np.where(r < r_t, np.maximum((1 + (r / r_c) ** 2) ** (-1 / a) - edge, 0), 0) ** a


def ferrer(r, r_out, a, b):
    return np.where(r < r_out, np.maximum(1 - (r / r_out) ** (2 - b), 0), 0) ** a


def broken(r, h_in, h_out, r_b, sharp):
    a = sharp / r_b
    return np.exp(-r / h_in) * (1 + np.exp(a * (r - r_b))) ** ((1 / h_in - 1 / h_out) / a)


def gaussians(r, scale, *w, sigmas=(0.3, 1.0, 3.0)):
    flux = np.exp([0.0, *w])
    return sum(f / s**2 * np.exp(-(r**2) / (2 * (s * scale) ** 2)) for f, s in zip(flux, sigmas, strict=True))


def spline(r, *mu):
    f = CubicSpline(KNOTS, [0.0, *mu], bc_type="natural")
    c = np.clip(r, KNOTS[0], KNOTS[-1])
    return np.exp(f(c) + f(c, 1) * (r - c))


@dataclass
class Case:
    source: g.Extended
    params: tuple[float, ...]
    formula: object
    breaks: tuple[float, ...] = ()
    stop: float = 1e6
    """Radius within which the flux is 1."""

    def tensors(self, dtype=F64):
        return [t(p, dtype) for p in self.params]

    def light(self, r):
        return self.source.radial_light(t(r) ** 2, *self.tensors()).numpy()


CASES = {
    "Sersic": Case(g.Sersic("g"), (2.5, 1.3), sersic),
    "Exponential": Case(g.Exponential("g"), (1.3,), lambda r, r_eff: sersic(r, 1, r_eff)),
    "DeVaucouleurs": Case(g.DeVaucouleurs("g"), (1.3,), lambda r, r_eff: sersic(r, 4, r_eff)),
    "Gaussian": Case(g.Gaussian("g"), (1.7,), lambda r, w: 2.0 ** (-((2 * r / w) ** 2))),
    "Moffat": Case(g.Moffat("g"), (1.7, 2.6), moffat),
    "CoreSersic": Case(g.CoreSersic("g"), (3.2, 1.6, 0.3, 3.5, 0.3), core_sersic, (0.3,)),
    "CoreSersic-sharp": Case(g.CoreSersic("g"), (1.2, 1.6, 0.9, 60.0, 1.1), core_sersic, (0.9,)),
    "Nuker": Case(g.Nuker("g"), (0.6, 2.1, 1.4, 0.3), nuker, (0.6,), 6.0),
    "Nuker-steep": Case(g.Nuker("g"), (0.6, 20.0, 3.3, 1.2), nuker, (0.6,), 6.0),
    "King": Case(g.King("g"), (0.7, 4.2, 2.3), king, (), 4.2),
    "King-inverted": Case(g.King("g"), (3.0, 1.4, 2.0), king, (), 1.4),
    "Ferrer": Case(g.Ferrer("g"), (2.7, 2.4, 0.6), ferrer, (), 2.7),
    "BrokenExponential": Case(g.BrokenExponential("g"), (1.4, 0.4, 2.0, 9.0), broken, (2.0,)),
    "BrokenExponential-up": Case(g.BrokenExponential("g"), (0.3, 1.6, 1.1, 30.0), broken, (1.1,)),
    "GaussianRing": Case(g.GaussianRing("g"), (1.6, 0.35), lambda r, a, s: np.exp(-((r - a) ** 2) / (2 * s**2)), (1.6,)),
    "MultiGaussian": Case(g.MultiGaussian("g"), (0.9, 0.4, -0.7), gaussians),
    "Spline": Case(g.Spline("g", knots=KNOTS), (-0.6, -1.7, -4.1), spline, KNOTS, KNOTS[-1]),
}
EDGE = g.EdgeOn("g")
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_no_profile_is_left_out():
    assert {name.split("-")[0] for name in CASES} | {"EdgeOn"} == set(g.__all__)


@each
def test_total_flux(case):
    edges = np.log([1e-9, *sorted({*case.breaks, 1.0, min(case.stop, 30.0), case.stop})])

    def ring(s):
        return 2 * np.pi * np.exp(2 * s) * float(case.light(np.exp(s)))

    # QUADPACK's 1e-8 of the pieces is checked to 1e-6 of the sum
    total = sum(quad(ring, a, b, epsabs=1e-8, epsrel=1e-8, limit=200)[0] for a, b in pairwise(edges) if a < b <= edges[-1])
    assert abs(total - 1) < 1e-6


@each
def test_formula(case):
    r = np.array([0.05, 0.4, 0.9, 1.35, 2.2, 3.7])
    ours, theirs = case.light(r), case.formula(r, *case.params)
    np.testing.assert_allclose(ours / ours[0], theirs / theirs[0], rtol=1e-7, atol=1e-12)


@each
def test_twice_differentiable(case):
    rho2 = t([0.02, 0.5, 1.9]).requires_grad_()
    args = (rho2, *(p.requires_grad_() for p in case.tensors()))
    assert gradcheck(case.source.radial_light, args, eps=1e-6, atol=1e-6, rtol=1e-5)
    assert gradgradcheck(case.source.radial_light, args, eps=1e-6, atol=1e-5, rtol=1e-4)


@each
def test_derivatives_equal_those_of_autograd(case):
    rho2 = t([0.02, 0.5, 1.9, 8.0])
    params = case.tensors()
    light, by_rho2, *by = (
        case.source.radial_light(rho2, *params),
        *torch.func.jacrev(case.source.radial_light, tuple(range(len(params) + 1)))(rho2, *params),
    )
    want = [light, by_rho2.diagonal() * rho2, *by]
    for given in (params, case.params):
        value, steep, slopes = case.source.derivatives(rho2.clone(), *given)
        for ours, theirs in zip((value, steep, *slopes), want, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10 * float(theirs.abs().max()))


@each
def test_forward_mode_and_vmap(case):
    rho2, params = t([0.02, 0.5, 1.9]), case.tensors()
    wrt = tuple(range(1, len(params) + 1))
    forward, reverse = (jac(case.source.radial_light, wrt)(rho2, *params) for jac in (torch.func.jacfwd, torch.func.jacrev))
    many = torch.func.vmap(case.source.radial_light, in_dims=(None, *[0] * len(params)))(rho2, *(torch.stack([p, 1.1 * p]) for p in params))
    for a, b in zip(forward, reverse, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(many[1], case.source.radial_light(rho2, *(1.1 * p for p in params)))


@each
def test_finite_at_the_extremes(case):
    rho2 = t([0.0, 1e-30, 1e-16, 1.0, 1e12, 1e200])
    specs = case.source.specs_of_profile
    points = [list(case.params)]
    for i, spec in enumerate(specs):
        points += [[*case.params[:i], bound, *case.params[i + 1 :]] for bound in spec.bounds if np.isfinite(bound)]
    for point in points:
        args = [rho2.clone().requires_grad_(), *(t(p).requires_grad_() for p in point)]
        light = case.source.radial_light(*args)
        assert torch.isfinite(light).all() and (light >= 0).all(), point
        for x in torch.autograd.grad(light.sum(), args):
            assert torch.isfinite(x).all(), point
        value, steep, by = case.source.derivatives(rho2[1:], *point)
        for x in (value, steep, *by):
            assert torch.isfinite(x).all(), point


@each
def test_single_precision(case):
    rho2 = t([1e-30, 1e-3, 0.5, 1.9, 8.0, 1e12])
    exact = case.source.derivatives(rho2, *case.tensors())
    rough = case.source.derivatives(rho2.float(), *case.tensors(torch.float32))
    for a, b, unit in zip((*rough[:2], *rough[2]), (*exact[:2], *exact[2]), (1.0, 1.0, *case.params), strict=True):
        assert a.dtype == torch.float32 and torch.isfinite(a).all()
        scale = max(float(b[1:].abs().max()), float(exact[0][1:].max()) / abs(unit))  # rounding is relative to the light
        torch.testing.assert_close(a[1:].double(), b[1:], rtol=2e-5, atol=1e-5 * scale)


@each
def test_meta_device(case):
    rho2, params = torch.empty(5, 4, device="meta"), [torch.empty((), device="meta") for _ in case.params]
    light, steep, by = case.source.derivatives(rho2, *params)
    assert all(x.device.type == "meta" and x.shape == (5, 4) for x in (light, steep, *by))
    ones = torch.ones_like(rho2)
    assert case.source.light(ones, ones, params[0], *params).shape == (5, 4)


def test_extent_is_where_light_ends():
    for name in ("King", "Ferrer", "GaussianRing"):
        case = CASES[name]
        end = float(case.source.extent(*case.tensors()))
        assert case.light(end * 1.001) < 1e-13 < case.light(end * 0.7)


@pytest.mark.parametrize(("source", "params"), [(g.Moffat, (1.0, 0.7)), (g.Nuker, (1.0, 2.0, 1.5, 2.4)), (g.Ferrer, (1.0, 2.0, 2.5))])
def test_no_wall_where_the_total_diverges(source, params):
    source, args = source("g"), [t(p).requires_grad_() for p in params]
    light = source.radial_light(t([0.01, 0.5]), *args)
    assert (light > 0).all()
    assert all(torch.isfinite(x) for x in torch.autograd.grad(light.log().sum(), args))


# -- edge-on disc ---------------------------------------------------------------------------------------------------------------
def edge_light(u, v, r_s):
    return EDGE.light(u, v, t(0.2), r_s)


def test_edge_on():
    r_s = 0.8

    def along(u):
        return float(edge_light(t(u), t(0.0), t(r_s)))

    def across(v):
        return float(edge_light(t(0.0), t(v), t(r_s))) / along(0.0)

    assert abs(2 * quad(along, 0, 40, epsabs=1e-10)[0] * 2 * quad(across, 0, 30)[0] - 1) < 1e-6
    u, v = np.array([0.1, 0.7, 2.0]), np.array([0.5, -0.1, 1.0])
    want = u / r_s * k1(u / r_s) / np.cosh(v / r_s) ** 2 / (2 * np.pi * r_s**2)
    np.testing.assert_allclose(edge_light(t(-u), t(v), t(r_s)), want, rtol=1e-12)


def test_edge_on_is_differentiable_everywhere():
    args = [t([0.1, 0.7, -2.0]), t([0.5, -0.1, 1.0]), t(0.8)]
    assert gradcheck(edge_light, [a.requires_grad_() for a in args], check_forward_ad=True)
    assert gradgradcheck(edge_light, args, check_fwd_over_rev=True)
    x = t([0.0, 1e-15, 1e-3, 1.0, 30.0, 1e200])
    one = torch.ones_like(x)
    value, first = torch.func.jvp(profiles.x_k1, (x,), (one,))
    second = torch.func.jvp(lambda y: torch.func.jvp(profiles.x_k1, (y,), (one,))[1], (x,), (one,))[1]
    assert torch.isfinite(value).all() and torch.isfinite(first).all() and torch.isfinite(second).all()
    assert value[0] == 1 and first[0] == 0
    np.testing.assert_allclose(first[1:], -x[1:].numpy() * k0(x[1:].numpy()), rtol=1e-9)
    hessian = torch.func.vmap(torch.func.hessian(profiles.x_k1))(x)
    torch.testing.assert_close(hessian, second)
    for extreme in (0.0, 1e150):
        args = [t(extreme).requires_grad_(), t(extreme).requires_grad_(), t(0.8).requires_grad_()]
        assert all(torch.isfinite(d) for d in torch.autograd.grad(edge_light(*args), args))


def test_edge_on_in_single_precision_and_on_meta():
    u, v = t([0.0, 0.3, 2.0]), t([0.0, 0.4, -1.0])
    torch.testing.assert_close(edge_light(u.float(), v.float(), t(0.8, torch.float32)).double(), edge_light(u, v, t(0.8)), rtol=1e-5, atol=0)
    on_meta = [x.to("meta") for x in (u, v, t(0.2), t(0.8))]
    assert EDGE.light(*on_meta).shape == (3,)
    assert EDGE.radial_light(on_meta[0], on_meta[3]).shape == (3,)
    assert EDGE.scale(t(0.8)) == 0.8


# -- shapes -----------------------------------------------------------------------------------------------------------------------
SHAPES = {
    "Superellipse": (Superellipse(), (2.7,)),
    "FourierModes": (FourierModes(1, 3, 4), (0.1, -0.05, 0.07, 0.03, -0.06, 0.1)),
    "Spiral": (Spiral(), (1.5, 0.4)),
    "Warp": (Warp([1.0, 3.0]), (0.3, 12.0, -0.2, -20.0)),
    "Truncation": (Truncation(), (1.9, 6.0)),
    "Truncation-inner": (Truncation(inner=True), (0.5, 6.0)),
    "two": ((Truncation(), Superellipse()), (1.9, 6.0, 1.6)),
    "arms": ((Spiral(), FourierModes(2), Truncation(inner=True)), (1.5, 0.4, 0.3, 0.1, 0.5, 6.0)),
    "warped": ((FourierModes(4), Warp([1.0, 3.0])), (0.1, -0.05, 0.3, 12.0, -0.2, -20.0)),
}
every_shape = pytest.mark.parametrize(("shape", "params"), SHAPES.values(), ids=SHAPES)
on_both = pytest.mark.parametrize(("kind", "own"), [(g.Sersic, (1.6, 1.2)), (g.EdgeOn, (0.8,))], ids=["Sersic", "EdgeOn"])


@every_shape
@on_both
def test_flux_with_shapes(shape, params, kind, own):
    source = kind("g", shape=shape)
    exact = 1e-4 if source.elliptical else 5e-4  # an edge-on disc is not smooth in angle, and `plane_total` takes few
    angle = 2 * np.pi * (np.arange(401) + 0.3) / 401
    log_r = np.arange(-14.0, 7.0, 0.03)
    r = t(np.exp(log_r))[:, None]
    light = source.light(r * t(np.cos(angle)), r * t(np.sin(angle)), t(0.6), *map(t, (*own, *params)))
    assert abs(2 * np.pi * 0.03 * float((light * r**2).mean(1).sum()) - 1) < exact


@every_shape
@on_both
def test_shapes_are_differentiable(shape, params, kind, own):
    source = kind("g", shape=shape)
    args = [t([0.3, -1.1, 2.0]), t([0.5, 0.4, -0.7]), t(0.6), *map(t, (*own, *params))]
    assert gradcheck(source.light, [a.requires_grad_() for a in args], eps=1e-6, atol=1e-6, rtol=1e-4)
    args[0], args[1] = (t([0.0, 0.0, 1.0, 1e20]).requires_grad_(), t([0.0, 1.0, 0.0, 1e20]).requires_grad_())
    light = source.light(*args)
    assert torch.isfinite(light).all()
    assert all(torch.isfinite(d).all() for d in torch.autograd.grad(light.sum(), args, allow_unused=True) if d is not None)


def test_derivatives_of_a_cut_profile():
    source, params = g.King("g", shape=Truncation()), [t(p) for p in (0.7, 4.2, 2.3, 1.9, 6.0)]
    rho2 = t([0.02, 0.5, 1.9, 8.0])
    by_rho2, *by = torch.func.jacrev(source.radial_light, tuple(range(6)))(rho2, *params)
    light, steep, slopes = source.derivatives(rho2, *params)
    torch.testing.assert_close(light, source.radial_light(rho2, *params))
    for ours, theirs in zip((steep, *slopes), (by_rho2.diagonal() * rho2, *by), strict=True):
        torch.testing.assert_close(ours, theirs)


# -- options --------------------------------------------------------------------------------------------------------------------------
def test_options_and_their_errors():
    assert g.MultiGaussian("g", sigmas=(1, 2)).options() == {"sigmas": [1.0, 2.0]}
    assert [s.name for s in g.MultiGaussian("g").specs_of_profile] == ["r_scale", "w2", "w3"]
    spline = g.Spline("g", knots=[0, 1, 2, 4])
    assert spline.options() == {"knots": [0.0, 1.0, 2.0, 4.0]}
    assert [s.name for s in spline.specs_of_profile] == ["mu1", "mu2", "mu3"]
    for sigmas in ((), (1, 1), (0, 1), (2, 1), (1, float("nan"))):
        with pytest.raises(ValueError, match="increasing positive"):
            g.MultiGaussian("g", sigmas=sigmas)
    for knots in ([0, 1], [-1, 1, 2], [0, 2, 1], [0, 1, float("inf")]):
        with pytest.raises(ValueError, match="at least three increasing"):
            g.Spline("g", knots=knots)


def test_every_parameter_says_what_it_is():
    for case in (*CASES.values(), Case(EDGE, (), None)):
        for spec in case.source.specs_of_profile:
            assert spec.doc and (spec.unit == "arcsec") == (spec.prior is None)
            if spec.prior is not None:
                assert spec.bounds[0] < spec.prior[1] < spec.bounds[1]
