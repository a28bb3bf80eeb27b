"""Measure: drivers run in processes of their own, and one set of statistics for the draws of all of them."""

import json
import os
import pathlib
import subprocess
import tempfile
import warnings

import numpy as np
from cases import DATA, apart

HERE = pathlib.Path(__file__).resolve().parent


def run(python, driver, *args):
    """What a driver found, from the last line that it printed; it runs alone, in a folder that is gone afterwards."""
    command = [os.path.abspath(python), str(HERE / f"{driver}.py"), *args]
    with tempfile.TemporaryDirectory() as folder:  # AstroPhot leaves a log where it is imported
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | {"BAYESJOINT_DATA": str(DATA.absolute())})
    if done.returncode:
        raise SystemExit(f"{driver} {' '.join(args)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_drawing(python, driver, *args):
    """The same for drivers that also leave draws, shape (chains, draws), by sampler and site."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "draws.npz"
        found = run(python, driver, *args, str(path))
        with np.load(path) as f:
            return found, {k: f[k] for k in f.files}


def by_site(names, theta):
    return {n: theta[..., k] for k, n in enumerate(names)}


def moments(draws):
    """Mean and standard deviation of each site, on the circle for angles."""
    out = {}
    for site, x in draws.items():
        mean = x.mean()
        if site.endswith(".pa"):
            mean = np.degrees(np.angle(np.exp(2j * np.radians(x)).mean())) / 2 % 180
        out[site] = float(mean), float(apart(site, x, mean).std())
    return out


def diagnosed(draws):
    """Smallest ESS (bulk, tail, of the sd) and largest R-hat of all sites; of cosine and sine of twice an angle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz

    columns = []
    for site, x in draws.items():
        twice = np.radians(2 * x)
        columns += [np.cos(twice), np.sin(twice)] if site.endswith(".pa") else [x]
    ess = {m: min(float(arviz.ess(x, method=m)) for x in columns) for m in ("bulk", "tail", "sd")}
    return ess | {"r_hat": max(float(arviz.rhat(x)) for x in columns)}


def compared(draws, reference):
    """By site: difference of the means in units of the reference's sd, and ratio of the sds."""
    a, b = moments(draws), moments(reference)
    return {site: (float(apart(site, a[site][0], b[site][0])) / b[site][1], a[site][1] / b[site][1]) for site in b}
