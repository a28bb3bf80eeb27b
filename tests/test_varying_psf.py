"""PSFs that vary over the image: their fields, and sources drawn with the PSF of their own place."""

import dataclasses
import functools
import logging
import pickle

import galsim
import numpy as np
import pytest
import torch
import yaml
from astropy.io import fits
from astropy.nddata import NDData
from photutils.psf import GriddedPSFModel

import bayesjoint as bj
from bayesjoint.images.psf import VaryingPSF
from bayesjoint.images.psf_field import CellField, FunctionField, GridField, PolynomialField
from bayesjoint.images.psf_files import to_hdu
from bayesjoint.scene.planning import BUDGET, is_coarse, render_errors
from bayesjoint.scene.reach import place_errors

GS = galsim.GSParams(folding_threshold=1e-5, kvalue_accuracy=1e-8, maxk_threshold=1e-6)
SIZE, OVERSAMPLING = 400, 2
S = bj.start


def optics(x, y):
    """Width and ellipticity vary by 20 % and more over 400 x 400 pixels."""
    u, v = (x - 200) / 200, (y - 200) / 200
    seen = galsim.Gaussian(fwhm=3.5 * (1 + 0.1 * u + 0.05 * v * v), gsparams=GS).shear(
        g1=0.05 + 0.1 * v, g2=0.1 * u * v
    )
    return galsim.Convolve([seen, galsim.Pixel(1.0)], gsparams=GS)


@functools.lru_cache(maxsize=256)
def samples(x, y):
    image = galsim.ImageD(61, 61)
    return optics(x, y).drawImage(image, scale=1 / OVERSAMPLING, method="no_pixel").array


def field_psf(**options):
    return VaryingPSF(FunctionField(samples), oversampling=OVERSAMPLING, **options)


def polynomial_psf(**options):
    """Of degree 2, roughly that of `samples`: quick, and not to be compared with it."""
    places = [(x, y) for y in (0, 200, 400) for x in (0, 200, 400)]
    powers = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2)]
    a = np.array(
        [[((x - 200) / 200) ** i * ((y - 200) / 200) ** j for i, j in powers] for x, y in places]
    )
    c = np.linalg.lstsq(a, np.array([samples(*p) for p in places]).reshape(9, -1), rcond=None)[0]
    field = PolynomialField(c.reshape(6, 61, 61), powers, (200, 200), (200, 200))
    return VaryingPSF(field, oversampling=OVERSAMPLING, **options)


# -- fields ---------------------------------------------------------------------------------------
def test_polynomial_against_a_loop():
    rng = np.random.default_rng(1)
    c, powers = rng.normal(size=(4, 5, 7)), [(0, 0), (1, 0), (0, 2), (2, 1)]
    field = PolynomialField(c, powers, (10.0, 20.0), (5.0, 8.0))
    for x, y in ((10.0, 20.0), (3.3, 47.1)):
        total = np.zeros((5, 7))
        for k, (i, j) in enumerate(powers):
            for row in range(5):
                for col in range(7):
                    total[row, col] += c[k, row, col] * ((x - 10) / 5) ** i * ((y - 20) / 8) ** j
        np.testing.assert_allclose(field(x, y), total, rtol=1e-13)


def test_grid_against_photutils():
    """Inside the grid, at its places, on its lines, and outside, where it is that of the edge."""
    rng = np.random.default_rng(2)
    stamps = rng.random((12, 9, 9))
    places = [(x, y) for y in (5.0, 40.0, 90.0) for x in (0.0, 30.0, 60.0, 100.0)]
    order = rng.permutation(12)
    stamps, places = stamps[order], [places[k] for k in order]
    theirs = GriddedPSFModel(NDData(stamps, meta={"grid_xypos": places, "oversampling": 1}))
    field = GridField(stamps, places)
    for x, y in ((17, 60), (30, 40), (45, 90), (-20, 50), (130, 120), (50, -7), (99, 6), (0, 5)):
        j, i = np.mgrid[y - 4 : y + 5, x - 4 : x + 5].astype(float)
        model = theirs.evaluate(i, j, 1.0, float(x), float(y))
        np.testing.assert_allclose(field(x, y), model, rtol=0, atol=1e-10)
    assert field.limits == ((-15.0, 120.0), (-12.5, 115.0))
    assert VaryingPSF(GridField(stamps[:1], places[:1])).at(1e4, 3).shape == (9, 9)


def test_cells_jump_and_name_what_is_missing():
    stamps = np.stack([np.full((3, 3), 1.0), np.full((3, 3), 2.0), np.full((3, 3), np.nan)])
    field = CellField(stamps, [(0, 10, 0, 10), (10, 20, 0, 10), (0, 10, 10, 20)])
    assert field(9.999, 5)[0, 0] == 1 and field(10, 5)[0, 0] == 2 and field(40, 5)[0, 0] == 2
    psf = VaryingPSF(field, normalize=False)
    assert psf.at(1, 1) is psf.at(9, 9) and psf.at(1, 1) is not psf.at(11, 1)
    with pytest.raises(ValueError, match=r"got none at \(x, y\) = \(4.0, 12.0\)"):
        psf.at(4, 12)


def test_an_image_whose_middle_has_no_psf():
    """It stands for the image by that of the nearest cell; a source there is refused."""
    one = samples(200, 200)
    stamps = np.stack([one, np.full(one.shape, np.nan), 2 * one + one.T])
    field = CellField(stamps, [(-0.5, 40, -9, 99), (40, 60, -9, 99), (60, 99, -9, 99)])
    psf = VaryingPSF(field, oversampling=OVERSAMPLING)
    image = bj.Image(np.zeros((90, 100)), sigma=1.0, psf=psf, pixel_scale=1.0)
    assert image.psf.fwhm == psf.at(10, 10).fwhm and "FWHM" in repr(image)
    low, high = image.psf.fwhm_range()
    assert low <= high and image.psf.shape == one.shape
    for x, known in ((-30.0, True), (0.0, False)):
        star = bj.Point("s", x=S(x), y=S(0.0), flux=S(100.0))
        if known:
            scene = bj.Scene(star, image)
            assert np.isfinite(scene.render(scene.start)["image"]).all()
        else:
            with pytest.raises(ValueError, match="got none at"):
                bj.Scene(star, image)


@pytest.mark.parametrize(("amplitude", "count"), [(0.0, 0), (1.0, 1)])
def test_one_moffat_for_a_psf_that_varies_is_said(amplitude, count, caplog):
    terms = [samples(200, 200), amplitude * (samples(400, 200) - samples(200, 200))]
    field = PolynomialField(terms, [(0, 0), (1, 0)], (200, 0), (200, 1))
    psf = VaryingPSF(field, oversampling=OVERSAMPLING).attached((400, 400))
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        assert psf.as_moffat().fwhm == pytest.approx(psf.fwhm, rel=5e-3)
    assert len(caplog.records) == count
    assert not count or "that varies: its FWHM is" in caplog.text


REFUSED = {
    "NaN coefficients": (
        lambda: PolynomialField(np.full((1, 3, 3), np.nan), [(0, 0)]),
        "9 NaN or infinite coefficients in component 0",
    ),
    "powers of another number": (
        lambda: PolynomialField(np.ones((2, 3, 3)), [(0, 0)]),
        "2 components",
    ),
    "no stack": (lambda: PolynomialField(np.ones((3, 3)), [(0, 0)]), "shape"),
    "zero scale": (lambda: PolynomialField(np.ones((1, 3, 3)), [(0, 0)], scale=(0, 1)), "scale"),
    "NaN in the grid": (lambda: GridField(np.full((1, 3, 3), np.nan), [(7, 8)]), r"\(7.0, 8.0\)"),
    "no grid": (lambda: GridField(np.ones((3, 3, 3)), [(0, 0), (1, 1), (2, 0)]), "all pairs"),
    "bounds of another shape": (lambda: CellField(np.ones((2, 3, 3)), [(0, 1, 0, 1)]), "bounds"),
    "no function": (lambda: FunctionField(3), "callable"),
    "no pixel as origin": (lambda: field_psf(origin=3), "origin must be a pixel"),
    "no field": (lambda: VaryingPSF(np.ones((3, 3))), "callable"),
    "no light there": (
        lambda: VaryingPSF(FunctionField(lambda x, y: np.zeros((3, 3)))).at(3, 4),
        r"The PSF at \(x, y\) = \(3.0, 4.0\) must have a positive sum",
    ),
    "NaN there": (
        lambda: VaryingPSF(FunctionField(lambda x, y: np.full((3, 3), np.nan))).at(3, 4),
        "must be finite",
    ),
}


@pytest.mark.parametrize(("make", "word"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_sentence(make, word):
    with pytest.raises(ValueError, match=word) as e:
        make()
    assert 20 < len(str(e.value)) < 400 and "\n" not in str(e.value)


# -- the PSF --------------------------------------------------------------------------------------
def test_places_count_from_the_image_and_cutouts_carry_their_offset():
    psf = polynomial_psf(origin=(100, 50))
    here = polynomial_psf().at(130.25, 90.0).array
    np.testing.assert_array_equal(psf.at(30.25, 40.0).array, here)
    np.testing.assert_array_equal(psf.cropped(10, 20).at(20.25, 20.0).array, here)
    assert psf.at(30.25, 40.0) is psf.cropped(10, 20).at(20.25, 20.0)  # evaluated once
    image = bj.Image(np.zeros((101, 201)), sigma=1.0, psf=psf, pixel_scale=1.0)
    np.testing.assert_array_equal(image.psf.array, psf.at(100.0, 50.0).array)  # that of its middle
    small = image.cutout((60, 40), (21, 41))
    np.testing.assert_array_equal(small.psf.array, psf.at(60.0, 40.0).array)
    assert small.psf.varies and small.psf.at(0, 0) is psf.at(40, 30)
    assert small.replace(name="b").psf.origin == (140.0, 80.0)


def test_properties_are_those_of_the_middle():
    psf = polynomial_psf().attached((400, 400))
    middle = psf.at(199.5, 199.5)
    assert (psf.fwhm, psf.shape, psf.native_shape, psf.centroid) == (
        middle.fwhm,
        middle.shape,
        middle.native_shape,
        middle.centroid,
    )
    assert psf.as_moffat().fwhm == pytest.approx(middle.fwhm, rel=5e-3)
    low, high = psf.fwhm_range()
    assert low < psf.fwhm < high and high / low > 1.15
    assert "VaryingPSF(PolynomialField(degree 2" in repr(psf)
    again = pickle.loads(pickle.dumps(psf))
    assert again.fwhm == psf.fwhm and not np.shares_memory(again.array, psf.array)


def test_normalised_at_each_place():
    field = PolynomialField(np.stack([np.eye(5), np.eye(5)]), [(0, 0), (1, 0)])
    assert VaryingPSF(field).at(3, 0).array.sum() == pytest.approx(1.0)
    assert VaryingPSF(field, normalize=False).at(3, 0).array.sum() == pytest.approx(20.0)


def test_extrapolation_is_said_once(caplog):
    field = PolynomialField(np.ones((1, 3, 3)), [(0, 0)], limits=((0, 99), (0, 49)))
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        psf = VaryingPSF(field)
        psf.at(50, 49.5)
        assert not caplog.records
        psf.at(50, 70)
        psf.cropped(5, 5).at(200, 70)
    assert len(caplog.records) == 1 and "extrapolated" in caplog.text


def psfex_table(name):
    """PSFEx's table of a PSF that is wider by 1 % a pixel in x, by 2 % in y."""
    terms = [samples(200, 200), samples(300, 200) - samples(200, 200), samples(200, 200).T]
    column = fits.Column("PSF_MASK", f"{3 * 61 * 61}E", dim="(61,61,3)", array=np.array([terms]))
    hdu = fits.BinTableHDU.from_columns([column], name=name)
    hdu.header.update({"PSF_SAMP": 1 / OVERSAMPLING, "POLNAXIS": 2, "POLNGRP": 1, "POLDEG1": 1})
    for k, axis in enumerate("XY", 1):
        hdu.header.update({f"POLNAME{k}": f"{axis}_IMAGE", f"POLZERO{k}": 1, f"POLSCAL{k}": 300})
    return hdu


SOURCES = {
    "path": lambda path, origin: path,
    "object": lambda path, origin: bj.PSF.read(path),
    "object that says where": lambda path, origin: bj.PSF.read(path, origin=origin),
    "file that says where": lambda path, origin: written(path, bj.PSF.read(path, origin=origin)),
    "file of ours": lambda path, origin: written(path, bj.PSF.read(path)),
    "in the image's file": lambda path, origin: None,
    "in the image's file, by us": lambda path, origin: False,
}


def written(path, psf):
    new = path.with_suffix(".ours.fits")
    fits.HDUList([fits.PrimaryHDU(), to_hdu(psf)]).writeto(new)
    return new


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("section", ["", "[11:60,21:60]"])
@pytest.mark.parametrize("ltv", [(0, 0), (70, 60)])
def test_where_an_image_begins_in_the_frame_of_its_psf(ltv, section, kind, tmp_path, caplog):
    """By LTV, by a section, by the PSF itself; none of them twice."""
    caplog.set_level(logging.WARNING, "bayesjoint")
    table, path, file = psfex_table("PSF"), tmp_path / "a.psf", tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    data = np.random.default_rng(1).normal(size=(90, 100))
    primary = fits.PrimaryHDU(data)
    primary.header.update({"PIXSCALE": 0.2, "LTV1": -float(ltv[0]), "LTV2": -float(ltv[1])})
    psf, hdus = SOURCES[kind](path, ltv), [primary]
    given = {} if not psf else {"psf": psf}
    if psf is None:
        hdus.append(table)
    elif psf is False:
        hdus.append(to_hdu(bj.PSF.read(path, origin=ltv)))
    fits.HDUList(hdus).writeto(file)
    image = bj.Image.read(f"{file}{section}", sigma=1.0, **given)
    x, y = ltv[0] + 10 * bool(section) + 7, ltv[1] + 20 * bool(section) + 5
    wanted = bj.PSF.read(path).at(x, y).array
    np.testing.assert_allclose(image.psf.at(7, 5).array, wanted, rtol=0, atol=1e-12)
    image.write(tmp_path / "again.fits")
    again = bj.Image.read(tmp_path / "again.fits")
    np.testing.assert_array_equal(again.psf.at(7, 5).array, image.psf.at(7, 5).array)
    assert not caplog.records


def test_a_binned_image_of_a_psf_that_varies_is_said(tmp_path, caplog):
    header = fits.Header({"PIXSCALE": 0.4, "LTV1": -35.0, "LTM1_1": 0.5, "LTM2_2": 0.5})
    fits.HDUList([fits.PrimaryHDU(np.eye(60), header)]).writeto(tmp_path / "image.fits")
    fits.HDUList([fits.PrimaryHDU(), psfex_table("PSF_DATA")]).writeto(tmp_path / "a.psf")
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        bj.Image.read(tmp_path / "image.fits", sigma=1.0, psf=tmp_path / "a.psf")
    assert "LTV1, LTV2 are not used" in caplog.text


# -- sources --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def stars():
    """Nine stars of signal-to-noise 500, without noise: the image, and where they are."""
    rng, image = np.random.default_rng(3), galsim.ImageD(SIZE, SIZE, xmin=0, ymin=0)
    grid = np.meshgrid([40, 200, 360], [40, 200, 360])
    places = np.stack(grid, -1).reshape(-1, 2) + rng.uniform(-8, 8, (9, 2))
    fluxes = []
    for x, y in places:
        norm = np.sqrt((samples(round(x, 3), round(y, 3)) ** 2).sum()) * OVERSAMPLING
        fluxes.append(500 / norm)
        box = galsim.BoundsI(int(x) - 30, int(x) + 30, int(y) - 30, int(y) + 30)
        (optics(x, y) * fluxes[-1]).drawImage(
            image[box],
            method="no_pixel",
            scale=1.0,
            center=galsim.PositionD(x, y),
            add_to_image=True,
        )
    return image.array, places, fluxes


def pulls(data, psf, places, fluxes):
    """How far fitted positions and fluxes lie from the truth, in sigma, from starts a little off; and the fit."""
    image = bj.Image(data, sigma=1.0, psf=psf, pixel_scale=1.0)
    mx, my = image.placement.middle
    points = [
        bj.Point(f"s{k}", x=S(mx - x + 0.4), y=S(y - my - 0.3), flux=S(0.9 * f))
        for k, ((x, y), f) in enumerate(zip(places, fluxes, strict=True))
    ]
    best = bj.Scene([*points, bj.Sky()], image).fit(progress=False)
    off = {}
    for k, ((x, y), f) in enumerate(zip(places, fluxes, strict=True)):
        for name, value in (("x", mx - x), ("y", y - my), ("flux[image]", f)):
            key = f"s{k}.{name}"
            off[key] = (best.values[key] - value) / best.errors[key]
    return off, best


def test_stars_are_unbiased_with_the_psf_of_their_own_place(stars):
    off, best = pulls(stars[0], field_psf(), *stars[1:])
    assert best.converged and max(map(abs, off.values())) < 0.1
    assert len({p.place for p in best.scene.plans["image"].values()}) == 9
    constant, _ = pulls(stars[0], field_psf().attached((SIZE, SIZE)).at(199.5, 199.5), *stars[1:])
    fluxes = [abs(v) for k, v in constant.items() if "flux" in k]
    assert np.sqrt(np.mean(np.square(fluxes))) > 10


def test_a_galaxy_in_a_cutout_is_unbiased():
    """A corner of the image cut out: its PSF is that of the corner."""
    x, y, q, theta, flux = 352.3, 341.8, 0.6, 30.0, 2e4
    light = galsim.Exponential(half_light_radius=4.0 * np.sqrt(q), flux=flux, gsparams=GS).shear(
        q=q, beta=theta * galsim.degrees
    )
    data = np.zeros((SIZE, SIZE))
    here = galsim.ImageD(81, 81, xmin=310, ymin=300)
    galsim.Convolve(light, optics(x, y), gsparams=GS).drawImage(
        here, method="no_pixel", scale=1.0, center=galsim.PositionD(x, y)
    )
    data[300:381, 310:391] = here.array
    off = {}
    for kind, psf in (
        ("varying", field_psf()),
        ("constant", bj.PSF(samples(199.5, 199.5), oversampling=OVERSAMPLING)),
    ):
        image = bj.Image(data, sigma=1.0, psf=psf, pixel_scale=1.0).cutout((350, 340), 71)
        # without a WCS East is -x, and pa counts from North to East
        truth = {"g.q": q, "g.pa": (theta - 90) % 180, "g.r_eff": 4.0, "g.flux[image]": flux}
        start = {"q": S(0.7), "pa": S(120.0), "r_eff": S(4.5), "flux": S(1.8e4), "n": 1.0}
        best = bj.Scene([bj.Sersic("g", **start)], image).fit(progress=False)
        off[kind] = {k: (best.values[k] - v) / best.errors[k] for k, v in truth.items()}
        assert best.converged
    assert max(map(abs, off["varying"].values())) < 0.1
    assert max(map(abs, off["constant"].values())) > 5


def two_galaxies(psf, **options):
    image = bj.Image(
        np.random.default_rng(1).normal(size=(120, 110)), sigma=1.0, psf=psf, pixel_scale=1.0
    )
    shape = {"r_eff": S(5.0), "n": S(2.0), "q": S(0.6), "pa": S(30.0), "flux": S(3e3)}
    sources = [
        bj.Sersic("a", x=S(30.0), y=S(-35.0), **shape),
        bj.Sersic("b", x=S(-30.0), y=S(30.0), **shape),
    ]
    return bj.Scene(
        [*sources, bj.Point("c", x=S(-20.0), y=S(-20.0), flux=S(900.0)), bj.Sky()], image, **options
    )


@pytest.fixture(scope="module")
def pair():
    return two_galaxies(polynomial_psf())


def test_each_source_is_drawn_as_with_its_own_psf_for_all(pair):
    psf, parts = pair.images[0].psf, pair.render_components(pair.start)["image"]
    for name in ("a", "b", "c"):
        plan = pair.plans["image"][name]
        own = pair.with_images(pair.images[0].replace(psf=psf.at(*plan.place), name="image"))
        expected = own.with_plans(pair.plans).render_components(pair.start)["image"][name]
        assert np.abs(parts[name] - expected).max() < 1e-12 * expected.max()
    assert len(pair.likelihoods[0].renderer.smooth) == 2


def test_gradient_jacobian_and_density_agree(pair):
    z = pair.unconstrain(pair.start).requires_grad_()
    (grad,) = torch.autograd.grad(pair.log_density(z), z)
    step = 1e-5 * torch.eye(len(z), dtype=z.dtype)
    with torch.no_grad():
        slopes = torch.stack(
            [(pair.log_density(z + h) - pair.log_density(z - h)) / 2e-5 for h in step]
        )
    assert torch.allclose(grad, slopes, rtol=1e-4, atol=1e-4 * float(grad.abs().max()))
    term, full = pair.likelihoods[0], pair.full(pair.vector(pair.start))
    score, normal = term.score(full)[1], term.normal_equations(full)[2]
    assert torch.allclose(score, normal, rtol=1e-4)


@pytest.mark.parametrize("field", ["constant", "cells"])
def test_equal_psfs_share_their_tables(field):
    """A field that says the same everywhere is the constant PSF, in numbers and in cost."""
    a = samples(200, 200)
    one = two_galaxies(bj.PSF(a, oversampling=OVERSAMPLING))
    given = (
        PolynomialField([a], [(0, 0)])
        if field == "constant"
        else CellField([a], [(0, 999, 0, 999)])
    )
    two = two_galaxies(VaryingPSF(given, oversampling=OVERSAMPLING))
    assert two.start == one.start
    np.testing.assert_array_equal(two.render(two.start)["image"], one.render(two.start)["image"])
    assert len(two.likelihoods[0].renderer.smooth) == 1


def test_neighbours_share_where_it_does_not_matter():
    slow = PolynomialField(
        [samples(200, 200), 2e-3 * (samples(400, 200) - samples(200, 200))],
        [(0, 0), (1, 0)],
        scale=(200, 200),
    )
    image = bj.Image(
        np.zeros((400, 400)),
        sigma=1.0,
        psf=VaryingPSF(slow, oversampling=OVERSAMPLING),
        pixel_scale=1.0,
    )
    places = [(0.0, 0.0), (3.0, 0.0), (150.0, 0.0)]
    for flux, count in ((1e2, 2), (1e6, 3)):
        points = [
            bj.Point(f"p{k}", x=S(x), y=S(y), flux=S(flux)) for k, (x, y) in enumerate(places)
        ]
        scene = bj.Scene(points, image)
        assert len({p.place for p in scene.plans["image"].values()}) == count
        assert place_errors(scene, scene.start)["image"] < 0.2 * BUDGET and not is_coarse(
            scene, scene.start
        )


def test_the_plan_is_made_anew_where_the_end_lies_far_off():
    """A star whose start is 12 pixels off ends with the PSF of where it is."""
    psf = polynomial_psf()
    image = bj.Image(np.zeros((SIZE, SIZE)), sigma=1.0, psf=psf, pixel_scale=1.0)
    truth = {"s.x": 150.0, "s.y": 120.0, "s.flux[image]": 3e4}
    truth_image = bj.Scene(
        bj.Point("s", **{k: S(v) for k, v in (("x", 150.0), ("y", 120.0), ("flux", 3e4))}), image
    ).simulate(truth, 1)
    scene = bj.Scene(bj.Point("s", x=S(143.0), y=S(129.0), flux=S(2e4)), truth_image)
    best = scene.fit(progress=False)
    first, last = (s.plans["image"]["s"].place for s in (scene, best.scene))
    assert np.hypot(first[0] - last[0], first[1] - last[1]) == pytest.approx(
        np.hypot(7, 9), abs=0.1
    )
    assert is_coarse(scene, best.values) and not is_coarse(best.scene, best.values)
    assert render_errors(scene, best.values)["image"] > BUDGET > best.render_errors["image"]
    assert (
        best.converged
        and abs(best.values["s.flux[image]"] - 3e4) < 3 * best.errors["s.flux[image]"]
    )
    # what the first plan's PSF makes of the flux: the reason for all this
    at_start = scene.with_plans(scene.plans, best.values)
    off = at_start.render(best.values)["image"] - best.scene.render(best.values)["image"]
    assert np.sqrt((off**2).sum()) == pytest.approx(
        place_errors(scene, best.values)["image"], rel=0.1
    )


def test_the_plan_is_saved_and_read_back(pair, tmp_path):
    pair.save(tmp_path / "scene.yaml")
    again = bj.Scene.load(tmp_path / "scene.yaml", pair.images)
    assert again.plans == pair.plans and again.plans["image"]["a"].place is not None
    np.testing.assert_array_equal(
        again.render(pair.start)["image"], pair.render(pair.start)["image"]
    )
    document = yaml.safe_load((tmp_path / "scene.yaml").read_text())
    for plan in document["plan"]["image"].values():
        del plan["place"]  # as files before there were such PSFs
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(document))
    old = bj.Scene.load(tmp_path / "old.yaml", pair.images)
    assert old.plans["image"]["a"].place is None
    np.testing.assert_allclose(
        old.render(pair.start)["image"], pair.render(pair.start)["image"], atol=1e-9
    )


def test_scenes_travel_to_other_processes_and_types(pair):
    again = pickle.loads(pickle.dumps(pair))
    z = pair.unconstrain(pair.start)
    assert float(again.log_density(z)) == float(pair.log_density(z))
    single = two_galaxies(polynomial_psf(), dtype=torch.float32)
    a, b = (s.render(pair.start)["image"] for s in (single, pair))
    assert np.abs(a - b).max() < 1e-5 * b.max()
    other = pair.with_images(pair.images[0].replace(data=pair.images[0].data + 1.0, name="image"))
    assert other.images[0].psf.varies and other.plans["image"]["a"].place is not None
    assert pair.subset(components=["a"]).plans["image"]["a"].place == pair.plans["image"]["a"].place
    assert dataclasses.replace(pair.plans["image"]["a"], place=None) != pair.plans["image"]["a"]
