"""pysersic 0.1.5 in a fresh process, at its defaults, on gal1: NUTS or the MAP; times begin with the images in memory and leave imports out. Prints one JSON line.

usage: PYSERSIC_PYTHON benchmarks/drive_pysersic.py nuts DRAWS.npz
       PYSERSIC_PYTHON benchmarks/drive_pysersic.py map
"""

import functools
import os
import sys
import time
import warnings

import numpyro

numpyro.set_host_device_count(min(2, os.cpu_count()))  # its two chains side by side; to be said before JAX starts
warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402
from astropy.io import fits  # noqa: E402
from astropy.wcs import WCS  # noqa: E402
from cases import GAL1, njy, say  # noqa: E402
from jax.random import PRNGKey  # noqa: E402
from numpyro.infer import MCMC  # noqa: E402
from pysersic import FitSingle  # noqa: E402
from pysersic.priors import autoprior  # noqa: E402

KEY = PRNGKey(1003)


def read():
    with fits.open(GAL1) as h:
        image, mask = h[0].data.astype(float), h["MASK"].data.astype(int)
        return {"data": image, "rms": np.sqrt(h["VAR"].data.astype(float)), "psf": h["PSF"].data.astype(float), "mask": mask}


def prepared(arrays):
    return FitSingle(**arrays, prior=autoprior(image=arrays["data"], profile_type="sersic", mask=arrays["mask"], sky_type="flat"))


def ours(p):
    """Draws by our sites and in our units: its x, y count pixels from 0, its angle is counted from the pixels' +y to -x, in radians."""
    header = fits.getheader(GAL1)
    cd = 3600 * WCS(header).pixel_scale_matrix  # pixels to East and North, arcsec
    x, y = np.einsum("ij,j...->i...", cd, np.stack([p["xc"] - (header["NAXIS1"] - 1) / 2, p["yc"] - (header["NAXIS2"] - 1) / 2]))
    east, north = np.einsum("ij,j...->i...", cd, np.stack([-np.sin(p["theta"]), np.cos(p["theta"])]))
    return {
        "galaxy.x": x,
        "galaxy.y": y,
        "galaxy.q": 1 - p["ellip"],
        "galaxy.pa": np.degrees(np.arctan2(east, north)) % 180,
        "galaxy.n": p["n"],
        "galaxy.r_eff": p["r_eff"] * np.sqrt(abs(np.linalg.det(cd))),
        "galaxy.flux[i]": p["flux"] * njy(header["MAGZERO"]),
        f"sky.level[{GAL1.stem}]": p["sky_back"],
    }


def nuts(path):
    MCMC.run = functools.partialmethod(MCMC.run, extra_fields=("num_steps",))  # pysersic does not pass it on
    arrays = read()
    begin = time.perf_counter()
    result = prepared(arrays).sample(rkey=KEY, mcmc_kwargs={"progress_bar": False})
    wall = time.perf_counter() - begin
    draws, stats, sampler = result.idata.posterior, result.idata.sample_stats, result.input
    # its warm-up once more, untimed, to count what the run above keeps no count of; the same but for rounding
    sampler.warmup(KEY, extra_fields=("num_steps",), collect_warmup=True)
    drawing = int(stats["n_steps"].sum())
    gradients = drawing + int(sampler.get_extra_fields()["num_steps"].sum())
    np.savez(path, **ours({k: draws[k].values.astype(float) for k in ("xc", "yc", "flux", "r_eff", "n", "ellip", "theta", "sky_back")}))
    say(wall_s=wall, gradients=gradients, drawing=drawing, divergences=int(stats["diverging"].sum()))


def maximum():
    times, arrays = [], read()
    for _ in range(2):
        begin = time.perf_counter()
        prepared(arrays).find_MAP(rkey=KEY)
        times.append(time.perf_counter() - begin)
    say(first_s=times[0], warm_s=times[1])


if __name__ == "__main__":
    {"nuts": nuts, "map": maximum}[sys.argv[1]](*sys.argv[2:])
