"""A hundred real galaxies in HST's F814W, each by one Sérsic: what the choice of the sky does.

usage: python benchmarks/cosmos.py [--no-write]

Stamps of COSMOS as GalSim ships them (`surveys/cosmos_real`), small about each galaxy, with correlated
noise. Sizes are compared with the catalogue's half-light radius, which counts the PSF. Files are read
from ../shared/data, or BAYESJOINT_DATA.
"""

import argparse
import logging
import os
import pathlib
import sys
import time
import warnings

import numpy as np
from astropy.io import fits
from astropy.table import Table
from page import circumstances, table, write

import bayesjoint as bj

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", ROOT.parent / "shared" / "data"))
SCALE = 0.03
"""Arcsec a pixel."""
SKIES = {"free": lambda: bj.Sky(), "border": lambda: bj.Sky(level="border"), "none": lambda: bj.Sky(level=0.0)}


def half_light(psf):
    """Radius of half of a PSF's light, in arcsec."""
    j, i = np.indices(psf.shape)
    r = np.hypot(i - (psf * i).sum() / psf.sum(), j - (psf * j).sum() / psf.sum()).ravel()
    order = np.argsort(r)
    grown = np.cumsum(psf.ravel()[order])
    return float(r[order][np.searchsorted(grown, 0.5 * grown[-1])]) * SCALE


def aperture_size(best):
    """Radius of the circle about its centre that holds half of the model's light, PSF included, in arcsec."""
    v, im = best.values, best.scene.images[0]
    side = 2 * int(np.clip(6 * v["g.r_eff"] / SCALE, 60, 400)) + 1
    blank = bj.Image(np.zeros((side, side)), sigma=1.0, psf=im.psf, pixel_scale=SCALE, zeropoint=25.959, band="I", name="I")
    shape = {k: v[f"g.{k}"] for k in ("q", "pa", "n", "r_eff")}
    light = bj.Scene([bj.Sersic("g", x=0.0, y=0.0, flux=1e4, **shape), bj.Sky(level=0.0)], blank).render({})["I"]
    return half_light(light)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    logging.getLogger("bayesjoint").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    folder = DATA / "surveys/cosmos_real"
    known = Table.read(folder / "real_galaxy_catalog_26_extension_example.fits")
    sizes = Table.read(folder / "real_galaxy_catalog_26_extension_example_fits.fits")["flux_radius"] * SCALE
    rows = []
    with fits.open(folder / "real_galaxy_images_extension.fits") as stamps, fits.open(folder / "real_galaxy_PSF_images_extension.fits") as psfs:
        for sky, make in SKIES.items():
            found, seconds = [], []
            for k, row in enumerate(known):
                data, psf = (of[row[key]].data.astype(float) for of, key in ((stamps, "GAL_HDU"), (psfs, "PSF_HDU")))
                im = bj.Image(data, sigma=float(np.sqrt(row["NOISE_VARIANCE"])), psf=bj.PSF(psf), pixel_scale=SCALE, zeropoint=25.959, band="I", name="I")
                begin = time.process_time()
                best = bj.Scene([bj.Sersic("g"), make()], im).fit(progress=False)
                seconds.append(time.process_time() - begin)
                v, sharp = best.values, half_light(psf)
                size = float(np.hypot(v["g.r_eff"] * np.sqrt(v["g.q"]), sharp))
                kinds = {w.kind for w in best.warnings}
                inside = 0.3 <= v["g.n"] <= 8 and v["g.r_eff"] <= 2.001 * max(im.shape) * SCALE
                wide = "at bound" in kinds or "outside frame" in kinds
                found.append((size / float(sizes[k]), float(sizes[k]) > sharp, best.converged, inside, wide, kinds, aperture_size(best) / float(sizes[k])))
            ratio, large = np.array([f[0] for f in found]), np.array([f[1] for f in found])
            near, round_ones = (ratio > 0.5) & (ratio < 2), np.array([0.5 < f[6] < 2 for f in found])
            odd = [f for f, ok, big in zip(found, near, large, strict=True) if big and not ok]
            low, mid, high = np.quantile(ratio[large], [0.16, 0.5, 0.84])
            rows.append((
                sky, sum(f[2] for f in found), sum(f[3] for f in found), f"{(near & large).sum()} of {large.sum()}", f"{(round_ones & large).sum()}", sum(bool(f[4]) for f in odd),
                f"{mid:.2f} ({low:.2f} to {high:.2f})", sum(f[4] for f in found), sum("sky" in f[5] for f in found), f"{np.median(seconds):.2f}",
            ))  # fmt: skip
            print(rows[-1], [(round(f[0], 2), sorted(f[5])) for f in odd], flush=True)
    head = ("sky", "converged", "inside the bounds", "r_eff sqrt(q) within a factor of 2", "circle of half the light", "of the others, said", "size / catalogue's", "at a bound, or much light outside", "sky said", "CPU s")
    lines = table(head, rows)
    print(*lines, sep="\n")
    if not options.no_write:
        write([*circumstances("python benchmarks/cosmos.py", {"bayesjoint": sys.executable}), "", *lines], "benchmarks/cosmos.py")


if __name__ == "__main__":
    main()
