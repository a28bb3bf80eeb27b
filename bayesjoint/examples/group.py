"""A group: four galaxies that overlap, in three bands."""

from __future__ import annotations

import numpy as np

from bayesjoint.examples.wcs import tan_wcs
from bayesjoint.images import PSF, Image
from bayesjoint.scene import Scene
from bayesjoint.sky import GaussianRing, Sersic, Sky
from bayesjoint.units import AB_NJY

__all__ = ["group"]

STRUCTURE = {  # x, y (arcsec), axis ratio, angle (degree), index, half-light semi-major axis (arcsec)
    "A": (0.4, 0.8, 0.75, 60.0, 0.8, 2.0),
    "B": (6.2, 3.9, 0.45, 110.0, 1.2, 1.8),
    "C": (-7.6, 5.4, 0.55, 165.0, 1.0, 2.6),
    "D": (1.9, -8.8, 0.80, 30.0, 3.0, 1.6),
}
MAGNITUDES = {"r": (17.2, 18.3, 18.0, 17.9), "W1": (16.6, 17.5, 17.9, 16.7), "NUV": (20.2, 21.3, 20.6, 22.4)}
RING = 0.15
"""Share of A's light in r that lies in a ring."""
BANDS = {  # scale, shape, optical FWHM (arcsec), zeropoint, sigma per pixel, wavelength (micron)
    "r": (0.26, (120, 120), 1.1, 22.5, 0.006, 0.64),
    "W1": (2.75, (18, 18), 6.1, 22.5, 0.4, 3.35),
    "NUV": (1.5, (26, 26), 5.0, 20.08, 0.0005, 0.23),
}


def group(seed: int = 1) -> tuple[list[Image], dict[str, dict[str, float]]]:
    """Simulate four overlapping galaxies in three bands; in r one of them has a ring, and is no Sérsic profile.

    Parameters
    ----------
    seed : int
        Of the noise.

    Returns
    -------
    images : list of Image
        Bands r, W1 and NUV.
    truth : dict of dict
        Values by galaxy and parameter, in arcsec, degree and nJy. The index and size of A are those in W1 and NUV.
    """
    images = []
    for k, (band, (scale, shape, fwhm, zeropoint, sigma, wave)) in enumerate(BANDS.items()):
        psf = PSF.moffat(fwhm, 3.5, scale) if band == "r" else PSF.gaussian(fwhm, scale)
        wcs = tan_wcs(scale, shape, rotation=20.0 * k)
        images.append(Image(np.zeros(shape), sigma=sigma, psf=psf, wcs=wcs, zeropoint=zeropoint, band=band, name=band, wavelength=wave))
    parts, values, truth = [], {}, {}
    for k, (name, structure) in enumerate(STRUCTURE.items()):
        truth[name] = dict(zip(("x", "y", "q", "pa", "n", "r_eff"), structure, strict=True))
        truth[name] |= {f"flux[{band}]": 10 ** (-0.4 * (mags[k] - AB_NJY)) for band, mags in MAGNITUDES.items()}
        parts.append(Sersic(name, position=structure[:2]))
        values |= {f"{name}.{parameter}": v for parameter, v in truth[name].items()}
    a = parts[0]
    parts.append(GaussianRing("ring", x=a.x, y=a.y, q=a.q, pa=a.pa, r_ring=5.0, sigma=0.8, bands=["r"]))
    values |= {"ring.flux[r]": RING * truth["A"]["flux[r]"], "A.flux[r]": (1 - RING) * truth["A"]["flux[r]"]}
    values |= {f"sky.level[{im.name}]": 0.3 * im.typical_sigma for im in images}
    return Scene([*parts, Sky()], images).simulate(values, seed), truth
