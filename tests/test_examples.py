"""Examples: each simulated sky gives its truth back."""

import numpy as np
import pytest
from astropy import units as u

import bayesjoint as bj
from bayesjoint.examples import exposures, supernova


def scores(best, truth):
    """By site of the truth: how far a fit is off, in units of its error."""
    off = {k: best.values[k] - v for k, v in truth.items()}
    return {k: ((d + 90) % 180 - 90 if k.endswith(".pa") else d) / best.errors[k] for k, d in off.items()}


def test_supernova_on_its_host():
    images, truth = supernova(seed=1)
    scene = bj.Scene([bj.Sersic("host"), bj.Point("sn", position=(0.9, 0.4), flux=bj.Param(per="image")), bj.Sky()], images)
    best = scene.fit(progress=False)
    z = scores(best, truth)
    assert z.keys() == set(scene.names)
    assert np.mean(np.square(list(z.values()))) < 2
    assert max(map(abs, z.values())) < 3.5
    assert len({im.epoch for im in images}) == 8
    assert truth["sn.flux[e0]"] == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_exposures_of_which_two_are_off(seed):
    images, truth = exposures(seed)
    said = bj.scene_from(images).fit(progress=False).remarks
    assert any("bj.Shift(..., images=['r3'])" in s for s in said)
    assert any("bj.Zeropoint(..., images=['i3'])" in s for s in said)
    assert len(said) == 2
    mended = bj.scene_from(images, corrections=[bj.Shift(0.3 * u.arcsec, images=["r3"]), bj.Zeropoint(0.1 * u.mag, images=["i3"])])
    z = scores(mended.fit(progress=False), truth)
    assert z.keys() == set(mended.names)
    assert np.mean(np.square(list(z.values()))) < 2
    assert max(map(abs, z.values())) < 3.5
