"""Noiseless pixels: simulated ones return the truth, imfit's renderings are met, and PSFs are used as well as their samples allow."""

import json

import galsim
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.signal import fftconvolve
from scipy.special import erf, gamma, gammaincinv

import bayesjoint as bj

GS = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-4, kvalue_accuracy=1e-8, maxk_threshold=1e-6)
PLACES = [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.31, -0.17), (-2.37, 4.81)]


def say(what, **figures):
    """One line of what was measured, for pytest -s."""
    print(f"\n{what}: " + ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in figures.items()), end="")


# -- simulated images without their noise ---------------------------------------------------------------------------------------------------------
def cleaned(folder, name, **overrides):
    image = bj.Image.read(folder / f"{name}.fits", **overrides)
    return image.replace(data=fits.getdata(folder / f"clean_{name}.fits"))


def njy(mag):
    return 10 ** (-0.4 * (mag - 31.4))


def biases(best, truth):
    return {k: (best.values[k] - v) / best.errors[k] for k, v in truth.items()}


@pytest.fixture(scope="module")
def leda(data):
    truth = json.loads((data / "sim/leda/truth.json").read_text())[0]
    values = {f"galaxy.{k}": truth[k] for k in ("x", "y", "q", "pa", "n", "r_eff")}
    values |= {f"galaxy.flux[{band}]": njy(mag) for band, mag in truth["mag"].items()}
    images = [cleaned(data / "sim/leda", band, band=band) for band in ("r", "W1", "NUV")]
    return bj.Scene([bj.Sersic("galaxy"), bj.Sky()], images), values


@pytest.mark.parametrize("prior", [False, True], ids=["likelihood", "posterior"])
def test_three_bands_return_the_truth(leda, prior):
    scene, truth = leda
    best = scene.fit(prior=prior, progress=False)
    off = biases(best, truth)
    say(f"leda, prior={prior}, bias in sigma", **off)
    assert best.converged and len(off) == 9
    assert max(map(abs, off.values())) <= 0.05


def test_the_truth_draws_the_three_bands(leda):
    scene, truth = leda
    skies = {f"sky.level[{im.name}]": 0.0 for im in scene.images}
    models = scene.replanned(truth | skies).render(truth | skies)
    for im, limit in zip(scene.images, (0.1, 0.3, 0.1), strict=True):
        off = (((models[im.name] - im.data) / im.sigma) ** 2).sum()
        stored = (np.spacing(np.abs(im.data).astype(np.float32)).astype(float) ** 2 / 12 / im.variance).sum()  # the files hold float32
        say(f"leda {im.name}, sum of squares in sigma", of_the_model=off, of_rounding=stored, psf_fwhm_px=im.psf.fwhm)
        assert off <= limit
        assert stored < 1e-6


@pytest.mark.parametrize("prior", [False, True], ids=["likelihood", "posterior"])
def test_supernova_light_curve_returns_the_truth(data, prior):
    """Eight epochs, two of them rotated, the first before the explosion: one host, one place, a flux and a sky for each."""
    folder = data / "sim/supernova"
    truth = json.loads((folder / "truth.json").read_text())
    images = [cleaned(folder, f"epoch_{k}") for k in range(8)]
    assert sum(abs(im.placement.wcs.wcs.get_pc()[0, 1]) > 1e-6 for im in images) == 2
    header = fits.getheader(folder / "epoch_0.fits")
    origin = SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg")  # the dithers move the images' middles away from it
    host, sn, unit = truth["host"], truth["sn"], images[0].unit_flux
    components = [bj.Sersic("host"), bj.Point("sn", position=(sn["x"] + 0.1, sn["y"] - 0.1), flux=bj.Param(per="image")), bj.Sky()]
    best = bj.Scene(components, images, reference=origin).fit(prior=prior, progress=False)
    curve = biases(best, {f"sn.flux[epoch_{k}]": flux / unit for k, flux in enumerate(truth["flux_counts"])})
    rest = {f"host.{k}": host[k] for k in ("x", "y", "q", "pa", "n", "r_eff")} | {"host.flux[i]": njy(host["mag"])}
    rest |= {f"sn.{k}": v for k, v in sn.items()} | {f"sky.level[epoch_{k}]": 0.0 for k in range(8)}
    rest = biases(best, rest)
    say(f"supernova, prior={prior}, bias in sigma", **curve)
    say("  of the rest", **rest)
    assert best.converged and len(curve) == 8
    assert max(map(abs, curve.values())) <= 0.1
    assert max(map(abs, rest.values())) <= 0.1


# -- renderings by imfit ----------------------------------------------------------------------------------------------------------------------------
def area(q, c=2.0):
    """Area of |x|^c + |y / q|^c < 1."""
    return 4 * q * gamma(1 + 1 / c) ** 2 / gamma(1 + 2 / c)


class Part:
    """One of imfit's components: our source with its total flux in closed form, and its brightness anywhere."""

    def __init__(self, kind, x, y, pa, ell, *shape, c=2.0):
        self.x, self.y, self.pa, self.q, self.c = x, y, pa % 180, 1 - ell, c
        if kind == "sersic":
            n, bright, size = shape
            b = gammaincinv(2 * n, 0.5)
            self.profile = lambda r: bright * np.exp(-b * ((r / size) ** (1 / n) - 1))
            mean = bright * np.exp(b) * n * b ** (-2 * n) * gamma(2 * n)  # the integral of I r dr, over size squared
            self.source, own = bj.Sersic, {"n": n, "r_eff": size}
        elif kind == "exponential":
            bright, size = shape
            self.profile = lambda r: bright * np.exp(-r / size)
            mean, self.source, own = bright, bj.Exponential, {"r_eff": gammaincinv(2.0, 0.5) * size}
        else:
            bright, size = shape
            self.profile = lambda r: bright * np.exp(-0.5 * (r / size) ** 2)
            mean, self.source, own = bright, bj.Gaussian, {"fwhm": np.sqrt(8 * np.log(2)) * size}
        self.own = own if c == 2 else own | {"C": c, "shape": bj.Superellipse()}
        self.flux = 2 * area(self.q, c) * size**2 * mean

    def __call__(self, x, y):
        s, c = np.sin(np.radians(self.pa)), np.cos(np.radians(self.pa))
        u, v = (y - self.y) * c - (x - self.x) * s, ((x - self.x) * c + (y - self.y) * s) / self.q
        return self.profile((np.abs(u) ** self.c + np.abs(v) ** self.c) ** (1 / self.c))

    def placed(self, name, place):
        """Our source, with all its parameters fixed: without a WCS, +x is West."""
        return self.source(name, x=-(self.x - place[0]), y=self.y - place[1], q=self.q, pa=self.pa, flux=self.flux, **self.own)


BULGE = ("sersic", 256, 256, 30, 0.5, 2.5, 100, 50)
PARTS = {
    "sersic_exp": [Part(*BULGE), Part("exponential", 256, 256, 30, 0.75, 10, 150)],
    "gensersic": [Part(*BULGE, c=1.0)],
    "gensersic_psf": [Part(*BULGE, c=1.0)],
    "multi64": [
        Part("exponential", 31, 31, 95, 0.45, 90, 15),
        Part("sersic", 31, 31, 90, 0.2, 2.5, 10, 10),
        Part("exponential", 10.5, 13, 95, 0.45, 90, 15),
        Part("sersic", 10.5, 13, 10, 0.1, 4, 15, 15),
        Part("gaussian", 10.5, 13, 0, 0, 20, 1.6),
        Part("exponential", 42.5, 42, 195, 0.5, 290, 15),
        Part("gaussian", 42.5, 42, 0, 0, 150, 0.8),
    ],
    "expdisk32": [Part("exponential", 15, 15, 90, 0.5, 100, 20)],
    "gauss_overpsf": [Part("gaussian", 105.2377, 105.4582, 0, 0, 99.8787, 1.20062)],
}


def imfit(data, name):
    """Pixels, the 1-based coordinates of the full image there, and the kernel."""
    with fits.open(data / f"reference/imfit_{name}.fits") as hdus:
        pixels, header = hdus[0].data.astype(float), hdus[0].header
        kernel = hdus["PSF"].data.astype(float) if "PSF" in hdus else None
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    return pixels, x + 1.0 + header["XOFF"], y + 1.0 + header["YOFF"], kernel


def ours(parts, x, y, psf=None):
    image = bj.Image(np.zeros(x.shape), sigma=1.0, pixel_scale=1.0, psf=psf)
    return bj.Scene([p.placed(f"part {k}", (x.mean(), y.mean())) for k, p in enumerate(parts)], image).render({})["image"]


def integrated(parts, x, y):
    """Integrals over pixels: 31 x 31 places, and next to a centre Gauss and Legendre's, refined towards it."""

    def light(x, y):
        return sum(p(x, y) for p in parts)

    step = (np.arange(31) + 0.5) / 31 - 0.5
    total = sum(light(x + a, y + b) for a in step for b in step) / step.size**2
    nodes, weights = np.polynomial.legendre.leggauss(12)
    weights = np.outer(weights, weights) / 4

    def refined(cx, cy, h, x0, y0, depth):
        if depth == 0 or max(abs(cx - x0), abs(cy - y0)) > 1.5 * h:
            return (weights * light(cx + h / 2 * nodes, cy + h / 2 * nodes[:, None])).sum()
        return sum(refined(cx + a * h / 4, cy + b * h / 4, h / 2, x0, y0, depth - 1) for a in (-1, 1) for b in (-1, 1)) / 4

    for x0, y0, near in {(p.x, p.y, 2.6 if p.c == 2 else 0.6) for p in parts}:  # ridges are better served by many places
        for j, i in np.argwhere(np.maximum(abs(x - x0), abs(y - y0)) < near):
            total[j, i] = refined(x[j, i], y[j, i], 1.0, x0, y0, 25)
    return total


def compared(name, model, pixels, **more):
    off = np.abs(model / pixels - 1)
    say(f"imfit_{name}, relative to local brightness", median=np.median(off), largest=off.max(), **more)
    return off


def test_imfit_sersic_and_exponential(data):
    pixels, x, y, _ = imfit(data, "sersic_exp")
    parts = PARTS["sersic_exp"]
    assert abs(parts[0].flux / 2.2635e6 - 1) < 2e-4 and abs(parts[1].flux / 3.5343e5 - 1) < 2e-4
    model, exact = ours(parts, x, y), integrated(parts, x, y)
    centre = (x == 256) & (y == 256)
    off = compared("sersic_exp", model, pixels, at_the_centre=np.abs(model / pixels - 1)[centre][0])
    error = np.abs(model - exact) / exact.max()
    say("  of the peak, against integrals", ours=error.max(), of_imfit=(np.abs(pixels - exact) / exact.max()).max())
    assert off[centre] < 4.5e-3
    assert off[~centre].max() < 2e-3
    assert error.max() < 2e-4


def test_imfit_seven_components(data):
    pixels, x, y, _ = imfit(data, "multi64")
    parts = PARTS["multi64"]
    model, exact = ours(parts, x, y), integrated(parts, x, y)
    off = compared("multi64", model, pixels)
    error = np.abs(model - exact) / exact.max()
    say("  of the peak, against integrals", ours=error.max(), of_imfit=(np.abs(pixels - exact) / exact.max()).max())
    assert np.median(off) < 3.5e-4  # "3e-4"
    assert off.max() < 8e-3
    assert error.max() < 2e-4


@pytest.mark.slow
def test_imfit_generalised_ellipse(data):
    """imfit's c0 = -1 is a superellipse of C = 1, a diamond: its ridges are cusps all along."""
    pixels, x, y, _ = imfit(data, "gensersic")
    model = ours(PARTS["gensersic"], x, y)
    off, exact = compared("gensersic", model, pixels), integrated(PARTS["gensersic"], x, y)
    centre = (x == 256) & (y == 256)
    local, error = np.abs(model / exact - 1), np.abs(model - exact) / exact.max()
    say("  of local brightness, against integrals", median=np.median(local), largest=local.max(), of_imfit=np.abs(pixels / exact - 1).max())
    say("  of the peak", at_the_centre=error[centre][0], elsewhere=error[~centre].max())
    assert np.median(off) < 1.5e-4  # "1e-4"
    assert off.max() < 2.8e-2


def test_imfit_generalised_ellipse_with_psf(data):
    pixels, x, y, kernel = imfit(data, "gensersic_psf")
    # imfit convolves integrals over pixels with the kernel: an optical PSF, in our words
    model = ours(PARTS["gensersic_psf"], x, y, bj.PSF(kernel, pixel_response=None))
    off = compared("gensersic_psf", model, pixels)
    wide = np.arange(-17.0, x.shape[0] + 17)
    exact = integrated(PARTS["gensersic_psf"], *np.meshgrid(x[0, 0] + wide, y[0, 0] + wide))
    exact = fftconvolve(exact, kernel / kernel.sum(), mode="valid")
    local, error = np.abs(model / exact - 1), np.abs(model - exact) / exact.max()
    say("  against integrals", median=np.median(local), largest=local.max(), of_the_peak=error.max(), of_imfit=np.abs(pixels / exact - 1).max())
    assert np.median(off) < 1.5e-4  # "1e-4"
    assert off.max() < 4e-3


def test_imfit_disc_at_pixel_centres(data):
    """Without integration over pixels: the profile itself; a point as PSF gives it but for what no band of it holds at the cusp."""
    pixels, x, y, _ = imfit(data, "expdisk32")
    (disc,) = PARTS["expdisk32"]
    source, u, v = disc.placed("disc", (0.0, 0.0)), torch.tensor(x - 15), torch.tensor((y - 15) / disc.q)
    light = source.light(u, v, torch.tensor(disc.q), torch.tensor(disc.own["r_eff"], dtype=torch.float64)).numpy() * disc.flux / disc.q
    off = compared("expdisk32", light, pixels)
    assert off.max() < 1e-7
    centre = (x == 15) & (y == 15)
    for bands in (1, 3, 9):
        off = ours([disc], x, y, bj.PSF([[1.0]], oversampling=bands)) / pixels - 1
        # the disc's transform, (1 + a² + b²)^(-3/2) in frequencies along its axes, integrated over the square |k| < pi bands
        a, b = np.pi * bands * 20, np.pi * bands * 20 * disc.q
        lost = 2 / np.pi * np.arctan(a * b / np.sqrt(1 + a**2 + b**2)) - 1
        say(f"  a point as PSF, {bands} bands", at_the_cusp=off[centre][0], foreseen=lost, elsewhere=np.abs(off[~centre]).max())
        assert abs(off[centre][0] - lost) < 1e-4
        if bands > 1:  # in one band the cusp rings into its neighbours
            assert np.abs(off[~centre]).max() < 2e-4


def test_imfit_gaussian_with_oversampled_psf(data):
    """The file's own PSF is finer in a square, with samples that it does not hold: there the README gives no figure."""
    pixels, x, y, kernel = imfit(data, "gauss_overpsf")
    (part,) = PARTS["gauss_overpsf"]
    model = ours([part], x, y, bj.PSF(kernel, pixel_response=None))
    size, full = 1.20062, np.arange(1.0, 201)
    sides = [np.diff(erf((np.append(full, 201) - 0.5 - c) / size / np.sqrt(2))) for c in (part.y, part.x)]
    exact = fftconvolve(part.flux / 4 * np.outer(*sides), kernel / kernel.sum(), mode="same")[80:130, 80:130]
    square = (abs(x - 105) <= 5) & (abs(y - 105) <= 5)
    off = np.abs(model - pixels) / pixels.max()
    against = np.abs(model - exact).max() / exact.max()
    say("imfit_gauss_overpsf, of the peak", in_the_square=off[square].max(), elsewhere=off[~square].max(), against_the_exact_integral=against)
    assert against < 1e-6
    assert off[~square].max() < 1e-4  # imfit takes fewer than 20 x 20 places in pixels beyond 3 px, and one beyond 10 px
    assert off[square].max() < 1e-3


# -- PSFs of known form, against GalSim ------------------------------------------------------------------------------------------------------------
def known(kind, fwhm):
    return galsim.Gaussian(fwhm=fwhm, gsparams=GS) if kind == "gaussian" else galsim.Moffat(beta=3, fwhm=fwhm, gsparams=GS)


def sampled(kind, fwhm, oversampling, half=45):
    """The same as samples of an effective PSF; not normalised, as wings lie outside the stamp."""
    g = np.arange(-half * oversampling, half * oversampling + 1) / oversampling
    r2 = g[:, None] ** 2 + g**2
    if kind == "gaussian":
        s2 = fwhm**2 / (8 * np.log(2))
        light = np.exp(-0.5 * r2 / s2) / (2 * np.pi * s2)
    else:
        a2 = (fwhm / 2) ** 2 / (2 ** (1 / 3) - 1)
        light = 2 / (np.pi * a2) * (1 + r2 / a2) ** -3
    return bj.PSF(light / oversampling**2, oversampling=oversampling, normalize=False)


SIZE, Q, THETA = 121, 0.7, 37.0


def seen(psf, x0, y0, galaxy=None):
    """Ours, of a point or a Sérsic galaxy (n, r_eff) at (x0, y0) pixels from the middle: without a WCS, +x is West."""
    image = bj.Image(np.zeros((SIZE, SIZE)), sigma=1.0, psf=psf, pixel_scale=1.0)
    place = {"x": -x0, "y": y0, "flux": 1.0}
    source = bj.Point("s", **place) if galaxy is None else bj.Sersic("s", q=Q, pa=(THETA - 90) % 180, n=galaxy[0], r_eff=galaxy[1], **place)
    return bj.Scene(source, image).render({})["image"]


def sheared(galaxy):
    n, r_eff = galaxy
    return galsim.Sersic(n=n, half_light_radius=r_eff * np.sqrt(Q), gsparams=GS).shear(q=Q, beta=THETA * galsim.degrees)


def true(light, x0, y0):
    image = galsim.ImageD(SIZE, SIZE, scale=1.0)
    light.shift(x0, y0).drawImage(image, method="no_pixel")  # effective PSFs hold the pixel's response
    return image.array


def band_limited(psf, x0, y0, galaxy=None, n=1024):
    """The best that samples at the pixels allow: their interpolation by sinc, convolved with the light exactly."""
    k = 2 * np.pi * np.fft.fftfreq(n)
    wave = np.exp(-1j * np.outer(k, np.arange(psf.shape[0]) - psf.shape[0] // 2))
    phase = [np.exp(-1j * k * c) for c in (y0, x0)]
    for p in phase:
        p[n // 2] = p[n // 2].real
    spectrum = wave @ psf.array @ wave.T * np.outer(*phase)
    if galaxy is not None:
        spectrum = spectrum * np.fft.ifftshift(sheared(galaxy).drawKImage(nx=n, ny=n, scale=2 * np.pi / n).array)
    i = np.arange(SIZE) - SIZE // 2
    return np.fft.ifft2(spectrum).real[np.ix_(i, i)]


@pytest.mark.parametrize(
    ("kind", "fwhm", "oversampling"),
    [
        ("gaussian", 3.5, 1),
        ("gaussian", 1.5, 5),
        ("gaussian", 2.5, 3),
        ("moffat", 4.2, 1),
        ("moffat", 3.5, 3),
        ("moffat", 1.5, 5),
        ("moffat", 2.5, 3),
    ],
)
def test_points_against_galsim(kind, fwhm, oversampling):
    psf, light = sampled(kind, fwhm, oversampling), known(kind, fwhm)
    truths = [true(light, *at) for at in PLACES]
    worst = max(np.abs(seen(psf, *at) - t).max() / t.max() for at, t in zip(PLACES, truths, strict=True))
    figures = {"worst": worst}
    if oversampling == 1:
        figures["of_ideal_interpolation"] = max(np.abs(band_limited(psf, *at) - t).max() / t.max() for at, t in zip(PLACES, truths, strict=True))
    say(f"point, {kind} of {fwhm} px, oversampling {oversampling}, of the peak", **figures)
    assert worst <= 1e-4


@pytest.mark.parametrize("fwhm", [1.5, 3.4, 3.5, 4.5, 5.0])
@pytest.mark.parametrize("kind", ["gaussian", "moffat"])
def test_psfs_of_our_own_making_hold_their_points(kind, fwhm):
    """Optical widths, made effective: the pixel is added by GalSim."""
    psf = bj.PSF.gaussian(fwhm) if kind == "gaussian" else bj.PSF.moffat(fwhm, 3.0, normalize=False)
    image = galsim.ImageD(SIZE, SIZE, scale=1.0)
    known(kind, fwhm).shift(2.31, -1.73).drawImage(image, method="auto")
    assert np.abs(seen(psf, 2.31, -1.73) - image.array).max() <= 1e-4 * image.array.max()


@pytest.mark.parametrize("galaxy", [None, (1.0, 2.0), (4.0, 3.0)], ids=["point", "n1", "n4"])
@pytest.mark.parametrize(("kind", "fwhm"), [("gaussian", 2.2), ("gaussian", 2.7), ("moffat", 2.2), ("moffat", 2.7), ("moffat", 3.5)])
def test_sharp_native_psfs_as_good_as_their_samples(kind, fwhm, galaxy):
    psf, light = sampled(kind, fwhm, 1), known(kind, fwhm)
    if galaxy is not None:
        light = galsim.Convolve(light, sheared(galaxy), gsparams=GS)
    errors = []
    for at in PLACES:
        truth = true(light, *at)
        errors.append([np.abs(m - truth).max() / truth.max() for m in (seen(psf, *at, galaxy), band_limited(psf, *at, galaxy))])
    worst, ideal = np.max(errors, axis=0)
    what = "point" if galaxy is None else f"n {galaxy[0]:g}, r_eff {galaxy[1]:g} px"
    say(f"{what}, {kind} of {fwhm} px on its pixels, of the peak", ours=worst, ideal=ideal, ratio=worst / ideal)
    assert worst <= 1.5 * ideal
