"""Cases: where the benchmarks' images lie and what is true of the simulated ones, by our sites; for drivers in any environment."""

import json
import os
import pathlib

import numpy as np

DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"))
GAL1 = DATA / "real/hsc_pysersic_gals/gal1.fits"
BANDS = ("r", "W1", "NUV")
EPOCHS = range(8)
OFF = (0.3, -0.3)
"""How far from its place the supernova starts in every fit, arcsec: no code finds it by itself."""


ROUGH = ((0.8, -0.6), (-0.7, 0.5), (0.5, 0.9), (-0.9, -0.4))
"""How far from its place each galaxy of the group is given, arcsec."""


def njy(mag):
    return 10 ** (-0.4 * (mag - 31.4))


def told(case):
    """The truth file of a simulated case."""
    return json.loads((DATA / f"sim/{case}/truth.json").read_text())


def places():
    """Where the galaxies of the group are said to be."""
    return [(t["x"] + dx, t["y"] + dy) for t, (dx, dy) in zip(told("group"), ROUGH, strict=True)]


def truth(case):
    """True values of our sites, in arcsec, degree, nJy."""
    structure = ("x", "y", "q", "pa", "n", "r_eff")
    if case == "leda":
        (t,) = told(case)
        return {f"galaxy.{k}": t[k] for k in structure} | {f"galaxy.flux[{b}]": njy(t["mag"][b]) for b in BANDS}
    if case == "group":
        sites = {f"g{k}.{p}": t[p] for k, t in enumerate(told(case)) for p in structure}
        return sites | {f"g{k}.flux[{b}]": njy(t["mag"][b]) for k, t in enumerate(told(case)) for b in BANDS}
    t = told(case)
    host, unit = t["host"], njy(t["zeropoint"])
    values = {f"host.{k}": host[k] for k in structure} | {"host.flux[i]": njy(host["mag"])} | {f"sn.{k}": t["sn"][k] for k in ("x", "y")}
    return values | {f"sn.flux[epoch_{k}]": unit * t["flux_counts"][k] for k in EPOCHS}


def apart(site, a, b):
    """Difference of two values of a site, on the circle for angles."""
    return (a - b + 90) % 180 - 90 if site.endswith(".pa") else a - b


def worst(values, errors, true):
    """The site farthest from the truth, and how far in units of its error."""
    off = {k: abs(float(apart(k, values[k], v))) / errors[k] for k, v in true.items()}
    site = max(off, key=off.get)
    return {"site": site, "z": off[site]}


def say(**found):
    """One JSON line, the last of a driver's output."""
    print(json.dumps(found, default=lambda v: v.item() if isinstance(v, np.generic) else np.asarray(v).tolist()))
