"""Examples: each simulated sky gives its truth back."""

import re

import numpy as np
import pytest
from astropy import units as u

import bayesjoint as bj
from bayesjoint.examples import bulge_disc, exposures, group, supernova


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
    assert any(re.search(r"bj.Shift\([\d.]+, images=\['r3'\]\)", s) for s in said)
    assert any(re.search(r"bj.Zeropoint\([\d.]+, images=\['i3'\]\)", s) for s in said)
    assert len(said) == 2
    mended = bj.scene_from(images, corrections=[bj.Shift(0.3 * u.arcsec, images=["r3"]), bj.Zeropoint(0.1 * u.mag, images=["i3"])])
    z = scores(mended.fit(progress=False), truth)
    assert z.keys() == set(mended.names)
    assert np.mean(np.square(list(z.values()))) < 2
    assert max(map(abs, z.values())) < 3.5


def test_bulge_and_disc_in_five_bands():
    images, truth = bulge_disc(seed=1)
    bulge = bj.Sersic("bulge")
    disc = bj.Exponential("disc", x=bulge.x, y=bulge.y, r_eff=bj.Polynomial(1))
    best = bj.Scene([bulge, disc, bj.Sky()], images).fit(progress=False)
    z = scores(best, truth)
    assert best.converged and z.keys() == set(best.names)
    assert np.mean(np.square(list(z.values()))) < 2
    assert max(map(abs, z.values())) < 3.5


def test_a_group_of_which_one_has_a_ring():
    """With the ring in the model all is as it was made; without it, it is no longer."""
    images, truth = group(seed=1)
    parts = [bj.Sersic(name, position=(t["x"] + 0.3, t["y"] - 0.3)) for name, t in truth.items()]
    ring = bj.GaussianRing("ring", x=parts[0].x, y=parts[0].y, q=parts[0].q, pa=parts[0].pa, r_ring=5.0, sigma=0.8, bands=["r"])
    chi2 = {}
    for name, scene in {"whole": [*parts, ring, bj.Sky()], "without": [*parts, bj.Sky()]}.items():
        best = bj.Scene(scene, images).fit(progress=False)
        chi2[name] = best.chi2 / best.dof
        if name == "whole":
            z = scores(best, {f"{g}.{k}": v for g, t in truth.items() for k, v in t.items() if (g, k) != ("A", "flux[r]")})
            assert best.converged and max(map(abs, z.values())) < 3.5 and np.mean(np.square(list(z.values()))) < 2
            light = best.values["A.flux[r]"] + best.values["ring.flux[r]"]
            assert light == pytest.approx(truth["A"]["flux[r]"], rel=0.01)
    assert chi2["whole"] < 1.03 < chi2["without"]
