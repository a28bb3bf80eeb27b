"""AstroPhot 0.18 in a fresh process: initialise and LM of a simulated joint case, twice; times begin with the images in memory and leave imports out. Prints one JSON line.

usage: ASTROPHOT_PYTHON benchmarks/drive_astrophot.py leda|group|supernova [slopes]

With `slopes` one gradient and one Jacobian are timed as well.
"""

import logging
import math
import sys
import time

import astrophot as ap
import numpy as np
from astropy.io import fits
from cases import BANDS, DATA, EPOCHS, OFF, njy, places, say, told, truth, worst
from scipy.special import gammaincinv, gammaln

ap.config.set_logging_output(stdout=False)
logging.getLogger().setLevel(logging.ERROR)


def target(path):
    """One image; its CD matrix and reference pixel by hand, as AstroPhot's reader swaps CRPIX."""
    with fits.open(path) as h:
        hd = h[0].header
        pc = np.array([[hd["PC1_1"], hd.get("PC1_2", 0.0)], [hd.get("PC2_1", 0.0), hd["PC2_2"]]])
        return ap.TargetImage(
            data=h[0].data.astype(float),
            CD=pc * np.array([[hd["CDELT1"]], [hd["CDELT2"]]]) * 3600,
            crpix=(hd["CRPIX1"] - 1, hd["CRPIX2"] - 1),
            crval=(0.0, 0.0),
            zeropoint=hd["MAGZERO"],
            variance=h["VAR"].data.astype(float),
            psf=h["PSF"].data.astype(float),
            name=path.stem,
        )


def share(models, names):
    for m in models[1:]:
        for p in names:
            setattr(m, p, getattr(models[0], p))


def read(case):
    """Its images, in memory."""
    return [target(DATA / f"sim/{case}/{name}.fits") for name in (BANDS if case != "supernova" else (f"epoch_{k}" for k in EPOCHS))]


def leda(targets):
    """The group model, and which of AstroPhot's parameters make each of our sources and fluxes."""
    models = [ap.Model(name=f"m{t.name}", model_type="sersic galaxy model", target=t) for t in targets]
    share(models, ("center", "q", "PA", "n", "Re"))
    group = ap.Model(name="joint", model_type="group model", models=models, target=ap.TargetImageList(targets))
    return group, {"galaxy": models[0]}, {f"galaxy.flux[{b}]": (m.Ie, m.target.zeropoint) for b, m in zip(BANDS, models, strict=True)}


def group(targets):
    """Four galaxies that share all but brightness over the bands, each at the rough place given."""
    models, sources, fluxes = [], {}, {}
    for k, place in enumerate(places()):
        mine = [ap.Model(name=f"g{k}_{t.name}", model_type="sersic galaxy model", target=t, center=place) for t in targets]
        share(mine, ("center", "q", "PA", "n", "Re"))
        models += mine
        sources[f"g{k}"] = mine[0]
        fluxes |= {f"g{k}.flux[{b}]": (m.Ie, m.target.zeropoint) for b, m in zip(BANDS, mine, strict=True)}
    return ap.Model(name="joint", model_type="group model", models=models, target=ap.TargetImageList(targets)), sources, fluxes


def supernova(targets):
    sn, epochs = told("supernova")["sn"], [f"epoch_{k}" for k in EPOCHS]
    hosts = [ap.Model(name=f"host_{t.name}", model_type="sersic galaxy model", target=t) for t in targets]
    share(hosts, ("center", "q", "PA", "n", "Re", "Ie"))
    place = (sn["x"] + OFF[0], sn["y"] + OFF[1])
    points = [ap.Model(name=f"sn_{t.name}", model_type="point model", target=t, center=place, flux=100.0) for t in targets]
    share(points, ("center",))
    for p in points:
        p.flux.valid = (None, None)  # its default bound reports a dark epoch as 0 with no use for its error
    group = ap.Model(name="joint", model_type="group model", models=hosts + points, target=ap.TargetImageList(targets))
    fluxes = {f"sn.flux[{e}]": (p.flux, p.target.zeropoint) for e, p in zip(epochs, points, strict=True)}
    return group, {"host": hosts[0], "sn": points[0]}, fluxes | {"host.flux[i]": (hosts[0].Ie, targets[0].zeropoint)}


def fitted(case):
    targets = read(case)
    t = time.perf_counter()
    model, sources, fluxes = {"leda": leda, "group": group, "supernova": supernova}[case](targets)
    model.initialize()
    lm = ap.fit.LM(model, verbose=0)
    lm.fit()
    return (model, sources, fluxes, lm), time.perf_counter() - t


def columns(group):
    """Where each parameter lies in the flat vector."""
    at, where = 0, {}
    for p in group.dynamic_params:
        size = math.prod(p.shape)
        where[id(p)] = range(at, at + size)
        at += size
    return where


def ours(flat, where, sources, fluxes):
    """Values of our sites at a flat vector: the angle is counted from North to West, the brightness is that at Re."""
    out, light = {}, {}
    for name, m in sources.items():
        out[f"{name}.x"], out[f"{name}.y"] = flat[where[id(m.center)]]
        if name != "sn":
            q, pa, n, size = (flat[where[id(p)][0]] for p in (m.q, m.PA, m.n, m.Re))
            out |= {f"{name}.q": q, f"{name}.pa": -math.degrees(pa) % 180, f"{name}.n": n, f"{name}.r_eff": size}
            b = gammaincinv(2 * n, 0.5)
            light[name] = 2 * math.pi * q * n * size**2 * math.exp(b + gammaln(2 * n) - 2 * n * math.log(b))  # total flux for Ie = 1
    for site, (p, zeropoint) in fluxes.items():
        out[site] = flat[where[id(p)][0]] * njy(zeropoint) * light.get(site.split(".")[0], 1.0)
    return out


def median_s(f, repeats=5):
    f()
    times = []
    for _ in range(repeats):
        t = time.perf_counter()
        f()
        times.append(time.perf_counter() - t)
    return float(np.median(times))


def slopes_of(group):
    def gradient():
        x = group.get_values().detach().clone().requires_grad_(True)
        group.gaussian_log_likelihood(params=x).backward()

    return {"gradient_s": median_s(gradient), "jacobian_s": median_s(lambda: group.jacobian(params=group.get_values()))}


def main(case, more=""):
    (model, sources, fluxes, lm), first = fitted(case)
    chi2 = min(lm.loss_history) * lm.ndf
    (model, sources, fluxes, lm), warm = fitted(case)
    flat, covariance, where = model.get_values().detach().numpy(), lm.covariance_matrix.detach().numpy(), columns(model)
    values, slopes = ours(flat, where, sources, fluxes), {k: np.empty(len(flat)) for k in truth(case)}
    for i, h in enumerate(1e-3 * np.sqrt(np.diag(covariance))):  # the delta method, with covariance (AstroPhot's flux errors leave it out)
        up, down = (ours(flat + s * h * np.eye(len(flat))[i], where, sources, fluxes) for s in (1, -1))
        for k, slope in slopes.items():
            slope[i] = (up[k] - down[k]) / (2 * h)
    errors = {k: float(np.sqrt(s @ covariance @ s)) for k, s in slopes.items()}
    z = worst(values, errors, truth(case))
    extra = slopes_of(model) if more == "slopes" else {}
    say(first_s=first, warm_s=warm, chi2=chi2, parameters=len(flat), iterations=len(lm.loss_history) - 1, message=lm.message, worst=z, **extra)


if __name__ == "__main__":
    main(*sys.argv[1:])
