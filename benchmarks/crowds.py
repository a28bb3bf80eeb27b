"""Crowds: what `scene_from` finds in crowded fields, and how forced photometry of many sources does.

usage: python benchmarks/crowds.py [hsc] [herschel] [simulated] [forced] [--no-write]

Without a name all are run, and the page is written.
"""

import argparse
import logging
import os
import pathlib
import resource
import sys
import time

import numpy as np
from astropy.table import Table
from page import circumstances, table, write
from scipy import ndimage

import bayesjoint as bj
from bayesjoint.images.seeing import psf_fwhm

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", ROOT.parent / "shared" / "data"))
THRESHOLD = 5.0


def robust(values):
    """Standard deviation of what does not stand out."""
    values = values[np.isfinite(values)]
    for _ in range(20):
        middle, scatter = np.median(values), 1.4826 * np.median(np.abs(values - np.median(values)))
        kept = values[np.abs(values - middle) < 3 * scatter]
        if len(kept) == len(values):
            break
        values = kept
    return scatter


def objects(scene, values):
    """Place of each object (arcsec), by name."""
    out = {}
    for c in scene.components:
        if isinstance(c, bj.sky.components.Source) and f"{c.name}.x" in values:
            out.setdefault(c.name.rsplit(".", 1)[0], (values[f"{c.name}.x"], values[f"{c.name}.y"]))
    return out


# -- HSC ----------------------------------------------------------------------------------------------------------------------------
def blobs_left(best, im):
    """Peaks of an image's residuals, filtered by a Gaussian as wide as the PSF, in units of the scatter of that: significance, and whether
    each lies within the half-light ellipse of a source, as fitted (a point's: that of the PSF).
    """
    width, weight = im.psf.fwhm / 2.355, im.valid / im.variance
    residual = best.residuals()[im.name] * im.sigma
    signal = ndimage.gaussian_filter(residual * weight, width)
    noise = np.sqrt(ndimage.gaussian_filter(weight, width / np.sqrt(2)))
    snr = np.where(im.valid & (noise > 0), signal / np.where(noise > 0, noise, 1.0), 0.0)
    snr = snr / robust(snr[im.valid])
    peaks = (snr == ndimage.maximum_filter(snr, 5)) & (snr > THRESHOLD)
    found = []
    for py, px in np.argwhere(peaks):
        x, y = (float(v) for v in best.scene.frame.to_sky(im.placement, px, py))
        inside = False
        for c in best.scene.components:
            if not isinstance(c, bj.sky.components.Source):
                continue
            cx, cy = (best.scene.value(c, k, im, best.values) for k in "xy")
            size, q, pa = 0.5 * psf_fwhm(im), 1.0, 0.0
            if isinstance(c, bj.Sersic):
                size, q, pa = (best.scene.value(c, k, im, best.values) for k in ("r_eff", "q", "pa"))
                size = max(size, 0.5 * psf_fwhm(im))
            s, k = np.sin(np.radians(pa)), np.cos(np.radians(pa))
            u, v = (x - cx) * s + (y - cy) * k, (x - cx) * k - (y - cy) * s
            inside |= np.hypot(u, v / q) < size
        found.append((float(snr[py, px]), bool(inside)))
    return float(snr.max()), found


def hsc():
    folder = DATA / "real/hsc_cosmos_35"
    images = [bj.Image.read(folder / f"HSC_{b}.fits", band=b) for b in "grizy"]
    catalog = np.loadtxt(folder / "catalog.csv", delimiter=",", comments="#", skiprows=2)
    rows = []
    for rounds in (1, None):
        t, c = time.perf_counter(), time.process_time()
        scene = bj.scene_from(images, rounds=rounds)
        wall, cpu = time.perf_counter() - t, time.process_time() - c
        best = scene.fit(progress=False)
        at = [scene.frame.to_pixel(images[0].placement, *p) for p in objects(scene, best.values).values()]
        off = np.array([min(np.hypot(*(np.array(p) - place)) for p in at) for place in catalog])
        left = [blobs_left(best, im) for im in best.scene.images]
        outside = [s for _, found in left for s, inside in found if not inside]
        inside = [s for _, found in left for s, inside in found if inside]
        rows.append(
            (
                "1" if rounds == 1 else "default",
                len(at),
                f"{(off < 3).sum()} of {len(off)}",
                f"{off.max():.1f}",
                f"{len(outside)} ({max(outside, default=0):.1f})",
                f"{len(inside)} ({max(inside, default=0):.1f})",
                f"{best.chi2 / best.dof:.2f}",
                "yes" if best.converged else "NO",
                f"{cpu:.0f}",
            )
        )
        print(rows[-1], f"wall {wall:.0f} s", flush=True)
    head = ("rounds", "objects", "catalogued within 3 px", "farthest, px", "blobs left outside (highest)", "inside (highest)", "chi2/dof", "converged", "CPU s")
    return [
        "### Five HSC bands of a blend (real/hsc_cosmos_35)",
        "",
        "`scene_from(images)` and its fit. Blobs are peaks above 5 sigma of the filtered residuals' own scatter, outside and inside the half-light radii of",
        "what was fitted, in all bands together.",
        "",
        *table(head, rows),
        "",
    ]


# -- Herschel -----------------------------------------------------------------------------------------------------------------------
def herschel(seed=1, trials=10, each=20):
    im = bj.Image.read(DATA / "real/herschel_gama09/s250.fits", band="s250")
    psf, fwhm = im.psf.effective(), im.psf.fwhm
    bare = bj.scene_from(im)
    known = np.array([bare.frame.to_pixel(im.placement, *p) for p in objects(bare, bare.start).values()])
    # the error of a point's flux in this map: the scatter of what a filter gives, over its answer to a point of unit flux
    errors = []
    for part in (1.0, 0.7, 0.5):
        width = part * fwhm / 2.355
        answer = ndimage.gaussian_filter(np.pad(psf, 20), width).max()
        errors.append(robust(ndimage.gaussian_filter(im.data, width).ravel()) / answer)
    point, rms = min(errors), robust(im.data.ravel())
    flips = bj.Image.read(DATA / "real/herschel_gama09/s250.fits", band="s250")
    flips = flips.replace(data=-flips.data)
    try:
        false = len(objects(*(lambda s: (s, s.start))(bj.scene_from(flips))))
    except ValueError:
        false = 0
    beams = im.data.size / (1.133 * fwhm**2)
    ny, nx = im.shape
    rows = []
    for name, flux in (("7 errors of a point's flux", 7 * point), ("a peak of 7 rms of the pixels", 7 * rms / psf.max()), ("5 errors", 5 * point)):
        rng, found, total, cpu = np.random.default_rng(seed), 0, 0, time.process_time()
        for _ in range(trials):
            places = []
            while len(places) < each:
                p = rng.uniform(2 * fwhm, (nx - 1 - 2 * fwhm, ny - 1 - 2 * fwhm))
                if all(np.hypot(*(p - o)) > 2 * fwhm for o in known) and all(np.hypot(*(p - o)) > 3 * fwhm for o in places):
                    places.append(p)
            held = [bj.Point(f"p{k}", x=x, y=y, flux=1.0) for k, (x, y) in enumerate(bare.frame.to_sky(im.placement, *p) for p in places)]
            light = bj.Scene([*held, bj.Sky(level=0.0)], im, reference=bare.frame.reference).render({})["s250"] / im.unit_flux
            scene = bj.scene_from(im.replace(data=im.data + flux * light))
            at = np.array([scene.frame.to_pixel(im.placement, *p) for p in objects(scene, scene.start).values()])
            found += sum(np.hypot(*(at - p).T).min() < 0.5 * fwhm for p in places)
            total += each
        rows.append((name, f"{flux / im.unit_flux / 1e6:.1f}", total, f"{100 * found / total:.1f}", f"{(time.process_time() - cpu) / trials:.1f}"))
        print(rows[-1], flush=True)
    return [
        "### Points injected into a confused map (real/herschel_gama09, 250 um)",
        "",
        f"Threshold 5, {each} points at a time, two PSF widths and more from the {len(known)} objects of the map itself; found within half a width. The error of a point's",
        f"flux in this map, confusion included, is {point / im.unit_flux / 1e6:.1f} mJy (that of the stated sigma, as white noise, {bj.scene.detection.point_noise(im) / 1e6:.1f}).",
        f"On the map with its sign changed {false} objects are found ({beams:.0f} beams).",
        "",
        *table(("flux", "mJy", "injected", "found, %", "CPU s a map"), rows),
        "",
    ]


# -- simulated ----------------------------------------------------------------------------------------------------------------------
SIDE, SCALE, FWHM_PX = 200, 0.2, 4.0
BINS = ((5, 7), (7, 10), (10, 20), (20, 50), (50, 1000))


def crowd(count, seed):
    """Images in two bands of so many sources, half of them galaxies, and their places (arcsec), sizes and signal-to-noise."""
    rng = np.random.default_rng(seed)
    blank = [
        bj.Image(np.zeros((SIDE, SIDE)), sigma=1.0, psf=bj.PSF.moffat(FWHM_PX * SCALE * f, 3.5, SCALE), pixel_scale=SCALE, zeropoint=25.0, band=b)
        for b, f in (("g", 1.1), ("r", 1.0))
    ]
    half, sources = 0.47 * SIDE * SCALE, []
    for k in range(count):
        place = dict(zip("xy", rng.uniform(-half, half, 2), strict=True))
        if k % 2:
            shape = {"r_eff": np.exp(rng.uniform(np.log(0.3), np.log(1.2))), "n": rng.uniform(0.8, 3.0), "q": rng.uniform(0.4, 1.0), "pa": rng.uniform(0, 180)}
            sources.append(bj.Sersic(f"s{k}", **place, **{p: float(v) for p, v in shape.items()}))
        else:
            sources.append(bj.Point(f"s{k}", **place))
    scene = bj.Scene([*sources, bj.Sky(level=0.0)], blank)
    unit = scene.render_components(dict.fromkeys(scene.names, 1.0))
    snr = np.exp(rng.uniform(np.log(5), np.log(300), count))
    colour = rng.uniform(0.5, 2.0, count)
    values, sizes = {}, np.array([float(c.params["r_eff"].value) if isinstance(c, bj.Sersic) else 0.0 for c in sources])
    for k in range(count):
        flux = {"g": 1.0, "r": float(colour[k])}
        at_unit = np.sqrt(sum((unit[b][f"s{k}"] ** 2).sum() * f**2 for b, f in flux.items()))
        values |= {f"s{k}.flux[{b}]": f * snr[k] / at_unit for b, f in flux.items()}
    places = np.array([[c.params[p].value for p in "xy"] for c in sources])
    return scene.simulate(values, seed), places, sizes, snr


def matched(at, places, sizes):
    """For each true source the object that is it, or -1: pairs from the closest on, within half a PSF's width and a third of its size."""
    near = np.hypot(at[None, :, 0] - places[:, None, 0], at[None, :, 1] - places[:, None, 1])
    near = np.where(near < (0.5 * FWHM_PX * SCALE + 0.33 * sizes)[:, None], near, np.inf)
    out = np.full(len(places), -1)
    while np.isfinite(near).any():
        k, m = np.unravel_index(near.argmin(), near.shape)
        out[k] = m
        near[k], near[:, m] = np.inf, np.inf
    return out


def simulated(counts=(40, 120), seeds=(1, 2)):
    rows = []
    for count in counts:
        for rounds in (1, None):
            hits = {b: [0, 0] for b in BINS}
            false, found, cpu = 0, 0, time.process_time()
            for seed in seeds:
                images, places, sizes, snr = crowd(count, seed)
                scene = bj.scene_from(images, rounds=rounds)
                at = np.array(list(objects(scene, scene.start).values()))
                match = matched(at, places, sizes)
                for low, high in BINS:
                    inside = (snr >= low) & (snr < high)
                    hits[low, high][0] += int((match[inside] >= 0).sum())
                    hits[low, high][1] += int(inside.sum())
                false, found = false + len(at) - int((match >= 0).sum()), found + len(at)
            cpu = (time.process_time() - cpu) / len(seeds)
            density = SIDE**2 / (1.133 * FWHM_PX**2) / count
            rows.append(
                (f"{count} ({density:.0f})", "1" if rounds == 1 else "default", *(f"{100 * a / max(b, 1):.0f}" for a, b in hits.values()), f"{100 * false / found:.1f}", f"{cpu:.0f}")
            )
            print(rows[-1], flush=True)
    head = ("sources (beams each)", "rounds", *(f"S/N {a}-{b}" if b < 1000 else f"above {a}" for a, b in BINS), "false, %", "CPU s")
    return [
        "### Simulated crowds",
        "",
        f"{SIDE} x {SIDE} pixels in two bands, a PSF {FWHM_PX:g} pixels wide, half of the sources galaxies with half-light radii of 0.4 to 1.5 of that; {len(seeds)} fields each. S/N is a",
        "source's own, of all its light in both bands, as if it were alone. Found: an object within half a PSF's width (and a third of its size), none counted twice. Percentages.",
        "",
        *table(head, rows),
        "",
    ]


# -- forced -------------------------------------------------------------------------------------------------------------------------
def many(count, side, seed=1, bands=10):
    rng, scale = np.random.default_rng(seed), 0.25
    blank = [
        bj.Image(np.zeros((side, side)), sigma=1.0, psf=bj.PSF.moffat(0.9 + 0.1 * k, 3.0, scale), pixel_scale=scale, zeropoint=25.0, band=f"b{k}")
        for k in range(bands)
    ]
    half = 0.48 * side * scale
    catalogue = Table({"id": np.arange(count), "x": rng.uniform(0.02, 0.98, count) * side, "y": rng.uniform(0.02, 0.98, count) * side})
    catalogue["r_eff"] = np.where(rng.uniform(size=count) < 0.5, np.exp(rng.uniform(np.log(0.3), np.log(1.5), count)), 0.0)
    catalogue["n"], catalogue["q"], catalogue["pa"] = rng.uniform(0.7, 3.0, count), rng.uniform(0.3, 1.0, count), rng.uniform(0, 180, count)
    true = {im.band: np.where(rng.uniform(size=count) < 0.3, 0.0, np.exp(rng.uniform(np.log(3e3), np.log(3e5), count))) for im in blank}
    images = []
    for im in blank:
        at = [bj.images.Frame(None).to_sky(im.placement, r["x"], r["y"]) for r in catalogue]
        sources = [
            bj.Sersic(f"s{k}", x=float(p[0]), y=float(p[1]), window=12.0, flux=float(f), **{c: float(r[c]) for c in ("r_eff", "n", "q", "pa")})
            if r["r_eff"] > 0
            else bj.Point(f"s{k}", x=float(p[0]), y=float(p[1]), flux=float(f))
            for k, (r, p, f) in enumerate(zip(catalogue, at, true[im.band], strict=True))
        ]
        images += bj.Scene([*sources, bj.Sky(level=0.3)], im).simulate({}, seed)
    assert half > 0
    return images, catalogue, true


def forced():
    rows = []
    for count, side in ((300, 400), (600, 560)):
        images, catalogue, true = many(count, side)
        cpu = time.process_time()
        out = bj.forced(images, catalogue)
        cpu = time.process_time() - cpu
        pull = np.array([(out[f"flux_{b}"].value - t) / out[f"flux_{b}_err"].value for b, t in true.items()])
        dark = np.array([t == 0 for t in true.values()])
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows.append(
            (
                f"{count}, 10 of {side}²",
                f"{np.median(pull):+.3f}",
                f"{np.std(pull):.3f}",
                f"{np.mean(pull[dark]):+.3f} ± {1 / np.sqrt(dark.sum()):.3f}",
                sum("blended" in f for f in out["flags"]),
                f"{cpu:.0f}",
                f"{gib:.1f}",
            )
        )
        print(rows[-1], flush=True)
    head = ("sources, images", "median (flux - truth) / error", "its scatter", "mean where there is no light", "blended", "CPU s", "peak GiB")
    return [
        "### Forced photometry of many sources in ten bands",
        "",
        "Half of the sources are galaxies; in each band three of ten have no light.",
        "",
        *table(head, rows),
        "",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["hsc", "herschel", "simulated", "forced", []], default=[])
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    logging.getLogger("bayesjoint").setLevel(logging.ERROR)
    parts = options.parts or ["hsc", "herschel", "simulated", "forced"]
    lines = [line for part in parts for line in globals()[part]()]
    print(*lines, sep="\n")
    if not options.no_write and not options.parts:
        write([*circumstances("python benchmarks/crowds.py", {"bayesjoint": sys.executable}), "", *lines], "benchmarks/crowds.py")


if __name__ == "__main__":
    main()
