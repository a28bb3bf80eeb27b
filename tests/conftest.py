"""Shared pieces of the tests: where the real data are, and a small scene that all rooms use."""

import os
import pathlib

import numpy as np
import pytest
import torch

import bayesjoint as bj

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data():
    if not (DATA / "real").is_dir():
        pytest.skip(f"the real test data are not at {DATA}: set BAYESJOINT_DATA")
    return DATA


def differences(f, x, h=1e-5):
    """Slope of a scalar function by central differences in each coordinate."""
    with torch.no_grad():
        steps = h * torch.eye(len(x), dtype=x.dtype)
        return torch.stack([(f(x + s) - f(x - s)) / (2 * h) for s in steps])


TRUTH = {
    "galaxy.x": 0.3,
    "galaxy.y": -0.2,
    "galaxy.q": 0.6,
    "galaxy.pa": 35.0,
    "galaxy.n": 1.5,
    "galaxy.r_eff": 1.6,
    "galaxy.flux[g]": 2e5,
    "galaxy.flux[i]": 3e5,
    "sky.level[g]": 0.02,
    "sky.level[i]": -0.5,
}


def two_images():
    """Two empty images of different scale, PSF, zeropoint and noise unit."""
    g = bj.Image(np.zeros((41, 47)), sigma=0.05, psf=bj.PSF.gaussian(1.0, 0.25), pixel_scale=0.25, zeropoint=22.5, band="g")
    i = bj.Image(np.zeros((25, 23)), sigma=12.0, psf=bj.PSF.gaussian(1.6, 0.45), pixel_scale=0.45, zeropoint=28.0, band="i")
    return [g, i]


def small_scene(**options):
    """One galaxy in two bands, with noise."""
    empty = bj.Scene([bj.Sersic("galaxy", position=(0.3, -0.2)), bj.Sky()], two_images())
    return bj.Scene([bj.Sersic("galaxy"), bj.Sky()], empty.simulate(TRUTH, seed=3), **options)


@pytest.fixture(scope="session")
def scene():
    return small_scene()


@pytest.fixture(scope="session")
def best(scene):
    return scene.fit(progress=False)


@pytest.fixture(autouse=True)
def _seeds():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - whatever a library draws is the same each time
