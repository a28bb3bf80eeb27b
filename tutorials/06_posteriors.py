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
# # Is my posterior right?
#
# You will learn
#
# * what the default priors are, and when a prior of your own matters;
# * how laplace, svi and nuts compare, what k-hat, R-hat and effective sample sizes tell, and what a case looks like that is not to be believed;
# * to find noise that is not as stated, and to ask whether the model makes images like the data;
# * to test the whole chain by simulation: `bj.calibrate.sbc`.
#
# All is simulated, so that the truth is known. It takes a few minutes.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pyro.distributions as dist

import bayesjoint as bj

DRAWS = int(os.environ.get("TUTORIAL_DRAWS", "500"))


def empty(size=32, sigma=0.1):
    """An image without light: pixels of 0.3 arcsec, seeing 1.1 arcsec."""
    return bj.Image(np.zeros((size, size)), sigma=sigma, psf=bj.PSF.gaussian(1.1, 0.3), pixel_scale=0.3, zeropoint=25.0, band="r")


shape = {"galaxy.x": 0.1, "galaxy.y": -0.1, "galaxy.q": 0.95, "galaxy.pa": 175.0, "galaxy.n": 1.0, "galaxy.r_eff": 1.1}
blank = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], empty())
bright, faint = ({**shape, "galaxy.flux[r]": flux, "sky.level[r]": 0.02} for flux in (80000.0, 10000.0))
scene, dim = (blank.with_images(blank.simulate(truth, seed=6)) for truth in (bright, faint))
for name, truth in (("bright", bright), ("faint", faint)):
    light = blank.render_components(truth)["r"]["galaxy"]
    print(f"{name}: signal-to-noise {np.sqrt((light**2).sum()) / 0.1:.0f}")

# %% [markdown]
# The same galaxy twice, nearly round, its angle close to 180°, and eight times fainter the second time.
#
# ## What the priors are

# %%
print(scene.describe())

# %% [markdown]
# All are proper, and made from the image's geometry and noise, never from its pixel values: a position anywhere about the image, a size between a fraction of a pixel
# and the image, an index about 2 within a factor of 1.8, fluxes and skies as wide as makes no difference. `AxisRatio` and `Angle` are
# one prior in the plane of ellipticities, of which more below. Only *starts* are read from pixels.
#
# Does it matter? The posterior with these priors, and with priors of one's own, from what one knows of such galaxies, say:

# %%
own = bj.Sersic("galaxy", n=dist.LogNormal(np.log(1.2), 0.3), r_eff=dist.LogNormal(np.log(1.2), 0.3))
best = scene.fit(progress=False)
posts = {}
for name, of in (("bright", scene), ("faint", dim)):
    posts[name, "default"] = of.fit(progress=False).laplace(draws=2 * DRAWS, seed=1)
    posts[name, "own"] = bj.Scene([own, bj.Sky()], of.images).fit(progress=False).laplace(draws=2 * DRAWS, seed=1)
print(" " * 24 + "".join(f"{p:>20}" for p in ("n", "r_eff (arcsec)", "mag")))
for key, p in posts.items():
    rows = [p.summary().loc[s] for s in ("galaxy.n", "galaxy.r_eff", "galaxy.mag[r]")]
    print(f"{', '.join(key):<24}" + "".join(f"{r['mean']:12.2f} ± {r['sd']:.2f} " for r in rows))
for name, truth in (("bright", bright), ("faint", faint)):
    values = truth["galaxy.n"], truth["galaxy.r_eff"], 31.4 - 2.5 * np.log10(truth["galaxy.flux[r]"])
    print(f"{name + ', truth':<24}" + "".join(f"{v:12.2f}        " for v in values))

# %% [markdown]
# For the bright galaxy the prior changes little, for the faint one it is half of the answer: without it, size, index and flux run away
# together, as a galaxy with wide faint wings looks just like one without. That is no failure of the default prior: it is what those
# pixels say. `summary()` flags what the data do not tell at all ("prior": as wide as its prior) and means that rest on few draws. The faint galaxy's
# parameters are wide, and yet narrower than their priors:

# %%
posts["faint", "default"].summary()[["unit", "mean", "sd", "flags"]]

# %% [markdown]
# ## A nearly round galaxy
#
# Axis ratio and angle are sampled in the plane of ellipticities e = -ln q (cos 2pa, sin 2pa), where the prior is a smooth hill about "round". There
# is no wall at q = 1, and no edge at 0° = 180°:

# %%
p = posts["bright", "default"]
q, pa = p.draws("galaxy.q"), p.draws("galaxy.pa")
_, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.plot(pa, q, ".", ms=3)
left.plot(bright["galaxy.pa"], bright["galaxy.q"], "x", color="black", ms=9, mew=2)
left.set(xlabel="pa (deg)", ylabel="q", xlim=(0, 180), title="as sampled and saved")
right.plot(-np.log(q) * np.cos(np.radians(2 * pa)), -np.log(q) * np.sin(np.radians(2 * pa)), ".", ms=3)
right.plot(-np.log(0.95) * np.cos(np.radians(350)), -np.log(0.95) * np.sin(np.radians(350)), "x", color="black", ms=9, mew=2, label="truth")
right.plot(0, 0, "+", color="C1", ms=12, mew=2, label="round")
right.set(xlabel="- ln q cos 2pa", ylabel="- ln q sin 2pa", aspect="equal", title="the same in the plane of ellipticities")
right.legend()
print(
    f"mean of pa: {pa.mean():.0f}° by plain arithmetic, {p.summary()['mean']['galaxy.pa']:.0f}° ± {p.summary()['sd']['galaxy.pa']:.0f}° on the circle; truth 175°"
)

# %% [markdown]
# One round cloud to the right, pieces to the left. Plain means of angles are wrong; those in `summary()`, `table()` and the corner plot are
# taken on the circle. Noise moves an ellipticity off the middle in whatever direction, so a faint round galaxy looks flatter than it is (see q of the
# faint one above). Flat priors in q and pa would pile up at q = 1 instead.
#
# ## Three samplers

# %%
samples = {
    "laplace": posts["bright", "default"],
    "svi": best.svi(draws=2 * DRAWS, seed=1, progress=False),
    "nuts": best.nuts(draws=DRAWS, chains=4, seed=1, progress=False),
}
for p in samples.values():
    print(p)
print(" " * 16 + "".join(f"{k:>24}" for k in ("the fit", *samples)))
for site in scene.names:
    rows = [(p.summary()["mean"][site], p.summary()["sd"][site]) for p in samples.values()]
    print(f"{site:<16}" + "".join(f"{m:14.4g} ± {s:<7.2g}" for m, s in [(best.values[site], best.errors[site]), *rows]))

# %% [markdown]
# The fit is the *maximum* with a Gaussian's errors, which is not the mean where the posterior is skewed. The samplers agree with one another, in quite
# different ways:
#
# * **laplace** draws from a Student-t about the maximum, and weighs and resamples. k-hat tells how heavy the weights' tail is; above 0.7 (less for few draws) they are
#   not to be trusted.
# * **svi** bends a Normal (or a flow, `guide="flow"`) to the posterior first, and then does the same.
# * **nuts** follows gradients through the whole of it, in several chains. R-hat compares chains, ESS counts what draws are worth.

# %%
for name, p in samples.items():
    s = p.summary().loc[list(scene.names)]
    k = "" if p.k_hat is None else f"k-hat {p.k_hat:.2f}, "
    print(
        f"{name:<8} {k}smallest ESS {s['ess_bulk'].min():.0f} (bulk), {s['ess_tail'].min():.0f} (tail), largest R-hat {s['r_hat'].max():.3f}, converged: {p.converged}"
    )
    for reason in p.reasons:
        print(f"         {reason}")

# %% [markdown]
# `post.converged` is the verdict of all of these, `post.reasons` says why not, in words, and "draw more" means just that. None sees a mode that
# it never visits: start the fit elsewhere if you suspect one.
#
# Importance weights degrade with dimension; so laplace and svi integrate fluxes and skies, which are linear, out in closed form and draw them
# from their exact Gaussians afterwards. That is `marginalize="linear"`, which nuts takes too, and their default where priors allow it. Beside it, without:

# %%
for how in ("linear", None):
    p = best.laplace(draws=2 * DRAWS, seed=2, marginalize=how)
    print(f"marginalize={how!r:<9} k-hat {p.k_hat:.2f}, {p.info['importance_ess']:.0f} of {p.info['proposals']} weighted draws effective")

# %% [markdown]
# Two linear parameters of eight make little of a difference; with the 17 of 25 of a supernova in eight epochs it is a k-hat of 0.2 against 0.5.
#
# And the truth? In units of each posterior's width:

# %%
for site, value in bright.items():
    off = {name: p.draws(site) - value for name, p in samples.items()}
    if site.endswith(".pa"):
        off = {name: (d + 90) % 180 - 90 for name, d in off.items()}
    print(f"{site:<16}" + "".join(f"{name:>12} {d.mean() / d.std():+.1f} sigma" for name, d in off.items()))

# %% [markdown]
# ## When not to believe it
#
# Two faint galaxies, 0.7 arcsec apart in a seeing of 1.1, and nothing said about which is which:

# %%
pair = {}
for name, x in (("a", -0.35), ("b", 0.35)):
    pair |= {
        f"{name}.x": x,
        f"{name}.y": 0.0,
        f"{name}.q": 0.8,
        f"{name}.pa": 30.0,
        f"{name}.n": 1.0,
        f"{name}.r_eff": 0.8,
        f"{name}.flux[r]": 5000.0,
    }
pair["sky.level[r]"] = 0.01
two = [bj.Sersic("a", position=(-0.4, 0.0)), bj.Sersic("b", position=(0.4, 0.0)), bj.Sky()]
blend = bj.Scene(two, bj.Scene(two, empty()).simulate(pair, seed=3))
blended = blend.fit(progress=False)
print(blended.message)
bad = blended.laplace(draws=DRAWS, seed=1)
print()
print(f"converged: {bad.converged}")
for reason in bad.reasons:
    print("*", reason)

# %% [markdown]
# Believe the words. No sampler makes a measurement of what pixels do not tell: more draws would wander among all ways to share the light. What helps is
# to know more. Say that a sharper image gives both places to 0.05 arcsec, and that both are discs of one size:

# %%
a = bj.Exponential("a", x=dist.Normal(-0.35, 0.05), y=dist.Normal(0.0, 0.05))
b = bj.Exponential("b", x=dist.Normal(0.35, 0.05), y=dist.Normal(0.0, 0.05), r_eff=a.r_eff, q=a.q, pa=a.pa)
told = bj.Scene([a, b, bj.Sky()], blend.images).fit(progress=False).laplace(draws=2 * DRAWS, seed=1)
print(told)
for name in ("a.flux[r]", "b.flux[r]"):
    m, s = (told.summary()[k][name] for k in ("mean", "sd"))
    print(f"{name} {m:.0f} ± {s:.0f} nJy, {(m - pair[name]) / s:+.1f} sigma from the truth; before, ± {bad.summary()['sd'][name]:.0f}")

# %% [markdown]
# ## Noise that is not as stated
#
# The best sampler is as wrong as the noise that it is told. Here sigma is 1.4 times what is stated:

# %%
noisy = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], empty(sigma=0.14)).simulate(bright, seed=6)[0].replace(sigma=0.1)
stated = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], noisy).fit(progress=False)
print(stated.noise["r"])
print(stated.message)

# %% [markdown]
# `best.noise` measures what a fit leaves of each image, and says what follows. A factor on sigma can be a parameter:

# %%
scaled = bj.Scene([bj.Sersic("galaxy"), bj.Sky(), bj.NoiseScale()], noisy).fit(progress=False)
print(f"noise.scale[r] {scaled.values['noise.scale[r]']:.3f} ± {scaled.errors['noise.scale[r]']:.3f}")
print(f"error of the flux: {stated.errors['galaxy.flux[r]']:.0f} nJy by the stated noise, {scaled.errors['galaxy.flux[r]']:.0f} with its scale")

# %% [markdown]
# It is another matter if a few pixels are far off: cosmic rays that the mask has missed, say.

# %%
rng = np.random.default_rng(7)
hit = scene.images[0].data.copy()
hit[rng.integers(0, 32, 20), rng.integers(0, 32, 20)] += rng.uniform(0.8, 2.5, 20)
hit = scene.images[0].replace(data=hit)
components = [bj.Sersic("galaxy"), bj.Sky()]
normal = bj.Scene(components, hit).fit(progress=False)
heavy = bj.Scene(components, hit, noise={"r": bj.noise.StudentT(4)}).fit(progress=False)
sites = ("galaxy.q", "galaxy.n", "galaxy.r_eff", "galaxy.flux[r]", "sky.level[r]")
for what, fit in (("Normal noise", normal), ("Student's t", heavy)):
    print(f"{what:<13}" + "".join(f"  {s} {(fit.values[s] - best.values[s]) / best.errors[s]:+.1f}" for s in sites))

# %% [markdown]
# That is how far the rays have moved each parameter, in units of its error. Student's t has tails, in which single pixels do less harm; the fit still
# says that they are there. A mask does none.
#
# ## Does the model make images like the data?
#
# `post.check()` lets the posterior make images, with noise, and sets them beside the data by measures that chi² alone does not see. Without the rays:

# %%
samples["laplace"].check(draws=max(100, DRAWS // 2))

# %% [markdown]
# And with them, by the model that knows nothing of them:

# %%
normal.laplace(draws=DRAWS, seed=1).check(draws=max(100, DRAWS // 2))

# %% [markdown]
# ## Calibration
#
# All of that was one galaxy. The question of the title is about many: do 80 % intervals hold the truth in 80 % of cases? `bj.calibrate.sbc` draws truths from a scene's
# priors, simulates, fits, samples, and ranks each truth among its draws. If prior, model, fit and sampler are right, all ranks are equally
# likely. The priors must be those of galaxies that you measure: the default ones put most galaxies outside of the image.

# %%
SIMULATIONS = max(20, DRAWS // 12)
disc = bj.Exponential(
    "galaxy", q=0.7, pa=30.0, x=dist.Normal(0.0, 0.3), y=dist.Normal(0.0, 0.3), r_eff=dist.LogNormal(0.0, 0.2), flux=dist.LogNormal(9.5, 0.3)
)
small = bj.Scene([disc, bj.Sky(level=dist.Normal(0.0, 0.1))], empty(size=24))
result = bj.calibrate.sbc(small, simulations=SIMULATIONS, draws=100, seed=1, progress=False)
print(result)
print(bj.calibrate.check(result))

# %% [markdown]
# Nothing speaks against it. Would anything, if it were wrong? Plant a fault: images whose noise is half as large again as the scene believes.


# %%
def too_noisy(values, seed):
    """Images with 1.5 times the noise that the scene knows of."""
    return bj.Scene([disc, bj.Sky()], empty(size=24, sigma=0.15)).simulate(values, seed)


faulty = bj.calibrate.sbc(small, simulations=SIMULATIONS, draws=100, seed=1, simulate=too_noisy, progress=False)
print(bj.calibrate.check(faulty))
bj.calibrate.plot(faulty)[0].figure

# %% [markdown]
# Curves that leave their grey bands (orange), coverage to the left of its lines: posteriors that are too narrow. `simulate=` takes any function of values and
# seed that returns images, another code's too.
#
# Twenty to forty simulations see a gross fault: they know the coverage of an 80 % interval to 9 or 6 %. From 200 it is 3 %, and on the page
# *Calibration* those find noise, PSFs and fluxes that are wrong by 10 %. Take 200 for a scene that you will use on a thousand galaxies.
#
# ## The posterior
#
# Of the bright galaxy, by nuts, with truths in blue and priors in orange:

# %%
samples["nuts"].corner(["galaxy.q", "galaxy.pa", "galaxy.n", "galaxy.r_eff", "galaxy.flux"], truths=bright)
