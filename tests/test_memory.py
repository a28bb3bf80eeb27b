"""Memory is bounded: by blocks, by drawing coarser and saying so, or by refusing in one sentence."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

import bayesjoint as bj
from bayesjoint.memory import MemoryBudgetError, budget_bytes, readable
from bayesjoint.render.core import Hankel
from bayesjoint.render.optics import Optics
from bayesjoint.render.stamp import core_bytes
from bayesjoint.scene.planning import CORE_SHARE, refined, render_errors

VALUES = {"g.x": 0.3, "g.y": -0.4, "g.q": 0.5, "g.pa": 30.0, "g.n": 2.0, "g.r_eff": 6.0}
VALUES |= {"g.flux[r]": 1e4, "sky.level[r]": 0.0}


def image(psf=True, size=61):
    psf = bj.PSF.gaussian(3.5, 1.0) if psf else None
    data = np.zeros((size, size))
    return bj.Image(data, sigma=1.0, psf=psf, pixel_scale=1.0, zeropoint=31.4, band="r", name="r")


def made(memory=None, **kinds):
    return bj.Scene([bj.Sersic("g"), bj.Sky()], image(**kinds), memory=memory).replanned(VALUES)


def test_a_budget_in_words_and_bytes():
    assert budget_bytes("50 MB") == budget_bytes(50e6) == budget_bytes("5e7") == 50_000_000
    assert budget_bytes("1GiB") == 2**30
    assert 0 < budget_bytes() <= 4_000_000_000
    assert readable(24e9) == "24 GB" and readable(5e7) == "50 MB" and readable(3) == "3 B"
    for wrong in ("much", "-1", 0, "3 apples", True, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"memory must be .*; got .*Leave it away"):
            budget_bytes(wrong)


@pytest.mark.parametrize("psf", [True, False])
def test_results_do_not_depend_on_blocks(psf):
    """Derivatives in groups and tables by blocks: as with memory to spare."""
    whole, small = made(psf=psf), made("50 MB", psf=psf)
    assert small.plans == whole.plans and small.memory == 50_000_000
    for term in small.likelihoods:
        term.jacobian_bytes = 16  # a source at a time
    full = whole.full(whole.vector(VALUES))
    a, b = (s.likelihoods[0].normal_equations(full) for s in (whole, small))
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-8 * float(x.abs().max()))
    assert np.array_equal(whole.render(VALUES)["r"], small.render(VALUES)["r"])


def test_a_table_made_by_blocks_is_the_same(monkeypatch):
    core = made().likelihoods[0].renderer.stamps[0].core
    assert isinstance(core, Hankel)
    monkeypatch.setattr("bayesjoint.render.core.BLOCK", 1000)
    again = made().likelihoods[0].renderer.stamps[0].core
    assert torch.equal(core.bessel, again.bessel)


@pytest.mark.parametrize("psf", [True, False])
def test_memory_of_a_core_is_known_before_it_is_made(psf):
    """Never less than its table; a plan refined as often as a fit does takes far more."""
    scene = made(psf=psf)
    plan, im, g = scene.plans["r"]["g"], scene.images[0], scene.components[0]
    jac = scene.frame.jacobian(im.placement, *plan.pixel)
    thin = dataclasses.replace(plan, q=0.02, fine=3.6)
    sizes = [core_bytes(g, p, Optics(im.psf), jac, im.data.size) for p in (plan, thin)]
    if psf:
        table = scene.likelihoods[0].renderer.stamps[0].core.bessel
        assert sizes[0] > table.numel() * 8
        assert sizes[1] > 50 * sizes[0]
    else:
        assert sizes[1] < 1e9


def test_a_core_that_takes_too_much_is_drawn_coarser_and_said(caplog):
    scene = made("50 MB")
    thin = {**VALUES, "g.q": 0.03}
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        finer = refined(scene.replanned(thin), 3.0)
    said = [r.getMessage() for r in caplog.records if "more coarsely" in r.getMessage()]
    assert (
        said and said[0].startswith("g is drawn more coarsely in r") and "memory=50 MB" in said[0]
    )
    plan, im, g = finer.plans["r"]["g"], finer.images[0], finer.components[0]
    jac = finer.frame.jacobian(im.placement, *plan.pixel)
    size = core_bytes(g, plan, Optics(im.psf), jac, im.data.size)
    assert size <= CORE_SHARE * 5e7 and plan.fine < 3.0


def test_the_check_of_a_plan_never_compares_it_with_itself():
    """Where memory allows none that is finer, with a coarser one: no error is 0 for want of it."""
    scene = made("50 MB")
    g, im, plan = scene.components[0], scene.images[0], scene.plans["r"]["g"]
    jac = scene.frame.jacobian(im.placement, *plan.pixel)
    scene.memory = core_bytes(g, plan, Optics(im.psf), jac, im.data.size) * 1.05 / CORE_SHARE
    assert refined(scene, 1.4).plans == scene.plans
    assert refined(scene, 1.4, check=True).plans["r"]["g"].fine < plan.fine
    assert 0 < render_errors(scene, VALUES)["r"] < 1


def test_what_no_coarser_plan_mends_is_refused_in_one_sentence():
    with pytest.raises(MemoryBudgetError, match=r"memory must be at least .* to draw g in r; got"):
        made("100 KB")
    assert issubclass(MemoryBudgetError, MemoryError)


@pytest.mark.parametrize("psf", [True, False])
def test_the_memory_goes_with_the_scene(psf):
    scene = made("60 MB", psf=psf)
    fixed = scene.fixed(VALUES, ["g.n"])
    assert scene.memory == fixed.memory == scene.with_images(scene.images).memory == 60_000_000
    assert fixed.likelihoods[0].jacobian_bytes == 15_000_000


def test_kernels_of_earlier_plans_are_let_go_of():
    """Windows of one size share their kernels; those of a plan that is no more are not held."""
    sources = [
        bj.Sersic(f"s{k}", position=(x, 0.0), window=20.0) for k, x in enumerate((-60, 0, 60))
    ]
    big = image(size=241)
    values = {"sky.level[r]": 0.0}
    for k, x in enumerate((-60, 0, 60)):
        values |= {f"s{k}.{n}": v for n, v in (("x", x), ("y", 0.0), ("q", 0.7), ("pa", 20.0))}
        values |= {f"s{k}.n": 1.0, f"s{k}.r_eff": 3.0, f"s{k}.flux[r]": 1e3}
    scene = bj.Scene([*sources, bj.Sky()], big).replanned(values)
    smooth = scene.likelihoods[0].renderer.smooth
    assert len(smooth) == 3 and len({id(s.blur.kernels[1]) for s in smooth}) == 1
    moved = scene.replanned({**values, "s1.y": 40.0})
    (optics,) = moved.likelihoods[0].renderer.optics._own.values()
    assert len(optics.blurs) == 3
