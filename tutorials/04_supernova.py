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
# # A supernova on its host
#
# You will learn
#
# * to fit a transient and its host in all epochs at once, each as sharp as its night was, without subtracting one image from another;
# * to give a source a flux for each image, free to be negative, and to hold the dark epochs at zero;
# * to take the light curve with its covariance and upper limits;
# * what forced photometry, with the host held, leaves out of the errors.
#
# All is simulated, so that the truth is known. It takes a minute or two.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.examples import supernova

DRAWS = int(os.environ.get("TUTORIAL_DRAWS", "500"))

images, truth = supernova(seed=4)
for im in images:
    print(im, f"MJD {im.epoch:.0f}")

# %%
_, axes = plt.subplots(2, 4, figsize=(14, 7), layout="constrained")
for im, ax in zip(images, axes.ravel(), strict=True):
    plots.image(im, ax, colorbar=False, title=f"{im.name}, MJD {im.epoch:.0f}, seeing {im.psf.fwhm * im.pixel_scale:.1f}″")
    ax.set(xlabel="", ylabel="")

# %% [markdown]
# Eight nights in one band. Seeing comes and goes, pointings are dithered, the camera was turned in e2 and e5. In e0 the supernova had not
# yet exploded. The usual way is to rotate, resample and blur e0 to look like each of the others, and to subtract it. Here nothing is
# done to the images: one model, with a host that stays as it is, must explain them all.
#
# ## The scene

# %%
host = bj.Sersic("host")
sn = bj.Point("sn", position=(0.9, 0.4), flux=bj.Param(per="image"))
scene = bj.Scene([host, sn, bj.Sky()], images)
print(scene.describe())

# %% [markdown]
# `flux=bj.Param(per="image")` makes one flux an epoch: `sn.flux[e0]`, ..., each with a wide Normal prior, so that noise may make
# it negative. `position=` is where the fit begins, in arcsec East and North of the middle of e0, as one reads it off an image; the
# place itself is a parameter that all epochs share. The host has one flux in the band, each image a sky of its own.

# %%
best = scene.fit(progress=False)
print(best.message)
print(f"chi² / dof = {best.chi2 / best.dof:.3f}")

# %% [markdown]
# Data, model and residuals before the explosion, at the peak, and in a rotated epoch:

# %%
shown = [images[k] for k in (0, 3, 5)]
plots.panels(shown, best.model_images(), best.residuals())[0, 0].figure

# %% [markdown]
# Noise is all that is left, in the core of the host too. And where is the supernova? What is left if the model takes away host and
# sky alone, in units of the noise:

# %%
parts = scene.render_components(best.values)
_, axes = plt.subplots(2, 4, figsize=(14, 7.4), layout="constrained")
for im, ax in zip(images, axes.ravel(), strict=True):
    left = (im.data - parts[im.name]["host"] - parts[im.name]["sky"]) / im.sigma
    plots.image(im, ax, left, scale="sigma", marks=False, colorbar=False, title=f"{im.name} without its host")
    ax.set(xlabel="", ylabel="")

# %% [markdown]
# Colours end at 5 sigma. This is a picture only: the measurement is the fit, in which host and supernova share the light between them, with errors for how well they can.
#
# ## The light curve
#
# 25 parameters, of which 17 (fluxes and skies) are linear: `laplace` integrates them out, draws the other eight about the maximum, weighs them against
# the exact density, and draws fluxes and skies from their exact Gaussians. Its k-hat, below 0.7, says that this holds.

# %%
post = best.laplace(draws=2 * DRAWS, seed=1)
print(post)
print(f"k-hat {post.k_hat:.2f}")
curve = post.light_curve("sn")
curve

# %% [markdown]
# The dark epoch is a measurement like the others, and comes out as zero within its error; where `snr` is below 3, no magnitude is given, and
# `upper_limit` (99.7 %) is what to quote. In the plot it is the triangle; crosses are the truth.

# %%
ax = plots.light_curve(post, "sn")
ax.plot([im.epoch for im in images], [truth[f"sn.flux[{im.name}]"] for im in images], "x", color="black", ms=7, label="truth")
ax.legend(fontsize=8)
ax.figure

# %% [markdown]
# Is it right? How far each flux is from the truth, in units of its error:

# %%
off = np.array([curve["flux"].value[k] - truth[f"sn.flux[{name}]"] for k, name in enumerate(curve["image"])])
for name, z in zip(curve["image"], off / curve["flux_err"].value, strict=True):
    print(f"{name} {z:+.1f} sigma")

# %% [markdown]
# Good, but these are not eight independent numbers. All epochs take the same host away: where it is a little too faint, the supernova is
# too bright in every one. The table carries the covariance:

# %%
covariance = np.array(curve.meta["covariance"])
error = np.sqrt(np.diag(covariance))
correlation = covariance / error / error[:, None]
print(np.array2string(correlation, precision=2, suppress_small=True))
print(f"chi² of the eight with it: {off @ np.linalg.solve(covariance, off):.1f}")

# %% [markdown]
# Fit light-curve models with that matrix. By the errors alone the mean flux, say, would look far surer than it is:

# %%
mean_error = np.sqrt(covariance.mean())
print(f"error of the mean flux: {mean_error:.0f} nJy; as if epochs were independent: {np.sqrt((error**2).mean() / 8):.0f} nJy")

# %% [markdown]
# ## What you know: the supernova was not there
#
# In e0 its flux is zero, not "zero within the error". `scene.fixed` holds sites, here one at a value of our own:

# %%
dark = scene.fixed({"sn.flux[e0]": 0.0}, ["sn.flux[e0]"])
held = dark.fit(progress=False)
before = held.laplace(draws=2 * DRAWS, seed=1)
sharper = before.light_curve("sn")
print("epoch   truth    free           e0 held at zero")
for k, name in enumerate(curve["image"]):
    a, b = curve[k], sharper[k]
    value = truth[f"sn.flux[{name}]"]
    print(f"{name}   {value:7.0f}   {a['flux'].value:6.0f} ± {a['flux_err'].value:3.0f}   {b['flux'].value:6.0f} ± {b['flux_err'].value:3.0f} nJy")

# %% [markdown]
# Now e0 is what a template is in image subtraction: it shows the host alone. All errors become smaller, and the correlations too:

# %%
covariance = np.array(sharper.meta["covariance"])[1:, 1:]
error = np.sqrt(np.diag(covariance))
print(f"mean correlation of the seven epochs: {(covariance / error / error[:, None])[np.triu_indices(7, 1)].mean():.2f}")
print(f"before:                               {correlation[1:, 1:][np.triu_indices(7, 1)].mean():.2f}")
off = sharper["flux"].value[1:] - [truth[f"sn.flux[{name}]"] for name in sharper["image"][1:]]
print(f"chi² of the seven: {off @ np.linalg.solve(covariance, off):.1f}")

# %% [markdown]
# ## Forced photometry, and what it leaves out
#
# The short way: find host and place once, hold them, fit the fluxes alone. (All that is left is linear, so the fit's covariance is exact.)

# %%
structure = [name for name in scene.names if name.startswith("host.") or name in ("sn.x", "sn.y")]
forced = dark.fixed(held.values, structure).fit(progress=False)
print("epoch   truth    joint          host held")
for name in curve["image"][1:]:
    site = f"sn.flux[{name}]"
    e, short = held.errors[site], forced.errors[site]
    print(
        f"{name}   {truth[site]:7.0f}   {held.values[site]:6.0f} ± {e:3.0f}   {forced.values[site]:6.0f} ± {short:3.0f} nJy: {100 * short / e:.0f} % of the error"
    )

# %% [markdown]
# The fluxes are the same, as they must be at the maximum. The errors are not: what is held has none, so that the host's uncertainty under the
# supernova is gone, and with it what the epochs have in common. Their mean:

# %%
for what, fit in (("joint", held), ("host held", forced)):
    which = [fit.names.index(f"sn.flux[{name}]") for name in curve["image"][1:]]
    print(f"{what:<10} error of the mean flux {np.sqrt(fit.covariance[np.ix_(which, which)].mean()):.0f} nJy")

# %% [markdown]
# Differences between epochs come through unharmed; sums, means and the faint tail do not. Where the joint fit takes a second, there is
# nothing to be gained by holding the host.
#
# ## The posterior
#
# With e0 held. Truths are blue, priors (flat on this scale) orange. The host's size, index and flux go together, and so do the fluxes of the
# supernova.

# %%
before.corner(["host.n", "host.r_eff", "host.flux", "sn.x", "sn.flux[e2]", "sn.flux[e3]", "sn.flux[e7]"], truths=truth)
