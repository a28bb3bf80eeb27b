"""Published fits of GALFIT, GALFITM, imfit, pysersic and ProFit, beside ours of the same pixels.

usage: python benchmarks/published.py [WORD ...] [--no-write]

With words, the cases whose name has one of them; the page is written without. Each case is fitted by
default, and once with the published shapes held (places, fluxes and skies free): the last column is by
how much chi² is higher then. Files are read from ../shared/data, or BAYESJOINT_DATA.
"""

import argparse
import csv
import logging
import os
import pathlib
import re
import sys
import warnings

import numpy as np
import pyro.distributions as dist
from astropy.io import fits
from page import circumstances, table, write

import bayesjoint as bj

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", ROOT.parent / "shared" / "data"))
ZEROPOINT = 31.4
"""Of nJy."""


def numbers(path):
    """Rows of a table whose comments begin with #."""
    lines = (DATA / path).read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


# -- cases: name, code and pixel convention, scene, shapes by site, magnitudes by component, published chi² or None -----------------
def pymorph():
    """SDSS stamps by GALFIT: its result, and exact chi²."""
    for number in ("01", "08", "18", "24", "58"):
        folder = DATA / f"surveys/pymorph_sdss/{number}"

        def get(pattern, folder=folder):
            return fits.getdata(next(folder.glob(pattern))).astype(float)

        text = next(folder.glob("G_*.out")).read_text()
        psf = get("0*_psf.fits")
        im = bj.Image(
            get("0*_stamp.fits"), sigma=get("0*_stamp_W.fits"), mask=get("M_*.fits") != 0, psf=bj.PSF(psf / psf.sum(), pixel_response=None),
            pixel_scale=0.396, zeropoint=25.256, band="r", name="r",
        )  # fmt: skip
        found = []
        for part in text.split("# Object number")[1:]:
            if re.search(r"0\)\s+sersic", part):
                keys = {int(k): [float(x) for x in v.split()] for k, v in re.findall(r"^\s*(\d+)\)((?:\s+-?\d[\d.]*)+)", part, re.M)}
                found.append({"place": keys[1][:2], "mag": keys[3][0], "r_eff": keys[4][0] * 0.396, "n": keys[5][0], "q": keys[8][0], "pa": keys[9][0] % 180})
        frame = bj.Scene([bj.Sky()], im).frame
        sources, shapes, mags = [], {}, {}
        for name, f in zip("ab", found, strict=False):
            x, y = frame.to_sky(im.placement, f["place"][0] - 1, f["place"][1] - 1)
            near = {k: bj.start(float(v)) for k, v in (("x", x), ("y", y))} if len(found) > 1 else {}
            sources.append(bj.Sersic(name, **near))
            shapes |= {f"{name}.{k}": f[k] for k in ("r_eff", "n", "q", "pa")}
            mags[name] = {"r": f["mag"]}
        chi2 = float(re.search(r"Chi\^2 = ([\d.]+)", text)[1])
        yield f"SDSS {number}", "GALFIT, middle", bj.Scene([*sources, bj.Sky()], im), shapes, mags, chi2


def ngc4261():
    """Five bands by GALFITM; its two centres lie 1.9 pixels apart, ours are one."""
    zero = {"u": 28.1408, "g": 30.034, "r": 29.94, "i": 29.72, "z": 27.88}
    sky, part = {"u": 35.7781, "g": 292.9783, "r": 646.1415, "i": 926.4883, "z": 493.7779}, np.s_[149:450, 149:450]

    def get(name):
        return fits.getdata(next((DATA / "surveys/galfitm_ngc4261").glob(name + "*"))).astype(float)

    bad, images = get("NGC_4261-mask")[part] != 0, []
    for b, z in zero.items():
        d, p = get(f"NGC_4261-{b}")[part], get(f"PSF-{b}")
        psf = bj.PSF(p / p.sum(), pixel_response=None)
        images.append(bj.Image(d - sky[b], sigma=np.sqrt(np.maximum(d, 1)), mask=bad, psf=psf, pixel_scale=0.396, zeropoint=z, band=b, name=b))
    bulge = bj.Sersic("bulge")
    disc = bj.Exponential("disc", x=bulge.x, y=bulge.y)
    shapes = {"bulge.r_eff": 15.03 * 0.396, "bulge.n": 3.20, "bulge.q": 0.79, "bulge.pa": 157.6, "disc.r_eff": 67.11 * 0.396, "disc.q": 0.89, "disc.pa": 179.25}
    mags = {"bulge": dict(zip("ugriz", (16.34, 14.33, 13.50, 13.05, 12.73), strict=True)), "disc": dict(zip("ugriz", (15.87, 14.71, 13.94, 13.47, 13.36), strict=True))}
    yield "NGC 4261", "GALFITM, middle", bj.Scene([bulge, disc, bj.Sky(level=0.0)], images), shapes, mags, None


def imfit():
    """Galaxies by C++ imfit."""
    rows = numbers("reference/imfit_fits.csv")
    for row in rows:  # a text column holds a comma without quotes: those behind it are counted from the right
        if None in row:
            case, names, values = row["case"], [k for k in row if k], [*(v for k, v in row.items() if k), *row[None]]
            row |= dict(zip(reversed(names), reversed(values), strict=False)) | {"case": case}
    for case, file, psf in (("imfit_ic3478", "SDSS_r_64", False), ("imfit_n3073", "SDSS_r", True)):
        im = bj.Image.read(DATA / f"real/{case}/{file}.fits", **({} if psf else {"psf": None}))
        mine = [r for r in rows if r["case"] == case]
        first = bj.Sersic("galaxy" if len(mine) == 1 else "bulge")
        sources = [first] if len(mine) == 1 else [first, bj.Exponential("disc", x=first.x, y=first.y)]
        scene = bj.Scene([*sources, *([bj.Sky(level=0.0)] if len(mine) > 1 else [])], im)
        frame, place = scene.frame, scene.images[0].placement
        jac = frame.jacobian(place, *place.middle)
        shapes, mags = {}, {}
        for c, r in zip(sources, mine, strict=True):
            turn = np.radians(float(r["pa"]))
            along = jac @ [-np.sin(turn), np.cos(turn)]  # of one pixel, on the sky
            size = float(r["size"]) * (1.0 if r["component"] == "Sersic" else 1.67835)
            shapes |= {f"{c.name}.r_eff": size * float(np.hypot(*along)), f"{c.name}.q": float(r["q"]), f"{c.name}.pa": float(np.degrees(np.arctan2(*along)) % 180)}
            if r["component"] == "Sersic":
                shapes[f"{c.name}.n"] = float(r["n"])
            mags[c.name] = {im.band: scene.images[0].zeropoint - 2.5 * np.log10(float(r["flux_total"]))} if scene.images[0].zeropoint else {}
        yield case.removeprefix("imfit_").upper(), "imfit, mean", scene, shapes, mags, float(mine[0]["chi2"])
    folder = DATA / "surveys/imfit_vcc1512"
    d, bad = (fits.getdata(next(folder.glob(p))).astype(float) for p in ("vcc1512rss_cutout*", "vcc1512rss_mask*"))
    sigma = np.sqrt((np.maximum(d, 0) + 120.020408) / 4.725 + (4.3 / 4.725) ** 2)
    im = bj.Image(d, sigma=sigma, mask=bad != 0, pixel_scale=0.396, zeropoint=26.0, band="r", name="r")
    bulge = bj.Sersic("bulge")
    disc = bj.Exponential("disc", x=bulge.x, y=bulge.y)
    shapes = {"bulge.r_eff": 4.8656 * 0.396, "bulge.n": 0.9564, "bulge.q": 0.8811, "bulge.pa": 161.8, "disc.r_eff": 20.852 * 1.67835 * 0.396, "disc.q": 0.7261, "disc.pa": 138.99}
    yield "VCC 1512", "imfit, mean", bj.Scene([bulge, disc, bj.Sky(level=0.0)], im), shapes, {}, 21134.81


def pysersic():
    """Posterior means of pysersic, whose losses are robust ones."""
    rows = numbers("reference/pysersic_published.csv")

    def get(fit, name):
        return next(float(r["mean"]) for r in rows if r["fit"] == fit and r["parameter"] == name)

    im = bj.Image.read(DATA / "real/hsc_pysersic_gals/gal2.fits", band="i")
    scale = im.pixel_scale
    one = "single_sersic_no_sky_mcmc"
    shapes = {"galaxy.r_eff": get(one, "r_eff_px") * scale, "galaxy.n": get(one, "n"), "galaxy.q": 1 - get(one, "ellip")}
    yield "HSC gal2", "pysersic, middle", bj.Scene([bj.Sersic("galaxy"), bj.Sky(level=0.0)], im), shapes, {}, None
    two = "sersic_plus_exponential"
    bulge = bj.Sersic("bulge")
    disc = bj.Exponential("disc", x=bulge.x, y=bulge.y)
    shapes = {"bulge.n": get(two, "n_1")}
    for name, k in (("bulge", 1), ("disc", 2)):
        shapes |= {f"{name}.r_eff": get(two, f"r_eff_{k}_px") * scale, f"{name}.q": 1 - get(two, f"ellip_{k}")}
    yield "HSC gal2", "pysersic, middle", bj.Scene([bulge, disc, bj.Sky(level=0.0)], im), shapes, {}, None
    im = bj.Image.read(DATA / "real/hsc_pysersic_gals/gal3.fits", band="i")
    five, sources, shapes = "five_sources_flat_sky_laplace", [], {}
    frame = bj.Scene([bj.Sky()], im).frame
    for k, name in enumerate("abcde"):
        x, y = (float(v) for v in frame.to_sky(im.placement, get(five, f"x0_{k}"), get(five, f"y0_{k}")))
        # places within a pixel and positive fluxes, as in that fit
        place = {"x": dist.Normal(x, scale), "y": dist.Normal(y, scale), "flux": dist.LogNormal(7.0, 3.0)}
        sources.append(bj.Sersic(name, **place) if k < 3 else bj.Point(name, **place))
        if k < 3:
            shapes |= {f"{name}.r_eff": get(five, f"r_eff_{k}_px") * scale, f"{name}.n": get(five, f"n_{k}"), f"{name}.q": 1 - get(five, f"ellip_{k}")}
    yield "HSC gal3", "pysersic, middle", bj.Scene([*sources, bj.Sky()], im), shapes, {}, None
    images = [bj.Image.read(DATA / f"real/decals_j0356m3029/{b}.fits", band=b) for b in "grz"]
    per = {k: bj.Param(per="band") for k in ("r_eff", "n", "q")}
    shapes = {}
    for b in "grz":
        row = {r["parameter"]: float(r["mean"]) for r in rows if r["file"] == f"decals_j0356m3029/{b}.fits"}
        shapes |= {f"galaxy.r_eff[{b}]": row["r_eff_px"] * images[0].pixel_scale, f"galaxy.n[{b}]": row["n"], f"galaxy.q[{b}]": 1 - row["ellip"]}
    yield "J0356-3029", "pysersic, middle", bj.Scene([bj.Sersic("galaxy", **per), bj.Sky()], images), shapes, {}, None


def profit():
    """Start values of ProFit's examples: rough."""
    for row in numbers("reference/profit_gama.csv"):
        folder = DATA / f"real/gama_{row['cataid']}"
        if not folder.is_dir():
            continue
        im = bj.Image.read(folder / "KiDS_r.fits", band="r")
        shapes = {"galaxy.r_eff": float(row["re_arcsec"]), "galaxy.n": float(row["n"]), "galaxy.q": float(row["q"]), "galaxy.pa": float(row["pa_deg_ccw_from_y"])}
        yield f"GAMA {row['cataid']}", "ProFit (start values)", bj.Scene([bj.Sersic("galaxy"), bj.Sky()], im), shapes, {"galaxy": {"r": float(row["mag_r_ab"])}}, None


# -- the comparison -----------------------------------------------------------------------------------------------------------------
def pair(theirs, ours, digits):
    return "" if theirs is None and ours is None else f"{'-' if theirs is None else f'{theirs:.{digits}f}'} / {ours:.{digits}f}"


def compare(name, code, scene, shapes, mags, chi2):
    """Rows of one case, a component each."""
    shapes = {k: v for k, v in shapes.items() if k in scene.names}
    best = scene.fit(progress=False)
    held = scene.fixed({**scene.start, **best.values, **shapes}, list(shapes)).fit(progress=False)
    rows = []
    last = scene.images[-1].band
    for c in dict.fromkeys(k.split(".")[0] for k in shapes):
        bands = sorted({k.split("[")[1][:-1] for k in shapes if "[" in k and k.startswith(f"{c}.")}, key=[im.band for im in scene.images].index) or [""]
        for b in bands:
            at = {k: f"{c}.{k}" + (f"[{b}]" if b else "") for k in ("n", "r_eff", "q")}
            cells = [pair(shapes.get(at[k]), best.values.get(at[k]), d) for k, d in (("n", 2), ("r_eff", 2), ("q", 3))]
            band = b or ("r" if "r" in [im.band for im in scene.images] else last)
            flux = best.values[f"{c}.flux[{band}]"]
            mag = f"{ZEROPOINT - 2.5 * np.log10(flux):.2f}" if scene.images[0].zeropoint is not None and flux > 0 else ""
            theirs = mags.get(c, {}).get(band)
            cells.append("" if not mag else f"{'-' if theirs is None else f'{theirs:.2f}'} / {mag}")
            first = not rows
            rows.append((
                name if first else "", code if first else "", f"{c} {band}", *cells,
                f"{best.chi2:.1f}" if first else "", f"{chi2 - best.chi2:+.1f}" if first and chi2 else "", f"{held.chi2 - best.chi2:+.1f}" if first else "",
            ))  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    logging.getLogger("bayesjoint").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    rows = []
    for make in (pymorph, ngc4261, imfit, pysersic, profit):
        for case in make():
            if not options.words or any(w.lower() in case[0].lower() for w in options.words):
                rows += compare(*case)
                print(*rows[-1], flush=True)
    head = ("galaxy", "code, pixel", "what, band", "n", "r_eff, arcsec", "q", "mag", "chi2", "published - ours", "held - ours")
    lines = table(head, rows)
    print(*lines, sep="\n")
    if not options.no_write and not options.words:
        write([*circumstances("python benchmarks/published.py", {"bayesjoint": sys.executable}), "", *lines], "benchmarks/published.py")


if __name__ == "__main__":
    main()
