"""Files as surveys ship them, against what their surveys or other programs measured on them.

usage: python benchmarks/files.py [hsc] [nircam] [galfit] [--write]      (all without a name)

hsc     point-like sources and galaxies of an HSC coadd against the pipeline's psfflux and cmodel
nircam  one Sersic on seven JWST bands of two pixel scales, against GalfitS' chi2
galfit  GALFIT's own renderings, reproduced
"""

import argparse
import logging
import os
import pathlib
import re
import time

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.signal import fftconvolve

import bayesjoint as bj

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", ROOT.parent / "shared" / "data")) / "surveys"
BANDS = "gri"


def hsc() -> None:
    """Magnitudes of an HSC coadd, read as it is: pixels, planes of the mask, variance, FLUXMAG0.

    A spiral galaxy fills the field, and most of the catalogue's rows are pieces of it. What is compared
    lies outside of it: bright enough (cmodel 24.3 in r), with no other row within 2 arcsec.
    """
    folder = DATA / "hsc_afw"
    images = [bj.Image.read(folder / f"{b}.fits", psf=folder / f"{b}_psf.fits") for b in BANDS]
    rows = Table.read(folder / "sources.csv", format="ascii.csv")
    x, y = images[0].placement.wcs.all_world2pix(rows["ra"], rows["dec"], 0)
    distance = np.hypot(x[:, None] - x, y[:, None] - y) * images[0].pixel_scale
    np.fill_diagonal(distance, np.inf)
    along, across = (x - 150 + y - 150) / np.sqrt(2), (x - 150 - y + 150) / np.sqrt(2)
    outside = np.hypot(along / 150, across / 95) > 1
    cmodel, psf = (np.array([rows[f"{b}_{kind}_mag"] for b in BANDS], float) for kind in ("cmodel", "psfflux"))
    inside = (x > 10) & (x < 290) & (y > 10) & (y < 290)
    alone = inside & outside & (np.nan_to_num(cmodel[1], nan=99.0) < 24.3) & (distance.min(1) > 2)
    point = alone & (np.abs(psf - cmodel)[1] < 0.2)
    print("| kind | row | band | catalogue | ours | error | difference |\n|---|---|---|---|---|---|---|")
    for kind, chosen, truth in (("point", point, psf), ("galaxy", alone & ~point, cmodel)):
        differences = []
        for k in np.flatnonzero(chosen):
            best = _fit_one(images, rows, x, y, k, kind)
            for j, b in enumerate(BANDS):
                flux, error = best.values[f"target.flux[{b}]"], best.errors[f"target.flux[{b}]"]
                differences.append(31.4 - 2.5 * np.log10(flux) - truth[j, k])
                print(f"| {kind} | {k} | {b} | {truth[j, k]:.3f} | {truth[j, k] + differences[-1]:.3f} | {1.086 * error / flux:.3f} | {differences[-1]:+.3f} |", flush=True)
        d = np.array(differences)
        spread = 1.4826 * np.median(np.abs(d - np.median(d)))
        print(f"\n{kind}: {len(d)} magnitudes of {chosen.sum()} sources, median difference {np.median(d):+.3f}, scatter {spread:.3f}, largest {np.abs(d).max():.3f}\n")


def _fit_one(images, rows, x, y, k, kind, half=15):
    """One source, and its neighbours as points, in the part of the images around it."""
    from astropy.coordinates import SkyCoord

    parts = [im.cutout((x[k], y[k]), 2 * half + 1) for im in images]
    places = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    near = [i for i in np.flatnonzero((np.abs(x - x[k]) < half) & (np.abs(y - y[k]) < half)) if i != k]
    sources = [(bj.Point if kind == "point" else bj.Sersic)("target", position=places[k]), *(bj.Point(f"n{i}", position=places[i]) for i in near)]
    return bj.Scene([*sources, bj.Sky(order=1)], parts, reference=places[k]).fit(progress=False)


def nircam() -> None:
    """One Sersic in seven bands jointly, with GalfitS' freedom: shifts of all bands but one, no sky, n 0.2 to 8.

    "whole": PSFs as they are, light from beyond the frame as well. "as GalfitS": PSFs cut to the size of the image, no light from beyond
    the frame, and integrated over pixels as if the PSF had no pixel in it.
    """
    import pyro.distributions as dist

    print("| galaxy | PSF | chi2 | GalfitS: 2 x chisq | ours / its - 1 | chi2/dof | seconds | GalfitS, minutes | n | its | r_eff |\n|---|---|---|---|---|---|---|---|---|---|---|")
    bands = ("f115w", "f150w", "f200w", "f277w", "f356w", "f410m", "f444w")
    for galaxy in ("10735", "13347", "40", "6978"):
        folder = DATA / "nircam_galfits" / galaxy
        summary = (folder / "galfits_s1.gssummary").read_text()
        theirs, minutes = (float(re.search(rf"# {w}: ([\d.]+)", summary)[1]) for w in ("chisq", "fitting time"))
        its_n = re.search(r"disk_n +([\d.]+)", summary)[1]
        for how in ("whole", "as GalfitS"):
            images = []
            for band in bands:
                scale, zeropoint = (0.02, 28.96697568756239) if band in bands[:3] else (0.04, 27.461825709242483)
                mask = folder / f"{band}_mask.fits.gz"
                mask = mask if mask.is_file() else folder / "f150w_mask.fits.gz"
                given = {"sigma": folder / f"{band}_err.fits.gz", "mask": mask, "psf": folder / f"{band}_psf.fits.gz"}
                image = bj.Image.read(folder / f"{band}.fits.gz", **given, pixel_scale=scale, zeropoint=zeropoint, band=band)
                if how == "as GalfitS":
                    c, h = image.psf.shape[0] // 2, (image.shape[0] - 1) // 2
                    image = image.replace(psf=bj.PSF(image.psf.array[max(c - h, 0) : c + h + 1, max(c - h, 0) : c + h + 1], pixel_response=None))
                images.append(image)
            began = time.perf_counter()
            window = {im.name: [0, im.shape[1], 0, im.shape[0]] for im in images} if how == "as GalfitS" else None
            disk = bj.Sersic("disk", n=dist.Uniform(0.2, 8.0), window=window)
            best = bj.Scene([disk, bj.Shift(0.1, images=[im.name for im in images[1:]])], images).fit(progress=False)
            seconds = time.perf_counter() - began
            print(
                f"| {galaxy} | {how} | {best.chi2:.0f} | {2 * theirs:.0f} | {best.chi2 / (2 * theirs) - 1:+.4f} | {best.chi2 / best.dof:.2f} | {seconds:.1f} | {minutes:.2f} |"
                f" {best.values['disk.n']:.3f} | {its_n} | {best.values['disk.r_eff']:.4f} |" + ("" if best.converged else " not converged"),
                flush=True,
            )


def galfit() -> None:
    """GALFIT's renderings of n = 4, R_e 30 px, mag 20, without PSF, with PSF, with one of 4 samples a pixel."""
    folder = DATA / "galfit_renderings"
    kernel = fits.getdata(folder / "f105w_psf.fits.gz").astype(float)
    kernel = np.pad(kernel, ((0, 1), (0, 1)))  # GALFIT's middle of 50 samples is number 26: that of 51
    print("| file | worst difference / peak | where, px | median beyond 2 px / local | summed light ours / GALFIT |\n|---|---|---|---|---|")
    for name, psf in (
        ("galfit_n4_psf0", None),
        ("galfit_n4_psf1", bj.PSF(kernel, pixel_response=None)),
        ("galfit_n4_psf4", bj.PSF(kernel, oversampling=4, pixel_response=None)),
    ):
        drawn = fits.getdata(folder / f"{name}.fits.gz").astype(float)
        image = bj.Image(drawn, sigma=1.0, pixel_scale=1.0, zeropoint=26.563, band="x", psf=psf)
        scene = bj.Scene([bj.Sersic("g")], image)
        x, y = -(99.0 - 99.5), 99.0 - 99.5  # pixel (100, 100) counted from 1; x grows to the left
        values = {"g.x": x, "g.y": y, "g.q": 1.0 - 1e-6, "g.pa": 0.0, "g.n": 4.0, "g.r_eff": 30.0, "g.flux[x]": 10 ** (-0.4 * (20 - 31.4))}
        ours = scene.render(values)["x"]
        j, i = np.indices(drawn.shape)
        r = np.hypot(i - 99, j - 99)
        box = (np.abs(i - 99) < 49) & (np.abs(j - 99) < 49)  # GALFIT convolves within a box of 100
        off = np.where(box, ours - drawn, 0)
        if psf is None:
            flat = drawn
        convolved = fftconvolve(flat, kernel / kernel.sum(), mode="same")
        worst = np.unravel_index(np.abs(off).argmax(), off.shape)
        local = np.abs(off / drawn)[box & (r > 2)]
        print(f"| {name} | {np.abs(off).max() / drawn.max():.2e} | {r[worst]:.1f} | {np.median(local):.2e} | {ours[box].sum() / drawn[box].sum():.5f} |")
        if name.endswith("psf1"):
            print(f"\nGALFIT's own image without PSF, convolved sample by sample, is its image with PSF to {np.abs(convolved - drawn)[box].max() / drawn.max():.1e} of the peak:\n"
                  "what ours differs by is the light between its samples.\n")


if __name__ == "__main__":
    logging.getLogger("bayesjoint").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["hsc", "nircam", "galfit", []])
    for what in parser.parse_args().what or ["galfit", "hsc", "nircam"]:
        print(f"\n## {what}\n")
        globals()[what]()
