"""Print docs/profiles.md from the sources' and shapes' own tables: python docs/make_profiles.py > docs/profiles.md."""

import inspect

import bayesjoint as bj
from bayesjoint.sky import galaxies, shapes

INTRO = """# Profiles and shapes

Printed from the package's own tables by `python docs/make_profiles.py`; a test keeps it true.

Every source has `x`, `y` (arcsec East and North of the scene's origin) and `flux` (nJy where the image has an AB zeropoint), one a band. Extended sources also
have `q` (axis ratio, minor over major) and `pa` (degrees East of North); lengths are along the major axis. A length without a prior in its row gets a log-normal
one from the scene's geometry, between a quarter of the finest pixel and half the extent of the images (2 standard deviations either side). Bounds are where
a value means something; automatic starts keep within them.

`bj.Sersic("galaxy", shape=[bj.Spiral(), bj.FourierModes(2), bj.Truncation()])`: shapes compose with any extended source and with one another, in the order
given; their parameters become the source's own (`galaxy.a2`, `galaxy.r_cut`).

A barred spiral, put together and drawn:

```python
import numpy as np
from astropy import units as u

import bayesjoint as bj
from bayesjoint import plots

disc = bj.Exponential("disc", shape=[bj.Spiral(), bj.FourierModes(2), bj.Truncation()])
bar = bj.Ferrer("bar", x=disc.x, y=disc.y, shape=bj.Superellipse())
bulge = bj.Sersic("bulge", x=disc.x, y=disc.y)
psf = bj.PSF.gaussian(1.0 * u.arcsec, 0.25 * u.arcsec)
empty = bj.Image(np.zeros((161, 161)), sigma=0.02, pixel_scale=0.25 * u.arcsec, psf=psf, zeropoint=25.0, band="r")
scene = bj.Scene([disc, bar, bulge], empty)

values = dict(scene.start)  # arcsec, degree, nJy
values |= {"disc.x": 0.0, "disc.y": 0.0, "disc.q": 0.7, "disc.pa": 30.0, "disc.r_eff": 7.0, "disc.flux[r]": 4e5}
values |= {"disc.wind": -3.0, "disc.r_wind": 2.5, "disc.a2": 0.35, "disc.b2": 0.0, "disc.r_cut": 15.0, "disc.k_cut": 8.0}
values |= {"bar.q": 0.3, "bar.pa": 80.0, "bar.r_out": 6.0, "bar.alpha": 1.0, "bar.beta": 0.0}
values |= {"bar.C": 3.0, "bar.flux[r]": 5e4}
values |= {"bulge.q": 0.9, "bulge.pa": 30.0, "bulge.n": 2.0, "bulge.r_eff": 0.8, "bulge.flux[r]": 4e4}
drawn = plots.image(scene.simulate(values, seed=1)[0], scale="mag")
drawn.figure.savefig("profiles.png")
print(scene.describe())
```

![A barred spiral](gallery/barred_spiral.png)
"""
EXAMPLES = {"Spline": {"knots": [0.0, 1.0, 2.0, 4.0]}}
SHAPES = {"FourierModes": (3, 4), "Warp": ([2.0, 5.0],)}


def rows(specs: tuple[bj.sky.Spec, ...]) -> list[str]:
    """Table of specs in Markdown."""
    out = ["| parameter | unit | bounds | default prior | meaning |", "|---|---|---|---|---|"]
    for s in specs:
        if s.prior is None:
            prior = "from the geometry"
        elif s.prior[0] == "lognormal":
            prior = f"LogNormal(ln {s.prior[1]:g}, {s.prior[2]:g})"
        else:
            prior = f"Normal({s.prior[1]:g}, {s.prior[2]:g})"
        bounds = "" if s.bounds == (-float("inf"), float("inf")) else f"{s.bounds[0]:g} to {s.bounds[1]:g}"
        out.append(f"| `{s.name}` | {s.unit} | {bounds} | {prior} | {s.doc} |")
    return out


def text() -> str:
    """The whole page."""
    lines = [INTRO, "## Sources", ""]
    for name in sorted(galaxies.__all__):
        kind = getattr(galaxies, name)
        made = kind("source", **EXAMPLES.get(name, {}))
        lines += [f"### {name}", "", inspect.cleandoc(kind.__doc__).split("\n\nParameters\n")[0], "", *rows(made.specs_of_profile), ""]
    lines += ["### Point", "", inspect.cleandoc(bj.Point.__doc__).split("\n\nParameters\n")[0], "", "## Shapes", ""]
    for kind in sorted(shapes.Shape.__subclasses__(), key=lambda k: k.__name__):
        if kind.__module__ == shapes.__name__:
            made = kind(*SHAPES.get(kind.__name__, ()))
            lines += [f"### {kind.__name__}", "", inspect.cleandoc(kind.__doc__).split("\n\nParameters\n")[0], "", *rows(made.specs), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(text(), end="")
