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
# # Bulge and disc, with wavelength polynomials
#
# You will learn
#
# * to let a size or an index change smoothly with wavelength, by two numbers instead of one for each band;
# * to split a galaxy into bulge and disc;
# * to compare models by residuals and evidence;
# * to read bulge-to-total ratios and colours off the posterior, band by band.
#
# All is simulated, so that the truth is known. It takes about a minute.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.examples import bulge_disc

DRAWS = int(os.environ.get("TUTORIAL_DRAWS", "500"))

images, truth = bulge_disc(seed=1)
for im in images:
    print(im.name, im.wavelength, "µm", im.shape, "px")

_, axes = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
for im, ax in zip((images[0], images[2], images[4]), axes, strict=True):
    plots.image(im, ax, scale="mag")

# %% [markdown]
# ## One component, changing with wavelength
#
# Galaxies are smaller and more concentrated the redder they are looked at. A parameter for each band would say so, but bands with little light
# would say it badly. `bj.Polynomial(1)` is a straight line in wavelength, in the logarithm of what is positive: `c0` is the value amid the bands, `c1`
# how much larger the logarithm is at the long end. Images need a `wavelength` for it.

# %%
one = bj.Scene([bj.Sersic("galaxy", n=bj.Polynomial(1), r_eff=bj.Polynomial(1)), bj.Sky()], images).fit(progress=False)
for p in ("n", "r_eff"):
    for c in ("c0", "c1"):
        name = f"galaxy.{p}.{c}"
        print(f"{name:<16} {one.values[name]:+.3f} ± {one.errors[name]:.3f}")

# %% [markdown]
# Larger n and smaller sizes to the red, at high significance. But is it one component?

# %%
shown = [images[2], images[4]]
plots.panels(shown, one.model_images(), one.residuals())[0, 0].figure

# %% [markdown]
# No. (The fit has said so in words as well.) Numbers out of a wrong model have small errors, too.
#
# ## Bulge and disc
#
# A Sérsic bulge and an exponential disc about one centre: `x=bulge.x, y=bulge.y` makes it the same two parameters. That is all there is to say:
#
# * their fluxes cannot be negative, so that neither mends the other's profile (a prior that components of one centre have);
# * such models have several maxima, so that many shapes are compared before the fit, and the highest end is what you get. The message says how many
#   starts led to it, and how far the next one is below; `best.restarts` has them all;
# * the names follow the profiles. Which one is the larger is found, not prescribed: look at the sizes.
#
# The disc's size may change with wavelength; the bulge's is the same in all bands.

# %%
bulge = bj.Sersic("bulge")
disc = bj.Exponential("disc", x=bulge.x, y=bulge.y, r_eff=bj.Polynomial(1))
scene = bj.Scene([bulge, disc, bj.Sky()], images)
print(scene.describe())

# %%
best = scene.fit(progress=False)
print(best.message)
plots.panels(shown, best.model_images(), best.residuals())[0, 0].figure

# %%
plots.components(best, "i", scale="mag")[0].figure

# %% [markdown]
# Is the disc's gradient needed? A third model, without it, and the evidence for each: how well its priors had predicted the data. For a fit it is
# Laplace's approximation, at no cost:

# %%
bulge = bj.Sersic("bulge")
disc = bj.Exponential("disc", x=bulge.x, y=bulge.y)
plain = bj.Scene([bulge, disc, bj.Sky()], images).fit(progress=False)
print("ln Z is relative to the last")
for name, fit in {"one component": one, "bulge and disc": plain, "the same, disc size by wavelength": best}.items():
    print(f"{name:<34} χ² / dof {fit.chi2 / fit.dof:.3f}   ln Z {fit.log_evidence().value - best.log_evidence().value:+9.1f}")

# %% [markdown]
# No close calls here. Where it is close, draws give the evidence an error, and `bj.compare({"plain": ..., "gradient": ...})` adds how well each model
# predicts pixels that it has not seen; see the page "Is the model right, and which model is better?".
#
# ## The posterior

# %%
post = best.laplace(draws=DRAWS, seed=1)
print("converged" if post.converged else post.reasons, f"k-hat {post.k_hat:.2f}")
for name, value in truth.items():
    x = post.draws(name)
    offset = (x - value + 90) % 180 - 90 if name.endswith(".pa") else x - value
    if not name.startswith("sky"):
        print(f"{name:<15} {offset.mean() / x.std():+.1f} sigma")

# %% [markdown]
# What follows from sites by links is there draw by draw: the disc's size in each band.

# %%
for name in post.derived:
    x = post.draws(name)
    print(f"{name:<14} {x.mean():.3f} ± {x.std():.3f}")

# %% [markdown]
# The bulge-to-total ratio, band by band, with the full covariance of both fluxes:

# %%
share = post.fractions("bulge", "disc")
true = [1 / (1 + truth[f"disc.flux[{band}]"] / truth[f"bulge.flux[{band}]"]) for band in share["band"]]
for row, value in zip(share, true, strict=True):
    print(f"B/T in {row['band']}: {row['bulge']:.3f} ± {row['bulge_err']:.3f}   truth {value:.3f}, {(row['bulge'] - value) / row['bulge_err']:+.1f} sigma")

# %%
plots.sed(post, "bulge", "disc").figure

# %% [markdown]
# The bulge is the redder one. Its colour and the disc's are differences of magnitudes, draw by draw; that their errors are smaller than the fluxes' own
# says that fluxes of different bands err together:


# %%
def magnitude(source, band):
    return -2.5 * np.log10(post.draws(f"{source}.flux[{band}]"))


for source in ("bulge", "disc"):
    colour = magnitude(source, "g") - magnitude(source, "i")
    value = -2.5 * np.log10(truth[f"{source}.flux[g]"] / truth[f"{source}.flux[i]"])
    alone = np.hypot(magnitude(source, "g").std(), magnitude(source, "i").std())
    print(
        f"{source:<5} g - i = {colour.mean():.3f} ± {colour.std():.3f} (truth {value:.3f}, {(colour.mean() - value) / colour.std():+.1f} sigma); "
        f"± {alone:.3f} if fluxes were independent"
    )

# %%
post.corner(["bulge.n", "bulge.r_eff", "disc.r_eff.c0", "disc.r_eff.c1", "bulge.flux[i]", "disc.flux[i]"], truths=truth)
