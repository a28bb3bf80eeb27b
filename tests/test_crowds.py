"""Crowds: detection, the search through residuals, catalogues and segmentation maps, forced photometry."""

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.wcs import WCS
from scipy import ndimage

import bayesjoint as bj
from bayesjoint.images import Frame
from bayesjoint.infer.crowd import _Crowd
from bayesjoint.scene import forced as forced_module
from bayesjoint.scene.catalogue import object_names, object_places, object_shapes
from bayesjoint.scene.detection import detect, significance

SIZE, SCALE = 60, 0.5
PSF = bj.PSF.gaussian(3.0 * SCALE, SCALE)


def blank(band="r", size=SIZE, **more):
    return bj.Image(np.zeros((size, size)), sigma=1.0, psf=PSF, pixel_scale=SCALE, zeropoint=25.0, band=band, **more)


def sky(*components, bands="r", seed=1, size=SIZE, levels=None):
    """Images of some components whose parameters are all held, with noise; fluxes in nJy by band in `levels`, by name."""
    images = [blank(b, size) for b in bands]
    scene = bj.Scene([*components, bj.Sky(level=0.0)], images)
    values = {n: levels[n.split(".")[0]][n[n.index("[") + 1 : -1]] for n in scene.names}
    return scene.simulate(values, seed)


def point_flux(snr):
    """Flux in nJy of a point of such a signal-to-noise in `blank`."""
    unit = bj.Scene([bj.Point("p", x=0.0, y=0.0, flux=1.0), bj.Sky(level=0.0)], blank()).render({})["r"]
    return snr / np.sqrt((unit**2).sum())


def places(scene):
    """Object by object: its kinds and where a fit begins."""
    out = {}
    for c in scene.components:
        name, _, kind = c.name.rpartition(".")
        if name:
            kinds, _ = out.get(name, ([], None))
            at = tuple(scene.start.get(f"{c.name}.{k}", np.nan) for k in "xy")
            out[name] = ([*kinds, kind], at if not kinds else out[name][1])
    return out


def nearest(scene, x, y):
    return min(np.hypot(a - x, b - y) for _, (a, b) in places(scene).values())


# -- how far light stands out -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_noise_is_measured_whatever_sigma_says(sigma):
    noise = np.random.default_rng(1).normal(size=(200, 200))
    found = significance(blank(size=200).replace(data=noise, sigma=sigma))
    assert found.noise == pytest.approx(1 / sigma, rel=0.1)
    assert found.noise_only.std() == pytest.approx(1, rel=0.1)


def test_noise_is_measured_on_the_scale_of_the_psf():
    """Noise that the PSF has blurred too, as confusion: its pixels are as stated, what a filter makes of it is not; a narrower one does better."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(200, 200)), 3.0 / 2.355)
    noise /= noise.std()
    im = blank(size=200).replace(data=noise)
    found = significance(im)
    width = 3.0 / 2.355
    wide = ndimage.gaussian_filter(noise, width).std() / (ndimage.gaussian_filter(np.eye(1, 401 * 401, 200 * 402).reshape(401, 401), width).max() / 2)
    narrow = 0.5 * width
    answer = 1 / (2 * np.pi * (width**2 + narrow**2))  # of a point of unit flux, by the narrowest filter
    error = ndimage.gaussian_filter(noise, narrow).std() / answer
    assert error < 0.9 * wide
    peak = point_flux(1.0) * 0 + 7 * error
    unit = bj.Scene([bj.Point("p", x=0.0, y=0.0, flux=1.0), bj.Sky(level=0.0)], blank(size=201)).render({})["r"]
    alone = significance(blank(size=201).replace(data=np.pad(noise, (0, 1), mode="wrap") + peak / 1.0 * unit / im.unit_flux))
    assert found.noise > 1.2
    assert alone.noise_only[100, 100] - np.pad(found.noise_only, (0, 1))[100, 100] == pytest.approx(7, rel=0.15)


def test_pixels_without_noise_count_as_stated():
    assert significance(blank().replace(data=np.zeros((SIZE, SIZE)))).noise == 1.0


def test_errors_of_a_model_count_as_noise():
    light = 100 * np.ones((SIZE, SIZE))
    residual = np.random.default_rng(2).normal(size=(SIZE, SIZE))
    residual[30, 30] = 40.0
    found = significance(blank(), residual, 0.1 * light)
    assert found.noise_only[30, 30] > 5 > 1 > found.total[30, 30]


# -- detection ------------------------------------------------------------------------------------------------------------------------
def test_what_one_image_alone_sees_is_found():
    """Six sigma in one image of five: below five sigma of the sum of all squares."""
    bands, rng = "ugriz", np.random.default_rng(0)
    scene = bj.Scene([bj.Point("p", x=2.0, y=-3.0), bj.Sky(level=0.0)], [blank(b) for b in bands])
    light = scene.render({f"p.flux[{b}]": point_flux(7.0) * (b == "i") for b in bands})
    images = [im.replace(data=0.6 * rng.normal(size=im.shape) + light[im.name], name=im.band) for im in scene.images]
    maps = [np.clip(significance(im, im.data).noise_only * 0.6, -2, 6.2) for im in images]
    found = detect(images, maps, Frame(None), 5.0)
    assert len(found) == 1 and np.hypot(found[0].x - 2, found[0].y + 3) < 0.5
    together = np.sqrt(sum(np.clip(m, 0, None) ** 2 for m in maps))
    assert together.max() < 6.8  # chi² of five degrees of freedom, at five sigma: 6.3; the noise of the others comes on top


def test_a_peak_above_the_threshold_is_enough():
    """Few pixels of a faint point are above it."""
    images = sky(bj.Point("p", x=3.3, y=1.2), levels={"p": {"r": point_flux(7.5)}}, seed=3)
    scene = bj.scene_from(images, rounds=1)
    assert nearest(scene, 3.3, 1.2) < 0.5 and {k for kinds, _ in places(scene).values() for k in kinds} == {"point"}


def test_the_ragged_edge_of_a_galaxy_is_no_crowd():
    galaxy = bj.Sersic("g", x=0.0, y=0.0, n=1.0, r_eff=5.0, q=0.7, pa=30.0)
    images = sky(galaxy, levels={"g": {"r": 3e6}}, seed=2, size=120)
    assert len(places(bj.scene_from(images, rounds=1))) == 1


# -- through residuals ----------------------------------------------------------------------------------------------------------------
def test_a_neighbour_in_the_wings_is_found_in_the_residuals():
    galaxy = bj.Sersic("g", x=0.0, y=0.0, n=1.5, r_eff=1.5, q=0.8, pa=30.0)
    images = sky(galaxy, bj.Point("p", x=3.0, y=0.8), bands="gr", levels={"g": {"g": 2e5, "r": 3e5}, "p": {"g": 3e4, "r": 3e4}}, seed=4)
    one, more = (bj.scene_from(images, rounds=r) for r in (1, None))
    assert len(places(one)) == 1
    assert len(places(more)) == 2 and nearest(more, 3.0, 0.8) < 0.5
    best = more.fit(progress=False)
    assert best.converged and best.chi2 / best.dof < 1.1
    assert len(best.history) < 12  # it begins where the search ended


def test_an_object_that_strays_later_goes_with_its_fit(monkeypatch):
    """The second neighbour makes both stray: the first, of an earlier search, leaves no trace either."""
    galaxy = bj.Sersic("g", x=0.0, y=0.0, n=1.5, r_eff=1.5, q=0.8, pa=30.0)
    others = [bj.Point("p", x=3.0, y=0.8), bj.Point("b", x=4.2, y=2.4)]
    levels = {"g": {"r": 3e5}, "p": {"r": 4e4}, "b": {"r": point_flux(28)}}
    images = sky(galaxy, *others, levels=levels, seed=4)
    assert len(places(bj.scene_from(images, rounds=2))) == 2 and len(places(bj.scene_from(images))) == 3
    monkeypatch.setattr(_Crowd, "_strayed", lambda self, c, end: len(end.regions) > 2)
    assert list(places(bj.scene_from(images))) == ["object 1"]


def test_one_profile_is_enough_for_one(caplog):
    galaxy = bj.Sersic("g", x=0.0, y=0.0, n=2.0, r_eff=2.5, q=0.6, pa=30.0)
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        scene = bj.scene_from(sky(galaxy, bands="gr", levels={"g": {"g": 4e5, "r": 5e5}}, seed=5))
    assert {k: kinds for k, (kinds, _) in places(scene).items()} == {"object 1": ["galaxy"]}
    assert not [r for r in caplog.records if "stand out" in r.message]


def test_bulge_and_disc_are_one_object_of_two_profiles():
    disc = bj.Sersic("disc", x=0.0, y=0.0, n=0.8, r_eff=5.0, q=0.7, pa=30.0)
    bulge = bj.Sersic("bulge", x=0.0, y=0.0, n=1.5, r_eff=0.8, q=0.9, pa=10.0)
    images = sky(disc, bulge, bands="gr", levels={"disc": {"g": 8e5, "r": 8e5}, "bulge": {"g": 1e5, "r": 5e5}}, seed=6)
    scene = bj.scene_from(images)
    assert {k: kinds for k, (kinds, _) in places(scene).items()} == {"object 1": ["galaxy", "inner"]}


def test_knots_of_a_galaxy_are_said_and_no_objects(caplog):
    """Six knots on a ring within the half-light radius, each a fifth as bright as the galaxy there."""
    ring = [bj.Point(f"k{i}", x=4.0 * np.cos(a), y=4.0 * np.sin(a)) for i, a in enumerate(np.arange(6) * np.pi / 3)]
    galaxy = bj.Sersic("g", x=0.0, y=0.0, n=1.0, r_eff=6.0, q=0.95, pa=0.0)
    levels = {"g": {"r": 4e6}} | {f"k{i}": {"r": 2e4} for i in range(6)}
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        scene = bj.scene_from(sky(galaxy, *ring, levels=levels, seed=7, size=100))
    assert len(places(scene)) == 1
    said = [r.getMessage() for r in caplog.records if "stand out" in r.message]
    assert len(said) == 1 and "errors of the models" in said[0] and "arcsec" in said[0]


def test_a_small_offset_of_an_image_is_found():
    source = bj.Point("p", x=1.0, y=2.0)
    images = sky(source, bands="gr", levels={"p": dict.fromkeys("gr", point_flux(2000.0))}, seed=8, size=40)
    images[0] = images[0].shifted(0.02, -0.03)
    scene = bj.scene_from(images)
    assert places(scene).keys() == {"object 1"} and any(isinstance(c, bj.Shift) for c in scene.components)
    best = scene.fit(progress=False)
    assert best.values["shift.x[g]"] == pytest.approx(-0.02, abs=0.003) and best.values["shift.y[g]"] == pytest.approx(0.03, abs=0.003)
    assert not any(isinstance(c, bj.Shift) for c in bj.scene_from(images, corrections=()).components)


def test_fluxes_may_be_any_or_positive():
    images = sky(bj.Point("p", x=1.0, y=2.0), levels={"p": {"r": point_flux(30.0)}})

    def prior(**options):
        scene = bj.scene_from(images, rounds=1, **options)
        return next(type(s.prior).__name__ for s in scene.layout.sites if s.spec.unit == "flux")

    assert (prior(), prior(flux="positive"), prior(flux="any")) == ("LogNormal", "LogNormal", "Normal")
    with pytest.warns(DeprecationWarning, match="flux='any'"):
        assert prior(positive=False) == "Normal"
    for wrong in ({"flux": "some"}, {"rounds": 0}, {"rounds": True}, {"corrections": "all"}):
        with pytest.raises(ValueError, match="must be"):
            bj.scene_from(images, **wrong)


# -- segmentation maps and catalogues -------------------------------------------------------------------------------------------------
def test_segments_in_the_mask(caplog):
    """One in sight, one of which half is masked, one that is masked wholly, one where nothing stands out."""
    a, b, c = (bj.Point(n, x=x, y=y) for n, x, y in (("a", 8.0, 8.0), ("b", -8.0, 8.0), ("c", 8.0, -8.0)))
    (im,) = sky(a, b, c, levels={key: {"r": point_flux(60.0)} for key in "abc"})
    segments = np.zeros(im.shape, int)
    pixels = {}
    for label, (x, y) in {17: (8, 8), 4: (-8, 8), 30: (8, -8), 99: (-8, -8)}.items():
        px, py = (round(v) for v in Frame(None).to_pixel(im.placement, x, y))
        pixels[label] = px, py
        segments[py - 3 : py + 4, px - 3 : px + 4] = label
    mask = np.zeros(im.shape, bool)
    px, py = pixels[4]
    mask[py - 3 : py + 4, px + 1 : px + 4] = True
    px, py = pixels[30]
    mask[py - 5 : py + 6, px - 5 : px + 6] = True
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        scene = bj.scene_from(im.replace(mask=mask), segments)
    found = places(scene)
    assert found.keys() == {"object 17", "object 4", "object 99"}
    assert np.hypot(found["object 17"][1][0] - 8, found["object 17"][1][1] - 8) < 0.5
    assert np.hypot(found["object 4"][1][0] + 8, found["object 4"][1][1] - 8) < 1.0
    assert any("Segment 30 lies wholly in the mask" in r.getMessage() for r in caplog.records)
    with pytest.raises(ValueError, match="must have the shape"):
        bj.scene_from(im, segments[1:])


def test_objects_have_the_names_of_the_catalogue():
    images = sky(bj.Point("a", x=8.0, y=8.0), levels={"a": {"r": point_flux(60.0)}})
    where = {"x": [14.0, 40.0], "y": [46.0, 20.0]}
    for given, names in (({"id": [12, 7]}, ["object 12", "object 7"]), ({"name": ["NGC 1", "b"]}, ["NGC 1", "b"]), ({}, ["object 1", "object 2"])):
        assert list(places(bj.scene_from(images, catalog=Table({**given, **where})))) == names
    with pytest.raises(ValueError, match="unique"):
        object_names(Table({"id": [1, 1]}))
    with pytest.raises(ValueError, match="short text"):
        object_names(Table({"id": ["a/b"]}))


def test_places_of_a_catalogue_in_any_unit():
    w = WCS(naxis=2)
    w.wcs.ctype, w.wcs.crval, w.wcs.crpix, w.wcs.cdelt = ("RA---TAN", "DEC--TAN"), (150.0, 2.0), (30.5, 30.5), (-SCALE / 3600, SCALE / 3600)
    im = bj.Image(np.zeros((SIZE, SIZE)), sigma=1.0, wcs=w)
    frame = Frame(SkyCoord(150, 2, unit="deg"))
    here = [(3.0, 4.0), (-2.0, 1.0)]
    at = [frame.sky(*p) for p in here]
    ra, dec = (np.array([getattr(p, k).deg for p in at]) for k in ("ra", "dec"))
    for table in (
        Table({"RA": ra, "DEC": dec}),
        QTable({"ra": (ra * u.deg).to(u.arcsec), "dec": dec * u.deg}),
        Table({"ra": ra / 15, "dec": dec}, units={"ra": u.hourangle}),
    ):
        assert np.allclose(object_places(table, im, frame), here, atol=1e-6)
    hidden = Table({"ra": MaskedColumn(ra, mask=[True, False]), "dec": dec})
    assert np.isnan(object_places(hidden, im, frame)[0]).all()
    with pytest.raises(ValueError, match="ra and dec"):
        object_places(Table({"alpha": ra}), im, frame)


def test_shapes_of_a_catalogue():
    table = Table({"x": [1.0, 2.0, 3.0], "y": [0.0] * 3, "re": [2.0, 0.0, np.nan], "n": [4.0, 1.0, 1.0]})
    table["re"].unit = u.arcmin / 60
    shapes = object_shapes(table, {"r_eff": "re"})
    assert shapes[0] == pytest.approx({"r_eff": 2.0, "n": 4.0, "q": 1.0, "pa": 0.0}) and shapes[1:] == [None, None]
    assert object_shapes(table, None) == [None] * 3 == object_shapes(table, False)
    with pytest.raises(ValueError, match="which it has not"):
        object_shapes(table, {"r_eff": "size"})
    with pytest.raises(ValueError, match="above 0"):
        object_shapes(Table({"r_eff": [1.0], "n": [-1.0]}), None)
    with pytest.raises(ValueError, match="a row for each"):
        object_shapes(table, Table({"r_eff": [1.0]}))


# -- forced photometry ------------------------------------------------------------------------------------------------------------------
CATALOGUE = Table(
    {
        "id": [5, 3, 9, 1, 2, 8],
        "x": [20.0, 23.0, 45.0, 10.0, 70.0, 45.3],
        "y": [20.0, 22.0, 40.0, 45.0, 30.0, 40.2],
        "r_eff": [1.5, 0.0, 2.5, 0.0, 0.0, 0.0],
        "n": [2.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        "q": [0.6, 1.0, 0.4, 1.0, 1.0, 1.0],
        "pa": [30.0, 0.0, 120.0, 0.0, 0.0, 0.0],
    }
)


def fields(seed, size=SIZE):
    """Two images of one band and one of another, with the objects of `CATALOGUE`."""
    images = [blank("r", name="r1"), blank("r", name="r2"), blank("z")]
    components = []
    for row in CATALOGUE[CATALOGUE["x"] < SIZE]:
        x, y = (float(v) for v in Frame(None).to_sky(images[0].placement, row["x"], row["y"]))
        shape = {k: float(row[k]) for k in ("n", "r_eff", "q", "pa")}
        name = f"s{row['id']}"
        components.append(bj.Sersic(name, x=x, y=y, **shape) if row["r_eff"] > 0 else bj.Point(name, x=x, y=y))
    scene = bj.Scene([*components, bj.Sky()], images)
    values = dict.fromkeys(scene.names, 0.3) | {"s5.flux[r]": 4e4, "s3.flux[r]": 1e4, "s9.flux[r]": 6e4, "s1.flux[r]": 0.0, "s8.flux[r]": 2e3}
    values |= {k.replace("[r]", "[z]"): 0.5 * v for k, v in values.items() if "flux" in k}
    return scene, values, scene.simulate(values, seed)


def test_forced_fluxes_are_those_of_a_fit_with_everything_held():
    scene, _, images = fields(1)
    table = bj.forced(images, CATALOGUE)
    best = scene.with_images(images).fit(progress=False)
    assert list(table["name"]) == [f"object {k}" for k in CATALOGUE["id"]] and np.array_equal(table["x"], CATALOGUE["x"])
    for row in table:
        name = f"s{row['name'].split()[1]}"
        if name == "s2":
            continue
        for band in "rz":
            value, error = best.values[f"{name}.flux[{band}]"], best.errors[f"{name}.flux[{band}]"]
            assert row[f"flux_{band}"].unit == u.nJy
            assert abs(row[f"flux_{band}"].value - value) < 0.03 * error and row[f"flux_{band}_err"].value == pytest.approx(error, rel=0.02)


def test_forced_fluxes_scatter_about_the_truth_by_their_errors():
    scores, (scene, values, _) = [], fields(0)
    for seed in range(4):
        table = bj.forced(scene.simulate(values, seed), CATALOGUE)
        known = table["name"] != "object 2"
        for band in "rz":
            true = np.array([values[f"s{k}.flux[{band}]"] for k in CATALOGUE["id"][known]])
            scores.append((table[f"flux_{band}"][known].value - true) / table[f"flux_{band}_err"][known].value)
    scores = np.array(scores)
    assert np.abs(scores.mean(0)).max() < 3 / np.sqrt(len(scores)) and 0.7 < scores.std() < 1.3


def test_forced_flags():
    _, _, images = fields(1)
    mask = np.zeros(images[0].shape, bool)
    mask[41:50, 6:15] = True
    table = bj.forced([im.replace(mask=mask) for im in images], CATALOGUE)
    flags = dict(zip(table["name"], table["flags"], strict=True))
    assert flags["object 5"] == flags["object 3"] == flags["object 9"] == ""
    assert flags["object 1"] == "masked[r], masked[z]" and flags["object 2"] == "outside[r], outside[z]"
    assert np.isnan(table["flux_r"][4]) and np.isfinite(table["flux_r"][:3]).all()
    twins = Table({"x": [20.0, 20.02], "y": [20.0, 20.0]})
    assert list(bj.forced(images[:1], twins)["flags"]) == ["blended[r] with object 2", "blended[r] with object 1"]
    with pytest.raises(ValueError, match="at least one image"):
        bj.forced([], CATALOGUE)


def test_forced_in_patches_is_forced_as_a_whole(monkeypatch):
    _, _, images = fields(2)
    flat = bj.Sky(level=0.3)
    whole = bj.forced(images, CATALOGUE, sky=flat)
    monkeypatch.setattr(forced_module, "PATCH_SOURCES", 2)
    parts = bj.forced(images, CATALOGUE, sky=flat)
    for band in "rz":
        error = whole[f"flux_{band}_err"].value[:4]
        off = (parts[f"flux_{band}"].value - whole[f"flux_{band}"].value)[:4] / error
        assert np.abs(off).max() < 0.5 and np.allclose(parts[f"flux_{band}_err"].value[:4], error, rtol=0.1)


def test_forced_noise_that_is_not_as_stated_is_said(caplog):
    _, _, images = fields(3)
    with caplog.at_level(logging.WARNING, "bayesjoint"):
        bj.forced(images, CATALOGUE)
        assert not caplog.records
        table = bj.forced([im.replace(sigma=0.5) for im in images], CATALOGUE)
    assert any("Noise on the scale of the PSF" in r.getMessage() for r in caplog.records)
    assert all(1.5 < v < 2.5 for v in table.meta["noise"].values())
