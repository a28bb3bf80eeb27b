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
# # A group of galaxies, with windows and a spline
#
# You will learn
#
# * to model galaxies that overlap, from rough places alone, or from none;
# * to see that a model is wrong, and what that does to the neighbours;
# * to let one object be a free profile in one band and a Sérsic profile in others, with centre, axis ratio and angle shared;
# * to give sources windows, and to read what windows cost;
# * to take one object out of a scene, and its neighbours out of the data.
#
# All is simulated, so that the truth is known. It takes about two minutes.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.examples import group

DRAWS = int(os.environ.get("TUTORIAL_DRAWS", "500"))

images, truth = group(seed=1)
_, axes = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
for im, ax in zip(images, axes, strict=True):
    plots.image(im, ax)

# %% [markdown]
# Four galaxies. In r they touch; in W1 (2.75 arcsec a pixel) and NUV they are one blot.
#
# If nobody says where they are, `scene_from` finds what stands out of the images, and of what its own fits leave of them, and makes a group of each object:

# %%
found = bj.scene_from(images)
for part in found.components[:-1]:
    x, y = (found.value(part, k, images[0], found.start) for k in "xy")
    print(f"{part.name:<16} at {x:+5.1f} {y:+5.1f}")

# %% [markdown]
# Four galaxies, and something odd about the first: a second profile, `inner`, and a point beside it. No Sérsic profile describes that galaxy; what it is, we shall see.
#
# We know them by name, and roughly by place (arcsec to the East and North; `SkyCoord` does as well). That is all a fit needs: a Sérsic
# profile each, seen in all bands.

# %%
places = {"A": (0.0, 0.0), "B": (6.0, 4.0), "C": (-8.0, 5.0), "D": (2.0, -9.0)}
first = bj.Scene([*(bj.Sersic(name, position=place) for name, place in places.items()), bj.Sky()], images).fit(progress=False)
print(f"χ² {first.chi2:.0f} for {first.dof} degrees of freedom")
first.plot()

# %% [markdown]
# Look at r: A has a ring there, which no Sérsic profile has. W1 and NUV do not see it, yet their residuals suffer: r, with most of the
# pixels, has bent the shape that all three share. And what A's model cannot hold, its neighbours take:


# %%
def compare(values, errors, where):
    """How far parameters are from the truth, in units of their errors."""
    for galaxy, parameters in truth.items():
        offsets = []
        for p, true in parameters.items():
            name = where(galaxy, p)
            if name in values:
                offset = (values[name] - true + 90) % 180 - 90 if p == "pa" else values[name] - true
                offsets.append(f"{p} {offset / errors[name]:+.1f}")
        print(f"{galaxy}:", "  ".join(offsets))


compare(first.values, first.errors, lambda galaxy, p: f"{galaxy}.{p}")

# %% [markdown]
# Of errors this small, an offset of ten is what a wrong model does: not the noise of A, but the shape of A, moves B.
#
# ## A spline where the data can carry it
#
# A `Spline` is a free profile: brightness at knots, a smooth curve between them. In r the PSF is 1.1 arcsec wide, so knots an arcsec apart are
# about what the data resolve. W1 and NUV do not resolve A at all: a Sérsic profile is enough there. Both are one object, with one centre,
# axis ratio and angle: the very same sites. A `Group` holds them together under one name.

# %%
ring = bj.Spline("r", knots=[0, 1, 2, 3, 4, 5, 6, 8], bands=["r"], position=places["A"], window={"r": 12 * u.arcsec})
rest = bj.Sersic("rest", bands=["W1", "NUV"], x=ring.x, y=ring.y, q=ring.q, pa=ring.pa)
a = bj.Group("A", [ring, rest])
others = [bj.Group(name, [bj.Sersic("galaxy", position=places[name], window={"r": 8 * u.arcsec})]) for name in "BCD"]
scene = bj.Scene([a, *others, bj.Sky()], images)
print(scene)

# %% [markdown]
# The `window` is the part of an image in which a source may have light: a radius, pixels, a segment of a map, or "auto"; other bands are left
# whole here. Outside it a source costs nothing, which matters where a field is large and sources are many (here it is for show). What a window leaves away
# is counted, in units of the noise:

# %%
best = scene.fit(progress=False)
for image, lost in best.lost_light.items():
    print(image, {name: round(sigma, 2) for name, sigma in lost.items()})
plots.image(images[0], windows=best.scene).figure

# %% [markdown]
# Dashed are the boxes in which light is drawn. What is lost is all of it together, as the significance at which it would be seen. More than one sigma is worth a larger window, and the fit says so. "auto" sizes them by
# itself:

# %%
ring = bj.Spline("r", knots=[0, 1, 2, 3, 4, 5, 6, 8], bands=["r"], position=places["A"], window="auto")
rest = bj.Sersic("rest", bands=["W1", "NUV"], x=ring.x, y=ring.y, q=ring.q, pa=ring.pa, window="auto")
others = [bj.Group(name, [bj.Sersic("galaxy", position=places[name], window="auto")]) for name in "BCD"]
scene = bj.Scene([bj.Group("A", [ring, rest]), *others, bj.Sky()], images)
best = scene.fit(progress=False)
print(f"χ² {best.chi2:.0f} for {best.dof} degrees of freedom; {first.chi2 - best.chi2:.0f} better, for {len(best.names) - len(first.names)} parameters more")
plots.panels(images[:1], best.model_images(), best.residuals())[0, 0].figure

# %% [markdown]
# Each source alone, through the PSF, and A's profile: the ring is in the data, not only in the model.

# %%
plots.components(best, "r")[0].figure

# %%
plots.profile(best, "A.r").figure

# %% [markdown]
# ## One object
#
# `subset` takes a part of a scene, by groups or images. Whatever is left can be drawn, fitted and sampled. So the data without A's neighbours are:

# %%
r = images[0]
part = best.scene.subset(components=["B", "C", "D"])
neighbours = part.render({name: best.values[name] for name in part.names})["r"]
_, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
for ax, pixels, title in zip(axes, (r.data, r.data - neighbours), ("all", "A alone"), strict=True):
    plots.image(r, ax, pixels, title=title)

# %% [markdown]
# ## The posterior
#
# Draws about the maximum, weighed against the exact posterior density; fluxes and skies are integrated out meanwhile. `k_hat` below its limit says that
# they can be trusted. (If not: `best.nuts()`, and more patience.)

# %%
post = best.laplace(draws=DRAWS, seed=1)
print(f"{'converged' if post.converged else post.reasons}, k-hat {post.k_hat:.2f}")

means = {name: post.middle[name] for name in post.names}
widths = dict(zip(post.names, post.summary()["sd"].reindex(post.names), strict=True))


def site(galaxy, p):
    return f"{galaxy}.galaxy.{p}" if galaxy != "A" else f"A.{'rest' if p in ('n', 'r_eff', 'flux[W1]', 'flux[NUV]') else 'r'}.{p}"


compare(means, widths, site)

# %% [markdown]
# All as noise would have it. (A spline's flux is that within its last knot; A has no light to speak of beyond 8 arcsec.)
#
# A and B share their light in W1, 6 arcsec apart with a PSF of 6: what one gains the other loses. Errors one by one do not say so, the
# joint posterior does. Their sum is better known than independent errors would have it:

# %%
w1 = {name: post.draws(site(name, "flux[W1]")) for name in "AB"}
print(f"correlation {np.corrcoef(w1['A'], w1['B'])[0, 1]:+.2f}")
for name, x in (*w1.items(), ("A + B", w1["A"] + w1["B"])):
    print(f"{name:<6} {x.mean():8.0f} ± {x.std():.0f} nJy")
print(f"if independent, the sum's error: {np.hypot(w1['A'].std(), w1['B'].std()):.0f} nJy")

# %%
flat = {site(galaxy, p): v for galaxy, parameters in truth.items() for p, v in parameters.items()}
post.corner(["A.r.x", "A.r.q", "A.rest.r_eff", "A.rest.flux[W1]", "B.galaxy.flux[W1]", "A.rest.flux[NUV]", "B.galaxy.flux[NUV]"], truths=flat)
