"""Bad input gets one clear sentence."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from astropy import units as u
from astropy.coordinates import SkyCoord
from conftest import TRUTH, two_images

import bayesjoint as bj


def scene(*components, images=None, **options):
    return bj.Scene(list(components), two_images() if images is None else images, **options)


def far():
    a, b = two_images()
    return [a, bj.Image(b.data, sigma=1.0, pixel_scale=0.45, center=(500.0, 0.0), zeropoint=28.0, band="i")]


def mixed():
    a, b = two_images()
    return [a, bj.Image(b.data, sigma=1.0, pixel_scale=0.45, band="g")]


other = bj.Sersic("other")

CASES = {
    "unknown parameter": (lambda: bj.Sersic("g", sersic_index=4), "has no parameter 'sersic_index'"),
    "near miss": (lambda: bj.Sersic("g", reff=4), "Did you mean 'r_eff'"),
    "prior on a parameter that is not there": (lambda: bj.Point("p", n=dist.Normal(1, 1)), "has no parameter 'n'"),
    "no components": (lambda: scene(), "at least one component"),
    "no images": (lambda: scene(bj.Sersic("g"), images=[]), "at least one image"),
    "not an image": (lambda: scene(bj.Sersic("g"), images=[np.ones((3, 3))]), "bayesjoint.Image"),
    "not a component": (lambda: scene("g"), "sources or skies"),
    "two components of a name": (lambda: scene(bj.Sersic("g"), bj.Point("g")), "Two components are named 'g'"),
    "two images of a name": (lambda: scene(bj.Sersic("g"), images=[im.replace(name="a") for im in two_images()]), "Two images are named 'a'"),
    "no overlap": (lambda: scene(bj.Sersic("g"), images=far()), "do not overlap"),
    "calibrated and not in one band": (lambda: scene(bj.Sersic("g"), images=mixed()), "without a zeropoint"),
    "sees nothing": (lambda: scene(bj.Sersic("g", bands=["z"])), "sees none of the images"),
    "link out of the scene": (lambda: scene(bj.Sersic("g", x=other.x)), "not in the scene"),
    "prior of many numbers": (lambda: bj.Sersic("g", n=dist.Normal(torch.zeros(2), 1.0)), "one number"),
    "prior that allows the impossible": (lambda: scene(bj.Sersic("g", n=dist.Normal(4.0, 1.0))), "negative"),
    "a discrete prior": (lambda: scene(bj.Sersic("g", n=dist.Poisson(4.0))), "continuous"),
    "a word": (lambda: bj.Sersic("g", n="four"), "prior, a number"),
    "a wrong unit": (lambda: bj.Sersic("g", r_eff=3.0 * u.s), "arcsec"),
    "a missing value": (lambda: scene(bj.Sersic("galaxy"), bj.Sky()).render({"galaxy.x": 0.0}), "is missing"),
    "an unknown value": (lambda: scene(bj.Sersic("galaxy"), bj.Sky()).render({**TRUTH, "galaxy.e": 0.0}), "no parameter 'galaxy.e'"),
    "an unknown site held": (lambda: scene(bj.Sersic("galaxy"), bj.Sky()).fixed(TRUTH, ["galaxy.e"]), "no 'galaxy.e'"),
    "an unknown start": (lambda: scene(bj.Sersic("galaxy"), bj.Sky()).fit({"galaxy.e": 1.0}, progress=False), "no 'galaxy.e'"),
    "a position on no sky": (lambda: scene(bj.Sersic("g", position=SkyCoord(1, 2, unit="deg"))), "SkyCoord"),
    "a position of three": (lambda: scene(bj.Sersic("g", position=(1, 2, 3))), "pair"),
    "a position in words": (lambda: scene(bj.Sersic("g", position="150 2")), "pair"),
    "a dtype": (lambda: scene(bj.Sersic("g"), dtype=int), "torch.float64"),
    "an order": (lambda: bj.Sky(order=3), "order"),
    "a scene that is not there": (lambda: bj.Scene.load("no_such.yaml", two_images()), "no file"),
    "a posterior that is not there": (lambda: bj.load("no_such.nc"), "no file"),
}


@pytest.mark.parametrize(("case", "says"), CASES.values(), ids=CASES.keys())
def test_one_clear_sentence(case, says):
    with pytest.raises((ValueError, TypeError, OSError)) as e:
        case()
    text = str(e.value)
    assert says in text
    assert 20 < len(text) < 500 and "\n" not in text
