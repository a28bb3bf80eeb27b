"""Ours in a fresh process: fits of a case, or its whole way to draws; times begin with the images in memory and leave imports out. Prints one JSON line.

usage: python benchmarks/drive_ours.py fit leda|group|supernova
       python benchmarks/drive_ours.py sample gal1|leda DRAWS.npz
"""

import sys
import tempfile
import time

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from cases import BANDS, DATA, EPOCHS, GAL1, OFF, places, say, told, truth, worst

import bayesjoint as bj

BULK, TAIL = 1000, 400
"""Effective draws that every parameter is to reach, with R-hat at most R_HAT."""
R_HAT = 1.01
CHAINS, ENOUGH = 4, 1250
"""Chains of NUTS; draws of laplace and svi, of which at least BULK are effective where their weights are any good."""


def read(case):
    """Its images, in memory."""
    if case == "gal1":
        return [bj.Image.read(GAL1, band="i")]
    if case in ("leda", "group"):
        return [bj.Image.read(DATA / f"sim/{case}/{b}.fits", band=b) for b in BANDS]
    return [bj.Image.read(DATA / f"sim/supernova/epoch_{k}.fits") for k in EPOCHS]


def scene_of(case, images):
    if case == "group":
        return bj.Scene([*(bj.Sersic(f"g{k}", position=p) for k, p in enumerate(places())), bj.Sky()], images)
    if case != "supernova":
        return bj.Scene([bj.Sersic("galaxy"), bj.Sky()], images)
    header, sn = fits.getheader(DATA / "sim/supernova/epoch_0.fits"), told(case)["sn"]
    transient = bj.Point("sn", position=(sn["x"] + OFF[0], sn["y"] + OFF[1]), flux=bj.Param(per="image"))
    return bj.Scene([bj.Sersic("host"), transient, bj.Sky()], images, reference=SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg"))


def timed(f):
    t = time.perf_counter()
    result = f()
    return result, time.perf_counter() - t


def fitted(case):
    images = read(case)
    return timed(lambda: scene_of(case, images).fit(progress=False))


def to_the_mark(best):
    """NUTS at its defaults, drawn on from its own checkpoint until every parameter is there."""
    draws = int(1.1 * BULK / CHAINS)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(8):
            post = best.nuts(draws=draws, chains=CHAINS, seed=1, progress=False, checkpoint=folder)
            s = post.summary().loc[post.names]
            short = max(BULK / s["ess_bulk"].min(), TAIL / s["ess_tail"].min())
            if short <= 1 and s["r_hat"].max() <= R_HAT:
                break
            draws = int(np.ceil(1.1 * max(short, 1.15) * draws))
    return post


def fit(case):
    best, first = fitted(case)
    again, warm = fitted(case)
    z = worst(again.values, again.errors, truth(case))
    say(first_s=first, warm_s=warm, chi2=best.chi2, parameters=len(best.names), iterations=len(best.history) - 1, converged=best.converged, worst=z)


def sample(case, path):
    best, fit_s = fitted(case)
    post, nuts_s = timed(lambda: to_the_mark(best))
    _, warm = fitted(case)
    draws, found = {"nuts": post}, {}
    for name, f in (("laplace", lambda: best.laplace(ENOUGH, seed=1)), ("svi", lambda: best.svi(ENOUGH, seed=1, progress=False))):
        draws[name], seconds = timed(f)
        found[name] = {"seconds": seconds, "k_hat": draws[name].k_hat, "evaluations": draws[name].info["evaluations"]}
    np.savez(path, **{k: p.theta for k, p in draws.items()})
    stats = post.arviz["sample_stats"]
    nuts = {"gradients": post.info["gradients"], "drawing": int(stats["n_steps"].sum()), "divergences": int(stats["diverging"].sum())}
    nuts["reasons"] = post.reasons
    say(names=post.names, fit_s=fit_s, warm_fit_s=warm, wall_s=fit_s + nuts_s, nuts=nuts, approximations=found, converged=best.converged)


if __name__ == "__main__":
    {"fit": fit, "sample": sample}[sys.argv[1]](*sys.argv[2:])
