"""Rendering against GalSim, against quadrature, and against its own promises."""

import galsim
import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

import bayesjoint as bj
from bayesjoint.images import Frame
from bayesjoint.render.renderer import Renderer
from bayesjoint.render.stamp import StampPlan
from bayesjoint.scene.planning import BUDGET, is_coarse, render_errors

GS = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-4, kvalue_accuracy=1e-7, maxk_threshold=1e-5)
F64, CPU = torch.float64, torch.device("cpu")


def stamp(fwhm, oversampling):
    half = 20 * oversampling
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / oversampling
    return np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)


def drawn(image, x0, y0, q, theta, n, r_eff):
    """Ours in pixel units: (x0, y0) from the middle, theta counter-clockwise from +x in degrees."""
    middle = image.placement.middle
    r = Renderer(image, Frame(None), [(bj.Sersic("g"), StampPlan((middle[0] + x0, middle[1] + y0), q))], F64, CPU)
    # without a WCS, +x is West: East is -x, and PA counts from North to East
    p = torch.tensor([-x0, y0, q, theta - 90.0, n, r_eff, 1.0], dtype=F64)
    return r, p


def reference(size, x0, y0, q, theta, n, r_eff, fwhm, method):
    g = galsim.Sersic(n=n, half_light_radius=r_eff * np.sqrt(q), gsparams=GS).shear(q=q, beta=theta * galsim.degrees).shift(x0, y0)
    im = galsim.ImageD(size, size, scale=1.0)
    galsim.Convolve(g, galsim.Gaussian(fwhm=fwhm, gsparams=GS), gsparams=GS).drawImage(im, method=method)
    return im.array


# effective PSFs on the image's own pixels; sharp ones oversampled; optical ones, whose pixel is added
PSFS = {"native": (3.5, 1, "native", "no_pixel"), "oversampled": (1.5, 5, "native", "no_pixel"), "optical": (2.5, 3, None, "auto")}


@pytest.mark.parametrize("kind", PSFS)
@pytest.mark.parametrize(
    ("n", "r_eff", "q"), [(0.5, 0.5, 1.0), (0.5, 8.0, 0.3), (1.0, 3.0, 0.1), (2.0, 12.0, 0.5), (4.0, 0.7, 0.6), (4.0, 6.0, 1.0), (6.0, 2.0, 0.2)]
)
def test_sersic_against_galsim(kind, n, r_eff, q):
    fwhm, s, response, method = PSFS[kind]
    image = bj.Image(np.zeros((81, 81)), sigma=1.0, psf=bj.PSF(stamp(fwhm, s), oversampling=s, pixel_response=response), pixel_scale=1.0)
    r, p = drawn(image, 3.31, -1.17, q, 37.0, n, r_eff)
    ours, truth = r.image([p], []).numpy(), reference(81, 3.31, -1.17, q, 37.0, n, r_eff, fwhm, method)
    error = np.abs(ours - truth) / truth.max()
    assert error.max() < 3e-5
    assert np.median(error) < 1e-6
    assert abs(ours.sum() / truth.sum() - 1) < 2e-5


def test_point_against_galsim():
    image = bj.Image(np.zeros((61, 61)), sigma=1.0, psf=bj.PSF(stamp(3.5, 1)), pixel_scale=1.0)
    r = Renderer(image, Frame(None), [(bj.Point("p"), StampPlan((30.0, 30.0)))], F64, CPU)
    ours = r.image([torch.tensor([-2.37, 4.81, 7.0], dtype=F64)], []).numpy()
    im = galsim.ImageD(61, 61, scale=1.0)
    galsim.Gaussian(fwhm=3.5, flux=7.0).shift(2.37, 4.81).drawImage(im, method="no_pixel")
    assert np.abs(ours - im.array).max() < 1e-5 * im.array.max()


# FWHM, samples per pixel and size: steps of 1.0933 px as in PSFEx's files, even sizes
SAMPLED = {"native even": (3.5, 1.0, 36), "coarse": (3.5, 1 / 1.0933, 33), "coarse even": (3.5, 1 / 1.0933, 34), "2.5": (2.2, 2.5, 91), "4 even": (1.6, 4.0, 120)}


@pytest.mark.parametrize("kind", SAMPLED)
def test_any_sampling_against_galsim(kind):
    """A galaxy, a point, and the point's flux and place, through a PSF on a grid of any step and size."""
    fwhm, s, n = SAMPLED[kind]
    optical = galsim.Gaussian(fwhm=fwhm, gsparams=GS).shear(g1=0.1, g2=0.05)
    effective = galsim.Convolve(optical, galsim.Pixel(1.0), gsparams=GS)
    psf = bj.PSF(effective.drawImage(nx=n, ny=n, scale=1 / s, method="no_pixel", dtype=float).array, oversampling=s)
    image = bj.Image(np.zeros((81, 81)), sigma=1.0, psf=psf, pixel_scale=1.0)

    def truth(light):
        return galsim.Convolve(light, effective, gsparams=GS).drawImage(nx=81, ny=81, scale=1.0, method="no_pixel", dtype=float).array

    r, p = drawn(image, 3.31, -1.17, 0.5, 37.0, 1.5, 3.0)
    galaxy = galsim.Sersic(n=1.5, half_light_radius=3.0 * np.sqrt(0.5), gsparams=GS).shear(q=0.5, beta=37 * galsim.degrees)
    ours, expected = r.image([p], []).numpy(), truth(galaxy.shift(3.31, -1.17))
    assert np.abs(ours - expected).max() < 5e-5 * expected.max() and abs(ours.sum() / expected.sum() - 1) < 2e-6
    r = Renderer(image, Frame(None), [(bj.Point("p"), StampPlan((40.0, 40.0)))], F64, CPU)
    ours = r.image([torch.tensor([-2.37, 4.81, 1.0], dtype=F64)], []).numpy()
    expected = truth(galsim.DeltaFunction(gsparams=GS).shift(2.37, 4.81))
    assert np.abs(ours - expected).max() < 2e-4 * expected.max()
    slopes = [expected, -np.gradient(expected, axis=1), -np.gradient(expected, axis=0)]
    flux, dx, dy = np.linalg.lstsq(np.stack([a.ravel() for a in slopes], 1), (ours - expected).ravel(), rcond=None)[0]
    assert abs(flux) < 1e-6 and np.hypot(dx, dy) < 1e-5


def spiky(size):
    """A PSF whose wings reach far: a Moffat with four spikes."""
    y, x = np.mgrid[:size, :size] - size // 2
    r2 = x**2 + y**2
    return (1 + r2 / 4) ** -1.6 + 1e-3 * (np.abs(x * y) < 2) / (1 + r2 / 100)


def brute_force(psf, n, galaxy, points):
    """Light on a frame larger than image and PSF together, convolved with all of the PSF: a Gaussian galaxy, points at pixels."""
    pad = psf.shape[0] // 2 + 20
    y, x = np.mgrid[-pad : n + pad, -pad : n + pad] - (n - 1) / 2
    x0, y0, q, pa, r, flux = galaxy
    c, s = np.cos(np.radians(pa)), np.sin(np.radians(pa))
    u, v = (-x - x0) * s + (y - y0) * c, ((-x - x0) * c - (y - y0) * s) / q
    light = flux * np.log(2) / (np.pi * q * r**2) * np.exp(-np.log(2) * (u**2 + v**2) / r**2)
    for i, j, f in points:
        light[j + pad, i + pad] += f
    return fftconvolve(light, psf.array, mode="same")[pad:-pad, pad:-pad]


# position, axis ratio, angle, radius and signal-to-noise: in the middle; most of it beyond the edge
LARGE = {"faint": (2.0, -3.0, 0.6, 30.0, 6.0, 40), "bright": (2.0, -3.0, 0.6, 30.0, 6.0, 2000), "beyond the edge": (-52.0, 30.0, 0.5, 60.0, 14.0, 300)}


@pytest.mark.parametrize("case", LARGE)
def test_psf_larger_than_the_image_against_brute_force(case):
    """No more is left away than the budget allows, in units of the noise, and FFTs are not those of frame and PSF together."""
    *shape, snr = LARGE[case]
    n, psf, S = 91, bj.PSF(spiky(181)), bj.start
    x0, y0, q, pa, r = shape
    galaxy, point = snr * np.sqrt(4 * np.pi * q) * r, snr / np.sqrt((psf.array**2).sum())
    truth = brute_force(psf, n, (*shape, galaxy), [(10, 80, point)])
    image = bj.Image(truth + np.random.default_rng(1).normal(size=truth.shape), sigma=1.0, psf=psf, pixel_scale=1.0)
    # its edges lie 45 px from its middle
    place = {"x": S(x0), "y": S(y0), "q": S(q), "pa": S(pa), "r_eff": S(r), "flux": S(galaxy)}
    scene = bj.Scene([bj.Sersic("g", n=0.5, **place), bj.Point("p", x=S(35.0), y=S(35.0), flux=S(point))], image)
    error = np.sqrt(((scene.render(scene.start)["image"] - truth) ** 2).sum())
    plan, smooth = scene.plans["image"]["g"], scene.likelihoods[0].renderer.smooth[0]
    assert error < BUDGET and render_errors(scene, scene.start)["image"] < BUDGET
    assert max(smooth.blur.fft) < 0.8 * (n + 181)
    if case == "faint":
        assert plan.reach < 75 and max(scene.likelihoods[0].renderer.stamps[1].n) < 181
    if case == "bright":
        assert plan.reach is None or plan.reach > 75  # its wings fill the frame
    # brighter than was planned for: drawn further at once, and the plan is found short
    faint = scene.replanned({**scene.start, "g.flux[image]": 1.0, "p.flux[image]": 1.0})
    assert np.sqrt(((faint.render(scene.start)["image"] - truth) ** 2).sum()) < BUDGET
    assert is_coarse(faint, scene.start) == (case != "faint")


def test_psf_larger_than_the_image_in_a_fit():
    """Starts, fit, cut-outs and detection with a PSF of 181 on images of 61 and 31 pixels."""
    psf = bj.PSF(spiky(181))
    empty = bj.Image(np.zeros((61, 61)), sigma=1.0, psf=psf, pixel_scale=1.0, band="r")
    truth = {"g.x": 1.3, "g.y": -2.2, "g.q": 0.6, "g.pa": 40.0, "g.n": 1.5, "g.r_eff": 4.0, "g.flux[r]": 4e3, "sky.level[r]": 2.0}
    components = bj.Sersic("g"), bj.Sky()
    image = bj.Scene(components, empty).simulate(truth, 1)[0]
    best = bj.Scene(components, image).fit(progress=False)
    assert best.converged and best.render_errors["r"] < BUDGET
    assert max(abs(best.values[k] - truth[k]) / best.errors[k] for k in truth) < 4
    small = image.cutout((30, 30), 31)
    assert small.psf is psf
    again = bj.Scene(components, small).fit(progress=False)
    assert again.converged and abs(again.values["g.flux[r]"] - 4e3) < 4 * again.errors["g.flux[r]"]
    assert len([c for c in bj.scene_from([image]).components if c.name.startswith("object")]) == 1


def test_light_from_outside_the_frame_and_no_wrapping():
    """A large image cut down shows the same as a small one: padding, and light that scatters in."""
    psf = bj.PSF(stamp(3.5, 1))
    big = bj.Image(np.zeros((151, 141)), sigma=1.0, psf=psf, pixel_scale=1.0)
    small = big.cutout((70 - 22, 75 + 11), (61, 57))
    where = (slice(75 + 11 - 30, 75 + 11 + 31), slice(70 - 22 - 28, 70 - 22 + 29))
    scenes = [bj.Scene([bj.Sersic("g")], im) for im in (big, small)]
    values = {"g.x": -12.4, "g.y": 4.2, "g.q": 0.5, "g.pa": 20.0, "g.n": 3.0, "g.r_eff": 9.0, "g.flux[image]": 1.0}
    a, b = (next(iter(s.replanned(values).render(values).values())) for s in scenes)
    assert np.abs(a[where] - b).max() < 1e-6 * a.max()


def test_flux_is_linear_and_totals_to_one():
    image = bj.Image(np.zeros((201, 201)), sigma=1.0, psf=bj.PSF(stamp(4.0, 1)), pixel_scale=1.0)
    r, p = drawn(image, 0.3, 0.4, 0.7, 20.0, 1.0, 4.0)
    one = r.image([p], [])
    p[-1] = -3.0
    assert torch.allclose(r.image([p], []), -3 * one, rtol=1e-12, atol=1e-18)
    assert abs(float(one.sum()) - 1) < 1e-6


def test_rotation_of_the_image_rotates_the_model():
    """One galaxy through a WCS turned by 90 degrees is the array turned."""
    from astropy.wcs import WCS

    def wcs(cd):
        w = WCS(naxis=2)
        w.wcs.ctype, w.wcs.crval, w.wcs.crpix, w.wcs.cd = ("RA---TAN", "DEC--TAN"), (10.0, -30.0), (26.0, 26.0), np.array(cd) / 3600
        return w

    made = [
        bj.Image(np.zeros((51, 51)), sigma=1.0, psf=bj.PSF(stamp(3.6, 1)), wcs=wcs(cd), band="r")
        for cd in ([[-1.0, 0], [0, 1.0]], [[0, 1.0], [1.0, 0]])
    ]
    values = {"g.x": 2.2, "g.y": -1.3, "g.q": 0.4, "g.pa": 30.0, "g.n": 2.0, "g.r_eff": 4.0, "g.flux[r]": 1.0}
    a, b = (bj.Scene([bj.Sersic("g")], im).render(values)["r"] for im in made)
    assert np.abs(a - np.rot90(b, 1)).max() < 1e-6 * a.max() or np.abs(a - np.rot90(b, -1)).max() < 1e-6 * a.max()


def test_gradients_jacobian_and_fused_score_agree():
    image = bj.Image(np.zeros((40, 37)), sigma=1.0, psf=bj.PSF(stamp(3.5, 1)[5:-5, 5:-5]), pixel_scale=1.0)
    r, p = drawn(image, 3.31, -5.17, 0.5, 40.0, 2.3, 4.0)
    p[-1] = 3.0
    weight, target = torch.rand(40, 37, dtype=F64), torch.randn(40, 37, dtype=F64)
    sky = torch.tensor([0.3, 0.01, -0.02], dtype=F64)

    def f(v, s):
        return 0.5 * (((r.image([v], [s]) - target) * weight) ** 2).sum()

    v, s = p.clone().requires_grad_(), sky.clone().requires_grad_()
    assert torch.autograd.gradcheck(f, (v, s), eps=1e-6, atol=1e-6, rtol=1e-5)
    assert torch.autograd.gradgradcheck(f, (v, s), atol=1e-4, rtol=1e-3)
    gv, gs = torch.autograd.grad(f(v, s), (v, s))
    with torch.no_grad():
        half, by_source, by_sky = r.score([p], [sky], target, weight**2)
        jac = r.jacobian([p], [sky])
        g = jac @ ((r.image([p], [sky]) - target) * weight**2).reshape(-1)
    assert abs(float(half) / float(f(v, s).detach()) - 1) < 1e-12
    assert torch.allclose(torch.cat([by_source[0], by_sky[0]]), torch.cat([gv, gs]), rtol=1e-9, atol=1e-9)
    assert torch.allclose(g, torch.cat([gv, gs]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("shape", [(), bj.FourierModes(3)])
def test_window_cuts_the_light_outside_the_core_alone(shape, step):
    image = bj.Image(np.zeros((90, 80)), sigma=1.0, psf=bj.PSF(stamp(3.5, 1)), pixel_scale=1.0)
    middle, source = image.placement.middle, bj.Sersic("g", shape=shape)
    p = torch.tensor([-3.31, -5.17, 0.5, -50.0, 1.0, 3.0, *([0.05, 0.02] if shape else []), 2.0], dtype=F64)

    def made(window):
        plan = StampPlan((middle[0] + 3.31, middle[1] - 5.17), 0.5, step, window=window)
        return Renderer(image, Frame(None), [(source, plan)], F64, CPU)

    whole, cut = made(None), made((15, 70, 10, 72))
    assert (whole.image([p], []) - cut.image([p], [])).abs().max() < 1e-6 * whole.image([p], []).max()
    weight, target = torch.rand(90, 80, dtype=F64), torch.randn(90, 80, dtype=F64)
    v = p.clone().requires_grad_()
    (g,) = torch.autograd.grad((0.5 * (cut.image([v], []) - target) ** 2 * weight).sum(), v)
    with torch.no_grad():
        assert torch.allclose(cut.score([p], [], target, weight)[1][0], g, rtol=1e-10)
        assert torch.allclose(cut.jacobian([p], []) @ ((cut.image([p], []) - target) * weight).reshape(-1), g, rtol=1e-10)


@pytest.mark.parametrize("distort", [False, True])
def test_smooth_across_pixel_boundaries(distort):
    """The box follows the source from pixel to pixel: no step in the image where it moves on."""
    image = bj.Image(np.zeros((60, 60)), sigma=1.0, psf=bj.PSF(stamp(3.5, 1)), pixel_scale=1.0)
    r, p = drawn(image, 0.0, 0.0, 0.5, 10.0, 4.0 if distort else 1.0, 3.0)
    pair = []
    for h in (-1e-7, 1e-7):
        v = p.clone()
        v[0] = 1.0 + h  # between pixels: the middle of 60 pixels lies on an edge
        pair.append(r.image([v], []))
    assert (pair[0] - pair[1]).abs().max() < 2e-6 * pair[0].max()
