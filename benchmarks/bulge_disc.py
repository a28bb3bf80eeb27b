"""Bulges and discs, simulated by GalSim: where the truth lies among draws, and how often a fit is far off.

usage: python benchmarks/bulge_disc.py [--count 800] [--first 1000] [--ordered] [--out FILE]

Each is a Sérsic bulge and an exponential disc about one centre in two bands, fitted and drawn by
default. The truth's rank among the draws of laplace, as a Normal score, is that of a standard Normal
where posteriors are right: with fewer draws than these the proposal has too little to adapt itself to. Rows
go to FILE as they come; a run that was cut off goes on from there.
"""

import argparse
import json
import logging
import pathlib
import time
import warnings

import numpy as np
from page import table
from scipy.stats import norm

import bayesjoint as bj

DRAWS = 1000
GROSS = 5.0
SHAPES = ("bulge.n", "bulge.q", "bulge.r_eff", "disc.q", "disc.r_eff")
SCORED = ("B/T", "bulge.r_eff", "disc.r_eff", "bulge.n")


def truth(rng):
    """Values of one galaxy by site: arcsec, degree, nJy."""
    share, size, mag = rng.uniform(0.1, 0.8), rng.uniform(1.0, 2.5), rng.uniform(17.5, 19.5)
    values = {"bulge.x": 0.05, "bulge.y": -0.08, "bulge.n": rng.uniform(1.0, 4.5), "bulge.q": rng.uniform(0.6, 0.95)}
    values |= {"bulge.pa": rng.uniform(5, 175), "bulge.r_eff": size * rng.uniform(0.12, 0.5)}
    values |= {"disc.q": rng.uniform(0.3, 0.9), "disc.pa": rng.uniform(5, 175), "disc.r_eff": size}
    for band, part, m in (("g", 0.8 * share, mag), ("z", share, mag - 0.9)):
        total = 10 ** (-0.4 * (m - 31.4))
        values |= {f"bulge.flux[{band}]": part * total, f"disc.flux[{band}]": (1 - part) * total}
    return values


def images(values, snr, seed):
    """Its images, drawn by GalSim: 0.26 and 0.2 arcsec a pixel, PSFs of 1.2 and 0.7 arcsec, white noise."""
    import galsim

    exact, out = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-3), []
    for band, scale, fwhm, n in (("g", 0.26, 1.2, 91), ("z", 0.2, 0.7, 121)):
        parts = []
        for c in ("bulge", "disc"):
            q, pa, r = (values[f"{c}.{k}"] for k in ("q", "pa", "r_eff"))
            given = {"half_light_radius": r * np.sqrt(q), "flux": values[f"{c}.flux[{band}]"], "gsparams": exact}
            round_one = galsim.Sersic(values["bulge.n"], **given) if c == "bulge" else galsim.Exponential(**given)
            parts.append(round_one.shear(q=q, beta=(90 + pa) * galsim.degrees))
        psf = galsim.Moffat(3.5, fwhm=fwhm)
        light = galsim.Convolve(galsim.Add(parts).shift(-values["bulge.x"], values["bulge.y"]), psf, gsparams=exact)
        data = light.drawImage(galsim.Image(n, n, scale=scale)).array.astype(float)
        sigma = float(np.sqrt((data**2).sum()) / snr)
        data = data + np.random.default_rng([seed, n]).normal(0, sigma, data.shape)
        # large, and not normalised: GalSim's light has the PSF's far wings
        kernel = bj.PSF(psf.drawImage(nx=61, ny=61, scale=scale).array.astype(float), normalize=False)
        out.append(bj.Image(data, sigma=sigma, psf=kernel, pixel_scale=scale, zeropoint=31.4, band=band, name=band))
    return out


def score(draws, value):
    """Normal score of a value's rank among draws."""
    return float(norm.ppf((np.sum(draws < value) + 0.5) / (len(draws) + 1)))


def row(seed, ordered):
    """One galaxy: scores, distances in errors, and what was said; `ordered` tells the model that the disc is the larger."""
    rng = np.random.default_rng(seed)
    true, snr = truth(rng), rng.uniform(100, 600)
    bulge = bj.Sersic("bulge")
    disc = bj.Exponential("disc", x=bulge.x, y=bulge.y, **({"r_eff": bj.Above(bulge.r_eff)} if ordered else {}))
    begin = time.process_time()
    best = bj.Scene([bulge, disc, bj.Sky()], images(true, snr, seed)).fit(progress=False)
    out = {"seed": seed, "snr": snr, "converged": best.converged, "fit_seconds": time.process_time() - begin}
    known = {k: v for k, v in true.items() if k in best.values}
    if ordered:
        known["disc.r_eff.above"] = true["disc.r_eff"] / true["bulge.r_eff"] - 1
    at_truth = best.scene.log_density(best.scene.unconstrain({**best.values, **known}))
    out["gap"] = float(best.log_density - at_truth)
    out["pulls"] = {k: (best.values[k] - true[k]) / best.errors[k] for k in SHAPES if k in best.values}
    out["said"] = [w.kind for w in best.warnings]
    true["B/T"] = true["bulge.flux[z]"] / (true["bulge.flux[z]"] + true["disc.flux[z]"])
    try:
        post = best.laplace(DRAWS, seed=seed, workers=1)
    except (RuntimeError, ValueError) as e:
        out["refused"] = str(e)
        return out
    drawn = {k: post.draws(k).ravel() for k in (*SHAPES, "bulge.flux[z]", "disc.flux[z]")}
    drawn["B/T"] = drawn["bulge.flux[z]"] / (drawn["bulge.flux[z]"] + drawn["disc.flux[z]"])
    out["scores"] = {k: score(drawn[k], true[k]) for k in {*SCORED, *SHAPES}}
    out["drawn"] = {k: abs(drawn[k].mean() - true[k]) / drawn[k].std() for k in SHAPES}
    out |= {"reliable": post.converged, "seconds": time.process_time() - begin}
    return out


def summary(rows):
    """The table's rows, and sentences."""
    scored = [r for r in rows if "scores" in r]
    lines = []
    for k in SCORED:
        s = np.array([r["scores"][k] for r in scored])
        middle, low, high = np.median(s), *np.quantile(s, [0.1587, 0.8413])
        lines.append((k, f"{middle:+.3f}", f"{(high - low) / 2:.3f}", f"{100 * np.mean(abs(s) > 2):.1f}"))
    fit = np.mean([max(abs(v) for v in r["pulls"].values()) > GROSS for r in rows])
    drawn = np.mean([max(r["drawn"].values()) > GROSS for r in scored])
    converged = sum(r["converged"] for r in rows)
    words = [
        f"{len(rows)} galaxies; {converged} fits converged, {len(scored)} were drawn, {sum(r['reliable'] for r in scored)} of these without a",
        f"doubt of laplace. More than {GROSS:g} errors off in any shape: {100 * fit:.1f} % by the fit's own errors (curvature at the maximum),",
        f"{100 * drawn:.1f} % by mean and scatter of the draws. The truth is nowhere higher than the fit by more than",
        f"{max(0.0, -min(r['gap'] for r in rows)):.2f} in log density. A fit takes {np.median([r['fit_seconds'] for r in rows]):.1f} s of CPU in the median, with draws",
        f"{np.median([r['seconds'] for r in scored]):.1f} s.",
    ]
    return lines, words


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--ordered", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bulge_disc.jsonl"))
    options = parser.parse_args()
    logging.getLogger("bayesjoint").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {r["seed"] for r in rows}
    for seed in range(options.first, options.first + options.count):
        if seed not in done:
            rows.append(row(seed, options.ordered))
            with options.out.open("a") as f:
                f.write(json.dumps(rows[-1]) + "\n")
    lines, words = summary(rows)
    head = ("", "median", "(84th - 16th percentile) / 2", "beyond 2, %")
    page = [f"Normal scores of the truth's rank among {DRAWS} draws of laplace.", "", *table(head, lines), "", *words]
    print(*page, sep="\n")


if __name__ == "__main__":
    main()
