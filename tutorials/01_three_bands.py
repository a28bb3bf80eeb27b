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
# # Three bands of one galaxy
#
# You will learn
#
# * to put images of different pixel scale, PSF, orientation and zeropoint into one scene, and to fit them jointly;
# * to sample the posterior and to ask whether it is to be believed;
# * what the joint fit gains over each band alone;
# * what to do about images whose coordinates are off;
# * to save everything, and to draw pictures from what was saved.
#
# All is simulated, so that the truth is known. It takes a minute or two.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.examples import three_bands

DRAWS = int(os.environ.get("TUTORIAL_DRAWS", "500"))

images, truth = three_bands(seed=1)
for im in images:
    print(im)

# %%
_, axes = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
for im, ax in zip(images, axes, strict=True):
    plots.image(im, ax)

# %% [markdown]
# One galaxy: in r sharp, in W1 with pixels seven times as large, in NUV faint. North points another way in each image. They stay
# as they are: nothing will be resampled, and no PSF blurred to match another.
#
# ## With real files
#
# The galaxy stands for LEDA 41136. If you are online, its cut-outs from three surveys are images just as well. They hold pixels and a
# WCS alone, so the rest is given by hand (the PSFs and the noise are simple estimates; for science take better ones):
#
# ```python
# cutout = "https://www.legacysurvey.org/viewer/fits-cutout?ra=187.3119&dec=12.9783"
# images = [
#     bj.Image.read(
#         f"{cutout}&size=500&layer=ls-dr9&pixscale=0.262&bands=r",
#         sigma=0.008, psf=bj.PSF.gaussian(1.12 * u.arcsec, 0.262 * u.arcsec), zeropoint=22.5, band="r", name="r", wavelength=0.64,
#     ),
#     bj.Image.read(
#         f"{cutout}&size=52&layer=unwise-neo7&pixscale=2.75&bands=1",
#         sigma=4.9, psf=bj.PSF.gaussian(6.1 * u.arcsec, 2.75 * u.arcsec), zeropoint=25.199, band="W1", name="W1", wavelength=3.35,
#     ),
#     bj.Image.read(
#         f"{cutout}&size=90&layer=galex&pixscale=1.5&bands=n",
#         sigma=0.0007, psf=bj.PSF.gaussian(5.4 * u.arcsec, 1.5 * u.arcsec), zeropoint=20.08, band="NUV", name="NUV", wavelength=0.23,
#     ),
# ]
# ```
#
# ## A scene
#
# A Sérsic profile and a sky. What the images share (centre, axis ratio, angle, index, size) is one parameter; each band has a flux of its
# own, each image a sky level.

# %%
scene = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], images)
print(scene.describe())

# %% [markdown]
# Starts come from the pixels, priors never do: they know the geometry of the images and their noise, no more.
#
# ## A fit
#
# Levenberg-Marquardt finds the maximum of the posterior density, and the covariance there:

# %%
best = scene.fit(progress=False)
best

# %%
best.plot()

# %% [markdown]
# The residuals, in units of the noise, are noise: their mean square is 1 within what so many pixels allow. A galaxy that is no Sérsic
# profile would show here first, and in `best.message`.
#
# ## The posterior
#
# Pyro's NUTS, in coordinates that the fit's covariance has made round, so that few steps make a draw:

# %%
post = best.nuts(draws=2 * DRAWS, chains=2, seed=1, progress=False)
post

# %% [markdown]
# `post.converged` is a verdict (R-hat, effective sample sizes, divergences, energies), `post.reasons` says in words what speaks against the
# draws; more draws mend what is said about too few. Now the truth: how far are the means from it, in units of the posterior's width?

# %%
for name, value in truth.items():
    x = post.draws(name)
    print(f"{name:<17} {(x.mean() - value) / x.std():+.1f} sigma")

# %% [markdown]
# Twelve numbers that should look like draws from a standard normal distribution, and do.
#
# ## What does the joint fit gain?
#
# Errors from each image alone, beside those from all three:

# %%
alone = {im.name: scene.subset(images=[im.name]).fit(progress=False) for im in images}
print("".join(f"{h:>12}" for h in ["", *alone, "joint"]))
for name in ("x", "y", "q", "pa", "n", "r_eff", "flux[r]", "flux[W1]", "flux[NUV]"):
    errors = [one.errors.get(f"galaxy.{name}") for one in (*alone.values(), best)]
    print(f"{name:>12}" + "".join(f"{e:12.4g}" if e else " " * 12 for e in errors))

# %% [markdown]
# The r image decides the structure, and lends it to the others: fluxes in W1 and NUV come out two to four times as sharp as these
# images alone can say. And all at once: the uncertainty of the size is in the fluxes' errors and in their correlations, where forced
# photometry, which takes the size as known, leaves it out.
#
# Colours want those correlations. Fluxes are draws, so a colour is one for each draw:

# %%
colour = -2.5 * np.log10(post.draws("galaxy.flux[NUV]") / post.draws("galaxy.flux[r]"))
print(f"NUV - r = {colour.mean():.3f} ± {colour.std():.3f} mag")
true = -2.5 * np.log10(truth["galaxy.flux[NUV]"] / truth["galaxy.flux[r]"])
print(f"truth     {true:.3f}, {(colour.mean() - true) / colour.std():+.1f} sigma")

# %% [markdown]
# `post.table()` has these and more (AB magnitudes, colours of neighbouring bands, surface brightness), with units; `.write("galaxy.ecsv")` keeps it.

# %%
post.table()["source", "x", "x_err", "y", "y_err", "r_eff", "r_eff_err", "mag_r", "mag_r_err", "mag_W1", "mag_W1_err", "mag_NUV", "mag_NUV_err"]

# %% [markdown]
# ## Images whose coordinates are off
#
# Suppose that W1 and NUV lie elsewhere than their headers say:

# %%
r, w1, nuv = images
moved = [r, w1.shifted(1.2 * u.arcsec, -0.6 * u.arcsec), nuv.shifted(-0.9 * u.arcsec, 0.5 * u.arcsec)]
wrong = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], moved).fit(progress=False)

# %% [markdown]
# The fit says so, unasked. If you know by how much, `.shifted` puts an image back (it adds to every pixel's place, arcsec to the East and North). If
# you do not, the offset is a parameter:

# %%
shifts = bj.Shift(1.0 * u.arcsec, images=["W1", "NUV"])
right = bj.Scene([bj.Sersic("galaxy"), bj.Sky(), shifts], moved).fit(progress=False)
for name, value in {"shift.x[W1]": -1.2, "shift.y[W1]": 0.6, "shift.x[NUV]": 0.9, "shift.y[NUV]": -0.5}.items():
    print(f"{name:<13} {right.values[name]:+.2f} ± {right.errors[name]:.2f} arcsec, {(right.values[name] - value) / right.errors[name]:+.1f} sigma from the truth")

# %% [markdown]
# Shifts and the sources' places are found together, so that the uncertainty of one is in the other.
#
# ## Keep it
#
# The scene goes into a readable YAML file, the draws into netCDF, which ArviZ and xarray read too. Images stay in their own files.

# %%
for im in images:
    im.write(f"{im.name}.fits", overwrite=True)
scene.save("scene.yaml")
post.save("posterior.nc")

# %% [markdown]
# Another day, without fitting anything:

# %%
again = bj.load("posterior.nc")
again.scene = bj.Scene.load("scene.yaml", [bj.Image.read(f"{name}.fits") for name in ("r", "W1", "NUV")])
plots.profile(again, "galaxy").figure

# %% [markdown]
# Surface brightness by radius: points are the data's means over elliptical rings, lines and bands the posterior's, through each image's
# PSF. W1 and NUV are flat in the middle because of their PSFs alone.

# %%
plots.sed(again, "galaxy").figure

# %% [markdown]
# And the posterior itself, with the truth in blue and each prior's density in orange, as far as it can be seen: the data say all.

# %%
again.corner(["galaxy.q", "galaxy.pa", "galaxy.n", "galaxy.r_eff", "galaxy.flux"], truths=truth)
