"""One contract for every source and shape, through the PSF onto pixels: flux, accuracy, derivatives, extremes, symmetry, precision, devices, files.

Lengths are in pixels of one arcsec. A reference of our own integrates the light against the PSF by quadrature, sharing nothing with
`bayesjoint.render`; what the light itself is, `test_profiles` holds against formulas.
"""

import functools
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from astropy.wcs import WCS

import bayesjoint as bj
from bayesjoint.images import Frame
from bayesjoint.render.renderer import Renderer
from bayesjoint.render.stamp import StampPlan
from bayesjoint.sky import galaxies
from bayesjoint.sky.extended import Extended

F64, CPU = torch.float64, torch.device("cpu")
SIZE, SMALL = 41, 25
X, Y, PA = 1.31, 2.27, 30.0
"""Place of the sources: arcsec East and North of the image's middle; their position angle."""
PSFS = {"native": (3.5, 1), "oversampled": (1.5, 5)}
WORST = 5e-4


@dataclass(frozen=True)
class Case:
    """A source with its parameters, and what a quadrature is to know of it."""

    source: Extended
    light: tuple[float, ...]
    q: float = 0.6
    sharp: tuple[float, ...] = ()
    """Radii at which the light or a derivative jumps, or all but does."""
    detail: float = 1.0
    """Length over which the light changes elsewhere."""
    bound: float = 1e-4
    """Error allowed, of the peak, and of the flux in the sum."""

    @property
    def bent(self):
        return not self.source.radial

    @property
    def extent(self):
        return float(self.source.extent(*tensor(self.light)))


def spline(shape=()):
    return bj.Spline("g", knots=(0.0, 2.0, 4.0, 8.0), shape=shape)


MODES, ARMS, FREE = bj.FourierModes(1, 3), (bj.Spiral(), bj.FourierModes(2)), (-0.6, -1.7, -4.1)
WAVES = (0.08, -0.05, 0.06, 0.03)
PROFILES = {
    "Sersic": Case(bj.Sersic("g"), (2.5, 3.0)),
    "Exponential": Case(bj.Exponential("g"), (4.0,)),
    "DeVaucouleurs": Case(bj.DeVaucouleurs("g"), (3.0,)),
    "Gaussian": Case(bj.Gaussian("g"), (3.0,)),
    "Moffat": Case(bj.Moffat("g"), (3.0, 2.6)),
    "CoreSersic": Case(bj.CoreSersic("g"), (3.2, 4.0, 0.8, 3.5, 0.3), sharp=(0.8,)),
    "Nuker": Case(bj.Nuker("g"), (2.0, 2.1, 1.4, 0.8), sharp=(2.0,)),
    "King": Case(bj.King("g"), (2.0, 12.0, 2.0), sharp=(12.0,)),
    "Ferrer": Case(bj.Ferrer("g"), (8.0, 2.0, 0.6), sharp=(8.0,), bound=3e-4),
    "BrokenExponential": Case(bj.BrokenExponential("g"), (3.0, 1.2, 6.0, 9.0), sharp=(6.0,)),
    "EdgeOn": Case(bj.EdgeOn("g"), (3.0,), q=0.3, detail=0.5),
    "GaussianRing": Case(bj.GaussianRing("g"), (4.0, 1.5), sharp=(4.0,), bound=WORST),
    "MultiGaussian": Case(bj.MultiGaussian("g"), (1.5, 0.4, -0.7), detail=0.5),
    "Spline": Case(spline(), FREE, sharp=(2.0, 4.0, 8.0)),
}
HARDER = {
    "Sersic-cusp": Case(bj.Sersic("g"), (6.0, 2.0), q=0.3),
    "Gaussian-thin": Case(bj.Gaussian("g"), (8.0,), q=0.1),
    "Moffat-wings": Case(bj.Moffat("g"), (1.5, 1.5), q=0.4),
    "CoreSersic-sharp": Case(bj.CoreSersic("g"), (1.2, 4.0, 2.0, 60.0, 1.1), sharp=(2.0,), detail=0.2),
    "Nuker-sharp": Case(bj.Nuker("g"), (6.0, 20.0, 3.3, 0.8), sharp=(6.0,), detail=0.3, bound=2e-4),
    "King-sharp": Case(bj.King("g"), (2.0, 12.0, 0.5), sharp=(12.0,)),
    "King-inverted": Case(bj.King("g"), (8.0, 5.0, 2.0), sharp=(5.0,), bound=3e-4),
    "Ferrer-sharp": Case(bj.Ferrer("g"), (8.0, 0.5, 0.0), sharp=(8.0,)),
    "Ferrer-cusp": Case(bj.Ferrer("g"), (8.0, 2.0, 1.5), sharp=(8.0,)),
    "BrokenExponential-sharp": Case(bj.BrokenExponential("g"), (3.0, 1.2, 6.0, 60.0), sharp=(6.0,), detail=0.3, bound=WORST),
    "Sersic+Superellipse-discy": Case(bj.Sersic("g", shape=bj.Superellipse()), (1.0, 4.0, 1.0), detail=0.5, bound=WORST),
    "Sersic+Spiral-strong": Case(bj.Sersic("g", shape=ARMS), (1.0, 4.0, 4.0, 2.0, 0.3, 0.1), detail=0.5, bound=WORST),
    "EdgeOn-thin": Case(bj.EdgeOn("g"), (4.0,), q=0.1, detail=0.5),
    "GaussianRing-thin": Case(bj.GaussianRing("g"), (6.0, 0.4), sharp=(6.0,), detail=0.3),
    "Spline-six": Case(bj.Spline("g", knots=(0.2, 0.7, 1.5, 3.0, 6.0, 12.0)), (-0.3, -1.0, -1.7, -2.5, -5.0), sharp=(0.2, 0.7, 1.5, 3.0, 6.0, 12.0)),
}
SHAPES = {
    "Superellipse": (bj.Superellipse(), (2.7,), ()),
    "FourierModes": (MODES, WAVES, ()),
    "Spiral": (ARMS, (2.0, 2.0, 0.2, 0.1), ()),
    "Warp": (bj.Warp([3.0, 8.0]), (0.2, 20.0, 0.4, 40.0), (3.0, 8.0)),
    "Truncation": (bj.Truncation(), (6.0, 8.0), (6.0,)),
    "hole": ((bj.Truncation(inner=True), bj.Superellipse()), (2.0, 4.0, 2.5), (2.0,)),
}
SHAPED = {f"Sersic+{k}": Case(bj.Sersic("g", shape=s), (1.6, 3.0, *p), sharp=at, detail=0.5) for k, (s, p, at) in SHAPES.items()}
COMBINED = {
    "EdgeOn+Warp": Case(bj.EdgeOn("g", shape=bj.Warp([3.0, 8.0])), (3.0, 0.2, 20.0, 0.4, 10.0), q=0.4, sharp=(3.0, 8.0), detail=0.5),
    "EdgeOn+Truncation": Case(bj.EdgeOn("g", shape=bj.Truncation()), (3.0, 6.0, 8.0), q=0.4, sharp=(6.0,), detail=0.5),
    "Spline+Superellipse": Case(spline(bj.Superellipse()), (*FREE, 2.7), sharp=(2.0, 4.0, 8.0)),
    "King+FourierModes": Case(bj.King("g", shape=MODES), (2.0, 10.0, 2.0, *WAVES), detail=0.2),
    "Ferrer+Truncation": Case(bj.Ferrer("g", shape=bj.Truncation()), (10.0, 2.0, 0.0, 6.0, 8.0), sharp=(6.0, 10.0), detail=0.5, bound=3e-4),
    "Nuker+Spiral": Case(bj.Nuker("g", shape=ARMS), (2.0, 2.1, 1.4, 0.8, 2.0, 2.0, 0.2, 0.1), sharp=(2.0,), detail=0.5),
}
SHARP_AND_BENT = {
    "Ferrer-sharp+Superellipse": Case(bj.Ferrer("g", shape=bj.Superellipse()), (8.0, 0.5, 0.0, 2.7), detail=0.1),
    "GaussianRing-thin+FourierModes": Case(bj.GaussianRing("g", shape=MODES), (5.0, 0.4, *WAVES), detail=0.2),
    "Sersic+Truncation-sharp": Case(bj.Sersic("g", shape=bj.Truncation()), (1.0, 4.0, 6.0, 40.0), sharp=(6.0,), detail=0.3),
}
EVERY = PROFILES | SHAPED | COMBINED
CASES = EVERY | HARDER | SHARP_AND_BENT
every_and_point = pytest.mark.parametrize("name", ["Point", *EVERY])


def tensor(values):
    return [torch.tensor(v, dtype=F64) for v in values]


# -- machinery ----------------------------------------------------------------------------------------------------------------
@functools.cache
def image_of(kind="native", size=SIZE):
    fwhm, s = PSFS[kind]
    half = int(3.4 * fwhm * s)
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / s
    psf = bj.PSF(np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2), oversampling=s)
    return bj.Image(np.zeros((size, size)), sigma=1.0, psf=psf, pixel_scale=1.0)


@functools.cache
def renderer(name, kind="native", size=SIZE, dtype=F64, device="cpu", **plan):
    source, q = (bj.Point("p"), 1.0) if name == "Point" else (CASES[name].source, CASES[name].q)
    middle = (size - 1) / 2
    planned = StampPlan((middle - X, middle + Y), q=q, **plan)  # +x is West
    return Renderer(image_of(kind, size), Frame(None), [(source, planned)], dtype, torch.device(device))


def local(name, x=X, y=Y, flux=1.0, dtype=F64):
    """Local parameters of a source."""
    own = () if name == "Point" else (CASES[name].q, PA, *CASES[name].light)
    return torch.tensor([x, y, *own, flux], dtype=dtype)


def panels(sharp, reach, step):
    """Edges of panels of radius: halved towards the centre and sharp places, no wider than `step` (far out, than a part of the radius)."""
    edges = [0.0]
    for a, b in pairwise((0.0, *(r for r in sharp if r < reach), reach)):
        half = (b - a) * 0.5 ** np.arange(30 if a == 0 else 12, 0, -1)
        for lo, hi in pairwise((a, *(a + half), *(b - half[::-1][1:12]), b)):
            edges += np.linspace(lo, hi, int(np.ceil((hi - lo) / (step * max(1.0, lo / SIZE)))) + 1)[1:].tolist()
    return np.array(edges)


def on_panels(edges, nodes):
    """Gauss-Legendre nodes and weights, shape (panels, nodes)."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(edges)[:, None] / 2
    return (edges[1:] + edges[:-1])[:, None] / 2 + half * x, half * w


@functools.cache
def reference(name, kind):
    """Light times a Gaussian PSF, integrated over the plane where the ellipse is a circle: exact to 1e-9 of the peak where it is smooth."""
    case, sigma = CASES[name], PSFS[kind][0] / np.sqrt(8 * np.log(2))
    margin = SIZE / 2 + 6 * sigma
    reach = (margin * np.sqrt(2) + np.hypot(X, Y)) / case.q
    us, vs, ws = [], [], []
    for r, w in zip(*on_panels(panels(case.sharp, reach, min(2.1 * sigma, 6 * case.detail)), 8), strict=True):
        # within quadrants, as light is not smooth on the axes; halved towards them where a shape makes it so
        cuts = np.linspace(0, 1, max(2, int(np.ceil(np.pi / 2 * r[-1] / (2.7 * sigma)))) + 1)
        if case.bent:
            halves = cuts[1] * 0.5 ** np.arange(4, 0, -1)
            cuts = np.concatenate([[0], halves, cuts[1:-1], 1 - halves[::-1], [1]])
        t, wt = on_panels(cuts, 10)
        angle, wt = np.pi / 2 * (t.ravel() + np.arange(4)[:, None]).ravel(), np.tile(wt.ravel(), 4) * np.pi / 2
        us.append((r[:, None] * np.cos(angle)).ravel())
        vs.append((r[:, None] * np.sin(angle)).ravel())
        ws.append(((r * w)[:, None] * wt).ravel())
    u, v, w = map(np.concatenate, (us, vs, ws))
    c, s = np.cos(np.radians(PA)), np.sin(np.radians(PA))
    x, y = -(X + u * s + case.q * v * c), Y + u * c - case.q * v * s
    near = (np.abs(x) < margin) & (np.abs(y) < margin)
    u, v, w, x, y = (a[near] for a in (u, v, w, x, y))
    w = w * case.source.light(torch.as_tensor(u), torch.as_tensor(v), *tensor((case.q, *case.light))).numpy()
    pixels, out = np.arange(SIZE) - (SIZE - 1) / 2, np.zeros((SIZE, SIZE))
    for k in range(0, w.size, 100_000):
        gx, gy = (np.exp(-0.5 * ((pixels[:, None] - z[k : k + 100_000]) / sigma) ** 2) for z in (x, y))
        out += (gy * w[k : k + 100_000]) @ gx.T
    return out / (2 * np.pi * sigma**2)


# -- 1, 2: flux and accuracy -----------------------------------------------------------------------------------------------------
UNRESOLVED = pytest.mark.xfail(strict=True, reason="a taper leaves a sharp end or ring outside the core to the pixels, which do not resolve it")


def _accuracy():
    """Every profile and shape with each PSF; those that end both as all core and with a taper."""
    for name, case in CASES.items():
        for kind in PSFS:
            if kind == "oversampled" and case.bent and case.q < 0.4:
                continue  # a box of 300 pixels of ten bands: seconds a drawing
            tapered = name in SHARP_AND_BENT or (case.source.ends and case.source.radial and name.endswith(("-sharp", "-thin")))
            yield pytest.param(name, kind, False, id=f"{name}-{kind}", marks=UNRESOLVED if tapered else ())
            if case.source.ends and not case.bent:
                yield pytest.param(name, kind, True, id=f"{name}-{kind}-whole")


@pytest.mark.parametrize(("name", "kind", "whole"), [*_accuracy()])
def test_accuracy(name, kind, whole):
    plan = {"extent": 1.3 * CASES[name].extent} if whole else {}
    ours, truth = renderer(name, kind, **plan).image([local(name)], []).numpy(), reference(name, kind)
    bound = 2e-5 if whole else CASES[name].bound
    assert np.abs(ours - truth).max() < bound * truth.max()
    assert abs(ours.sum() - truth.sum()) < max(1e-4, bound)


COMPACT = {
    "Sersic": (1.0, 2.0), "Exponential": (2.0,), "DeVaucouleurs": (0.2,), "Gaussian": (3.0,), "Moffat": (2.0, 5.0),
    "CoreSersic": (1.0, 2.0, 0.8, 3.5, 0.3), "Nuker": (2.0, 2.1, 8.0, 0.8), "King": (2.0, 9.0, 2.0), "Ferrer": (8.0, 2.0, 0.6),
    "BrokenExponential": (2.0, 1.2, 4.0, 9.0), "EdgeOn": (2.0,), "GaussianRing": (4.0, 1.5), "MultiGaussian": (1.5, 0.4, -0.7),
    "Spline": (-0.6, -6.0, -20.0),
}  # fmt: skip
"""Parameters with which no light reaches the edge of an image of 81 pixels."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", COMPACT)
def test_total_flux_of_every_source_with_every_shape(kind, shape):
    bends, params, _ = SHAPES[shape]
    source = spline(bends) if kind == "Spline" else getattr(bj, kind)("g", shape=bends)
    r = Renderer(image_of(size=81), Frame(None), [(source, StampPlan((40.0, 40.0), 0.8))], F64, CPU)
    p = torch.tensor([X, Y, 0.8, PA, *COMPACT[kind], *params, 3.0], dtype=F64)
    image = r.image([p], [])
    assert abs(float(image.sum()) / 3.0 - 1) < 1e-4
    assert image.min() > -1e-4 * image.max()


def test_no_source_is_left_out():
    assert set(PROFILES) == set(COMPACT) == set(galaxies.__all__)


# -- derivatives ---------------------------------------------------------------------------------------------------------------
def _plans():
    """A source that ends both as all core and with a taper; coarse ones, as derivatives are to be exact for any."""
    for name in ("Point", *EVERY):
        yield pytest.param(name, {"fine": 0.6}, id=name)
        if name in EVERY and EVERY[name].source.ends and not EVERY[name].bent:
            yield pytest.param(name, {"extent": 1.3 * EVERY[name].extent}, id=f"{name}-whole")


any_plan = pytest.mark.parametrize(("name", "plan"), [*_plans()])


def half_chi2(r, data, weight):
    return lambda p: 0.5 * ((r.image([p], []) - data).square() * weight).sum()


@any_plan
def test_derivatives(name, plan):
    r, p = renderer(name, size=SMALL, **plan), local(name, flux=30.0)
    data, weight = torch.randn(SMALL, SMALL, dtype=F64), torch.rand(SMALL, SMALL, dtype=F64)
    f = half_chi2(r, data, weight)
    half, (fused,), _ = r.score([p], [], data, weight)
    with torch.no_grad():
        bare, nothing, _ = r.score([p], [], data, weight, slopes=False)
        alone, same = (torch.cat([b.values.clone() for b in r.units([p], [], weight, slopes=s)[0]]) for s in (False, True))
    leaf = p.clone().requires_grad_()
    value = f(leaf)
    (plain,) = torch.autograd.grad(value, leaf)
    jacobian = r.jacobian([p], [])
    product = jacobian @ ((r.image([p], []) - data) * weight).reshape(-1)
    assert abs(float(half) / value.item() - 1) < 1e-12 and abs(float(bare) / float(half) - 1) < 1e-12 and not nothing
    torch.testing.assert_close(alone, same, rtol=1e-10, atol=1e-12 * float(same.abs().max()))
    for ours in (fused, product):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-10 * float(plain.abs().max()))
    assert torch.autograd.gradcheck(f, (leaf,), eps=1e-5, atol=1e-7 * float(plain.abs().max()), rtol=1e-5)


def likely(spec, value):
    """Ends of the range in which a sampler may meet a parameter."""
    lo, hi = spec.bounds
    if spec.unit == "arcsec":
        return max(lo, 1e-3), min(hi, 1e3)
    if spec.prior is not None and spec.prior[0] == "normal":
        return max(lo, spec.prior[1] - 4 * spec.prior[2]), min(hi, spec.prior[1] + 4 * spec.prior[2])
    return max(lo, value / 50), min(hi, value * 50)


def extremes(name, middle):
    """Local parameters at which something may break."""
    base = local(name, flux=30.0)
    for at in ((0.0, 0.0), (0.5, 0.5), (0.5, 0.0), (X, Y), (middle + 5, -middle - 9), (0.0, 300.0), (1e6, 1e6)):
        yield torch.cat([torch.tensor(at, dtype=F64), base[2:]])
    if name == "Point":
        return
    specs = CASES[name].source.specs
    for k, ends in ((2, (0.02, 1.0)), (3, (0.0, 45.0, 90.0, 180.0)), *((k, likely(specs[k], float(base[k]))) for k in range(4, len(specs) - 1))):
        for end in ends:
            p = base.clone()
            p[k] = end
            yield p
            p = p.clone()
            p[:2] = 0.0  # where a pixel's centre is the source's
            yield p


@any_plan
def test_finite_everywhere(name, plan):
    r = renderer(name, size=SMALL, **plan)
    data, weight = torch.ones(SMALL, SMALL, dtype=F64), torch.ones(SMALL, SMALL, dtype=F64)
    f = half_chi2(r, data, weight)
    for p in extremes(name, SMALL / 2):
        half, (fused,), _ = r.score([p], [], data, weight)
        leaf = p.clone().requires_grad_()
        value = f(leaf)
        (plain,) = torch.autograd.grad(value, leaf)
        assert torch.isfinite(half) and torch.isfinite(fused).all() and torch.isfinite(plain).all(), p
        if value.item() < 1e12:  # beyond it (a spline that rises outwards) rounding is all
            assert abs(float(half) / value.item() - 1) < 1e-9, p
            torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-9 + 1e-6 * float(plain.abs().max()))


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(n, k, id=f"{n}-{k}") for n, k in [("Point", "oversampled"), *((n, "native") for n in ("Point", *EVERY))]],
)
@pytest.mark.parametrize("axis", [0, 1], ids="xy")
def test_smooth_across_pixel_boundaries(name, kind, axis):
    """Half chi² at S/N 2000 changes by its slope, where a box moves on by a pixel too."""
    r, h = renderer(name, kind), 1e-6
    noise = torch.randn(SIZE, SIZE, dtype=F64)
    for at in (-1.0, -0.5, -0.2, 0.0, 0.37, 0.5, 1.0):
        p = local(name, 0.0, 0.0)
        p[1 - axis], p[axis] = 0.3, at
        model = r.image([p], [])
        weight = torch.full_like(model, 2000.0) / model.norm()  # 1 / sigma
        data = model + noise / weight

        def half(x, p=p, data=data, weight=weight**2):
            moved = p.clone()
            moved[axis] = x
            value, (grad,), _ = r.score([moved], [], data, weight)
            return float(value), float(grad[axis])

        step = half(at + h)[0] - half(at - h)[0]
        slope = half(at)[1]
        assert abs(step - 2 * h * slope) < 1e-3


# -- symmetries ------------------------------------------------------------------------------------------------------------------
def turned(quarter):
    w = WCS(naxis=2)
    w.wcs.ctype, w.wcs.crval, w.wcs.crpix = ("RA---TAN", "DEC--TAN"), (10.0, -30.0), (SIZE // 2 + 1,) * 2
    w.wcs.cd = np.array([[0, 1.0], [1.0, 0]] if quarter else [[-1.0, 0], [0, 1.0]]) / 3600
    return bj.Image(np.zeros((SIZE, SIZE)), sigma=1.0, psf=image_of().psf, wcs=w)


@every_and_point
def test_rotation_and_shift_of_the_image(name):
    stamp, pair = renderer(name).stamps[0], []
    for image in (turned(False), turned(True)):
        frame = Frame(image.placement.sky_middle)
        plan = StampPlan(tuple(map(float, frame.to_pixel(image.placement, X, Y))), stamp.plan.q)
        pair.append(Renderer(image, frame, [(stamp.source, plan)], F64, CPU).image([local(name)], []).numpy())
    assert np.abs(pair[0] - np.rot90(pair[1], -1)).max() < 1e-6 * pair[0].max()
    here, there = (renderer(name).image([local(name, X + d, Y - d)], []).numpy() for d in (0.0, 1.0))
    assert np.abs(here[1:, 1:] - there[:-1, :-1]).max() < 1e-8 * here.max()


@every_and_point
def test_flux_is_linear(name):
    one, other = (renderer(name).image([local(name, flux=f)], []) for f in (1.0, -3.0))
    torch.testing.assert_close(other, -3 * one, rtol=1e-12, atol=1e-18)


# -- precision and devices ---------------------------------------------------------------------------------------------------------
@any_plan
def test_single_precision(name, plan):
    exact = renderer(name, size=SMALL, **plan)
    rough = renderer(name, size=SMALL, dtype=torch.float32, **plan)
    a, b = rough.image([local(name, dtype=torch.float32)], []), exact.image([local(name)], [])
    assert a.dtype == torch.float32
    assert (a.double() - b).abs().max() < 1e-4 * b.max()
    ones = torch.ones(SMALL, SMALL, dtype=F64)
    g, h = (r.score([local(name, dtype=r.dtype)], [], ones.to(r.dtype), ones.to(r.dtype))[1][0] for r in (rough, exact))
    assert g.dtype == torch.float32
    torch.testing.assert_close(g.double(), h, rtol=1e-3, atol=1e-3 * float(h.abs().max()))


@any_plan
def test_meta_device(name, plan):
    """A stray CPU tensor, or a wait for the device, is an error there."""
    r = renderer(name, size=SMALL, device="meta", **plan)
    p = local(name).to("meta")
    pixels = torch.empty(SMALL, SMALL, dtype=F64, device="meta")
    half, (grad,), _ = r.score([p], [], pixels, pixels)
    with torch.no_grad():
        assert r.score([p], [], pixels, pixels, slopes=False)[0].device.type == "meta"
    image, jacobian = r.image([p], []), r.jacobian([p], [])
    assert {x.device.type for x in (half, grad, image, jacobian)} == {"meta"}
    assert (half.shape, grad.shape, image.shape, jacobian.shape) == ((), p.shape, pixels.shape, (len(p), SMALL**2))


# -- scenes ----------------------------------------------------------------------------------------------------------------------
@every_and_point
def test_scene_from_pixels_to_file_and_back(name, tmp_path):
    source = bj.Point("g") if name == "Point" else CASES[name].source
    truth = renderer(name).image([local(name)], []).numpy()
    noise = np.random.default_rng(1).standard_normal(truth.shape)
    sigma = np.linalg.norm(truth) / 300
    image = image_of().replace(data=1e3 * (truth + sigma * noise), variance=np.full(truth.shape, (1e3 * sigma) ** 2))
    scene = bj.Scene([source, bj.Sky()], image)
    z = scene.unconstrain(scene.start)
    assert torch.isfinite(z).all() and torch.isfinite(scene.log_density(z))
    text = scene.describe()
    assert all(n in text for n in scene.names)
    scene.save(tmp_path / "scene.yaml")
    again = bj.Scene.load(tmp_path / "scene.yaml", image)
    assert again.names == scene.names and again.plans == scene.plans
    assert [type(c).__name__ for c in again.components] == [type(c).__name__ for c in scene.components]
    assert again.components[0].options() == source.options()
    near = z + 0.01 * torch.randn_like(z)
    assert again.log_density(near) == scene.log_density(near)
    values = {**scene.start, **dict(zip([f"g.{s.name}" for s in source.specs[:-1]], local(name).tolist(), strict=False)), "g.flux[image]": 1.0}
    values["sky.level[image]"] = 0.0
    drawn = scene.replanned(values).render(values)["image"]
    want = reference(name, "native") if name in CASES else truth
    assert np.abs(drawn - want).max() < WORST * want.max()
