# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Dithered and rotated exposures
#
# You will learn
#
# * to fit exposures as they came from the camera, each with its own WCS, PSF, zeropoint and sky, without a stack;
# * to let `bj.scene_from` find the sources and make a first model;
# * to see when an exposure is misplaced or miscalibrated, what that does to the result, and to mend it with `bj.Shift` and `bj.Zeropoint`;
# * what the exposures say together, and one of them alone.
#
# All is simulated, so that the truth is known. It takes a minute or two.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.examples import exposures

DRAWS = int(os.environ.get("TUTORIAL_DRAWS", "500"))

images, truth = exposures(seed=1)
for im in images:
    print(
        f"{im.name}: {im.shape[0]} x {im.shape[1]} pixels of {im.pixel_scale:.2f}″, seeing {im.psf.fwhm * im.pixel_scale:.2f}″, zeropoint {im.zeropoint}"
    )

# %%
_, axes = plt.subplots(2, 3, figsize=(12.5, 7.2), layout="constrained")
for im, ax in zip(images, axes.ravel(), strict=True):
    plots.image(im, ax)
    ax.set(xlabel="", ylabel="")

# %% [markdown]
# Three exposures in r and three in i, of another camera. Look at the arrows: pointing and rotation differ from one to the next. A stack would resample them all to
# one grid, which correlates the noise of neighbouring pixels, and to one PSF, which throws away the best seeing. Here every pixel stays
# where it is, and each exposure is worth what its noise and seeing make it worth.
#
# ## Finding the sources
#
# `bj.scene_from` searches all exposures together, and makes a group of each object: a point or a galaxy, with priors about what was found.
# It fits as it searches, and says at once what it could not explain: more of that below.

# %%
scene = bj.scene_from(images)
print(scene)
for name in ("object 1.galaxy", "object 2.point", "object 3.galaxy"):
    found, true = ([values[f"{name}.{k}"] for k in "xy"] for values in (scene.start, truth))
    print(f"{name:<16} starts at ({found[0]:+.2f}, {found[1]:+.2f})″; truth ({true[0]:+.2f}, {true[1]:+.2f})″")

# %% [markdown]
# Exposures of one band share each source's flux; every exposure has its sky. `print(scene.describe())` shows all sites and priors.
# What you know better, you write yourself: `bj.Scene([bj.Sersic("galaxy"), bj.Point("star", ...), ...], images)` is the same thing.

# %%
best = scene.fit(progress=False)
print(f"chi² / dof = {best.chi2 / best.dof:.3f}")

# %% [markdown]
# Few would look twice at a chi² like that. But:

# %%
for said in best.remarks:
    print("*", said)

# %% [markdown]
# (`best.message` holds them all, behind the verdict on the fit; they are logged as warnings, too.) From the residuals of each exposure the fit
# has worked out which shift and which zeropoint would mend them, and says so where that is significant.
#
# ## Mending them

# %%
corrections = [bj.Shift(0.3 * u.arcsec, images=["r3"]), bj.Zeropoint(0.1 * u.mag, images=["i3"])]
mended = bj.scene_from(images, corrections=corrections)
right = mended.fit(progress=False)

# %% [markdown]
# The shift adds two sites, what is to be added to the places of r3's pixels, East and North; the zeropoint one, what is to be added to that of i3.
# Their priors are Normals of the widths given. In a scene of your own they stand among the components: `bj.Scene([..., *corrections], images)`.
# Residuals before and after, in units of the noise:

# %%
_, axes = plt.subplots(2, 4, figsize=(14, 7.2), layout="constrained")
for row, (what, fit) in zip(axes, {"as it came": best, "mended": right}.items(), strict=True):
    for name, ax in zip(("r1", "r3", "i1", "i3"), row, strict=True):
        im = next(im for im in images if im.name == name)
        title = f"{name} {what}, mean square {fit.noise[name].chi2:.2f}"
        plots.image(im, ax, fit.residuals()[name], scale="sigma", marks=False, colorbar=False, title=title)
        ax.set(xlabel="", ylabel="")

# %% [markdown]
# A misplaced exposure leaves light on one side of every source and lacks it on the other; a miscalibrated one has too much or too little of
# each, which is hard to see.
#
# Both are found *against the others*: leave at least one exposure (of the band, for zeropoints) as it is. Who is right, one exposure or
# five, is for you to know.

# %%
for site in ("shift.x[r3]", "shift.y[r3]", "zeropoint.offset[i3]"):
    value, error = right.values[site], right.errors[site]
    print(f"{site:<21} {value:+.4f} ± {error:.4f} {mended.units[site]}, {(value - truth[site]) / error:+.1f} sigma from the truth")

# %% [markdown]
# Six milliarcsec, a fiftieth of a pixel. What did the two faults do to the sources? How far each parameter was from the truth, in units of its error,
# and how far it is now:

# %%
sites = [s for s in truth if s.startswith("object")]


def off(fit, site):
    """How far a fit is from the truth, in units of its error."""
    d = fit.values[site] - truth[site]
    return ((d + 90) % 180 - 90 if site.endswith(".pa") else d) / fit.errors[site]


for site in sites:
    print(f"{site:<24} {off(best, site):+6.1f} {off(right, site):+6.1f} sigma")
for what, fit in (("as they came", best), ("mended", right)):
    print(f"root mean square, {what}: {np.sqrt(np.mean([off(fit, s) ** 2 for s in sites])):.1f}")

# %% [markdown]
# A fit that looks good had places wrong by up to nine of its own errors, and the star's flux by three. Mended, twenty numbers are off by one sigma in
# the root mean square, one of them by two, which is as it should be.
#
# ## Together and alone
#
# The errors of one exposure, of the three of its band, and of all six:

# %%
some = {"r1": mended.subset(images=["r1"]).fit(progress=False), "r": mended.subset(images=["r1", "r2", "r3"]).fit(progress=False), "all": right}
print(" " * 24 + "".join(f"{name:>10}" for name in some) + "    r1 / all")
for site in [s for s in sites if not s.endswith("flux[i]")]:
    errors = [fit.errors[site] for fit in some.values()]
    print(f"{site:<24}" + "".join(f"{e:10.4g}" for e in errors) + f"{errors[0] / errors[-1]:12.1f}")

# %% [markdown]
# Places and shapes gain a factor of about two or more: the i exposures, too, know where the galaxy is and how it lies. The star's flux in r gains from the
# three exposures in r alone; the galaxies' also from i, since whoever knows the size knows the flux better.
#
# ## The posterior

# %%
post = right.laplace(draws=DRAWS, seed=1)
print(post)
print(f"k-hat {post.k_hat:.2f}")
post.table()[
    "source",
    "ra",
    "dec",
    "x",
    "x_err",
    "q",
    "n",
    "n_err",
    "r_eff",
    "r_eff_err",
    "mag_r",
    "mag_r_err",
    "mag_i",
    "mag_i_err",
    "color_r_i",
    "color_r_i_err",
]

# %% [markdown]
# Colours are computed draw by draw, so that what r and i share (the size of the galaxy, say) does not count twice. Against the truth:

# %%
for name in ("object 1.galaxy", "object 2.point", "object 3.galaxy"):
    colour = -2.5 * np.log10(post.draws(f"{name}.flux[r]") / post.draws(f"{name}.flux[i]"))
    true = -2.5 * np.log10(truth[f"{name}.flux[r]"] / truth[f"{name}.flux[i]"])
    alone = np.hypot(*(np.std(2.5 * np.log10(post.draws(f"{name}.flux[{band}]"))) for band in "ri"))
    print(
        f"{name:<16} r - i = {colour.mean():.3f} ± {colour.std():.3f} (± {alone:.3f} without the covariance), {(colour.mean() - true) / colour.std():+.1f} sigma"
    )

# %% [markdown]
# Truths are blue, priors (flat on this scale) orange. The galaxy's fluxes in both bands go with its size; the shift and the zeropoint are found
# with everything else, so that what they leave uncertain is in all other errors.

# %%
post.corner(
    ["object 1.galaxy.x", "shift.x[r3]", "object 1.galaxy.r_eff", "object 1.galaxy.flux", "object 2.point.flux[i]", "zeropoint.offset[i3]"],
    truths=truth,
)
