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
# You will learn to put images of different pixel scale, PSF, orientation and zeropoint into one scene, to fit them jointly, to
# sample the posterior, and to see what the joint fit gains over one band alone. Everything is simulated here, so that the truth
# is known; your own files come in by `bj.Image.read`.

# %%
import os

import numpy as np

import bayesjoint as bj
from bayesjoint.examples import three_bands

DRAWS = int(os.environ.get("TUTORIAL_DRAWS", "500"))

images, truth = three_bands(seed=1)
images

# %% [markdown]
# The three images lie on the sky in different orientations: nothing is resampled. The scene has one site for each structure
# parameter, a flux for each band and a sky level for each image.

# %%
scene = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], images)
print(scene.describe())

# %% [markdown]
# The starts come from the pixels, the priors never do. A Levenberg-Marquardt fit maximises the log density:

# %%
best = scene.fit(progress=False)
best

# %%
best.plot()

# %% [markdown]
# Its covariance whitens the coordinates in which Pyro's NUTS samples: few gradients make a draw.

# %%
post = best.nuts(draws=DRAWS, chains=2, seed=1, progress=False)
print(post)
post.summary()

# %% [markdown]
# `post.converged` is false, with `post.reasons` in words, where R-hat, effective sample sizes, divergences or energies speak against
# the draws. How far are the means from the truth, in units of the posterior's own width?

# %%
for name, value in truth.items():
    x = post.draws(name)
    print(f"{name:<20} {(x.mean() - value) / x.std():+.2f} sigma")

# %% [markdown]
# What does the joint fit gain? The structure from the r band alone, beside that from all three:

# %%
alone = scene.subset(images=["r"]).fit(progress=False).laplace(draws=DRAWS, seed=1)
for p in ("q", "pa", "n", "r_eff"):
    print(f"galaxy.{p:<6} r alone: {np.std(alone.draws(f'galaxy.{p}')):.4f}   joint: {np.std(post.draws(f'galaxy.{p}')):.4f}")

# %% [markdown]
# Fluxes, with their covariance, are draws too: a colour is a difference of magnitudes, draw by draw.

# %%
colour = -2.5 * np.log10(post.draws("galaxy.flux[NUV]") / post.draws("galaxy.flux[r]"))
print(f"NUV - r = {colour.mean():.3f} +- {colour.std():.3f} mag")
post.table()

# %%
post.corner(["galaxy.q", "galaxy.pa", "galaxy.n", "galaxy.r_eff", "galaxy.flux"], truths=truth)
