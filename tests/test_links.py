"""How parameters are given: priors of every kind, starts, links and held values, and what becomes of them further down."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
import yaml
from conftest import TRUTH

import bayesjoint as bj


def galaxy(scene, **params):
    return bj.Scene([bj.Sersic("galaxy", **params), bj.Sky()], scene.images)


FLUXES = {
    "Uniform": dist.Uniform(0.0, 1e6),
    "HalfNormal": dist.HalfNormal(1e6),
    "Exponential": dist.Exponential(1e-5),
    "Gamma": dist.Gamma(2.0, 1e-5),
    "HalfCauchy": dist.HalfCauchy(1e5),
}


@pytest.mark.parametrize("prior", FLUXES.values(), ids=FLUXES.keys())
def test_a_flux_with_a_positive_prior_is_fitted(prior, scene, best):
    made = galaxy(scene, flux=prior)
    fit = made.fit(progress=False)
    assert fit.converged and abs(fit.values["galaxy.flux[g]"] - best.values["galaxy.flux[g]"]) < best.errors["galaxy.flux[g]"]


def test_uniform_priors_are_described_saved_and_loaded(scene, tmp_path):
    made = galaxy(scene, n=dist.Uniform(0.5, 8.0), q=dist.Beta(2.0, 2.0))
    assert "Uniform(0.5, 8) (given)" in made.describe()
    made.save(tmp_path / "s.yaml")
    again, z = bj.Scene.load(tmp_path / "s.yaml", scene.images), made.unconstrain(made.start)
    assert float(again.log_density(z)) == float(made.log_density(z))
    text = (tmp_path / "s.yaml").read_text()
    (tmp_path / "w.yaml").write_text(text.replace("low:", "lowest:"))
    with pytest.raises(ValueError, match="does not take the arguments"):
        bj.Scene.load(tmp_path / "w.yaml", scene.images)


def test_a_bounded_prior_in_single_precision(scene, best):
    single = bj.Scene(
        [bj.Sersic("galaxy", n=dist.Uniform(0.5, 8.0), pa=dist.Uniform(0.0, 180.0), x=dist.Uniform(-5.0, 5.0)), bj.Sky()],
        scene.images,
        dtype=torch.float32,
    )
    fit = single.fit({"galaxy.x": 0.0}, progress=False)
    assert fit.converged and abs(fit.values["galaxy.n"] - best.values["galaxy.n"]) < best.errors["galaxy.n"]


def test_a_start_is_used_or_refused(scene):
    for start in ({"galaxy.q": 1.2}, {"galaxy.n": -1.0}):
        with pytest.raises(ValueError, match="must be within its prior"):
            scene.fit(start, progress=False)
    with pytest.raises(ValueError, match="must be within its prior"):
        galaxy(scene, n=bj.Param(prior=dist.Uniform(0.5, 8.0), start=9.0)).fit(progress=False)
    with_band = scene.fit({"galaxy.flux[g]": 1e6, "galaxy.flux[i]": 1e6}, max_iterations=1, progress=False)
    for_all = scene.fit({"galaxy.flux": 1e6}, max_iterations=1, progress=False)
    assert for_all.history[0]["chi2"] == with_band.history[0]["chi2"]


def test_an_angle_whose_prior_lies_beyond_180_begins_inside_it(scene):
    made = galaxy(scene, pa=dist.Uniform(190.0, 250.0))
    assert made.start["galaxy.pa"] % 180 == pytest.approx(scene.start["galaxy.pa"], abs=1e-6) and made.start["galaxy.pa"] > 190


CASES = {
    "a negative index": ({"n": -1.0}, "no meaning"),
    "an axis ratio above 1": ({"q": 1.5}, "at most 1"),
    "a size of nothing": ({"r_eff": 0.0}, "no meaning"),
    "a prior of axis ratios above 1": ({"q": dist.LogNormal(0.0, 1.0)}, "above 1"),
    "a prior that begins below nothing": ({"n": dist.Uniform(-0.5, 4.0)}, "negative"),
    "a prior without width": ({"x": dist.Delta(torch.tensor(0.0))}, "continuous"),
}


@pytest.mark.parametrize(("params", "words"), CASES.values(), ids=CASES.keys())
def test_the_impossible_is_refused(params, words, scene):
    with pytest.raises(ValueError, match=words):
        galaxy(scene, **params)


def test_links_join_parameters_of_one_unit(scene):
    one = bj.Sersic("one")
    with pytest.raises(ValueError, match="one unit"):
        bj.Scene([one, bj.Sersic("two", r_eff=one.n)], scene.images)


def test_a_subset_takes_over_what_was_shared_with_those_left_away(scene):
    old = bj.Sersic("old", bands=["i"], n=dist.Uniform(0.5, 8.0), position=(0.3, -0.2))
    new = bj.Sersic("new", bands=["g"], x=old.x, y=old.y, q=old.q, pa=old.pa, n=old.n)
    dot = bj.Point("dot", bands=["g"], x=new.x, y=old.y)
    whole = bj.Scene([old, new, dot, bj.Sky()], scene.images)
    part = whole.fixed({"old.pa": 35.0}, ["old.pa"]).subset(images=["g"])
    assert part.names == ("new.x", "new.y", "new.q", "new.n", "new.r_eff", "new.flux[g]", "dot.flux[g]", "sky.level[g]")
    assert part.layout.fixed == {"new.pa": 35.0} and isinstance(part.layout.sites[3].prior, dist.Uniform)
    assert new.params["x"].component is old and whole.subset(images=["i"]).names[0] == "old.x"
    assert part.start["new.x"] == pytest.approx(0.3, abs=0.2)


def test_what_is_held_in_each_band_stays_apart_in_tables(scene):
    made = galaxy(scene, r_eff=bj.Param(per="band"))
    values = {**TRUTH, "galaxy.r_eff[g]": 1.4, "galaxy.r_eff[i]": 1.9}
    values.pop("galaxy.r_eff")
    held = made.fixed(values, ["galaxy.r_eff"])
    table = held.fit(progress=False).table()
    assert table["r_eff_g"][0].value == 1.4 and table["r_eff_i"][0].value == 1.9
    assert table["r_eff_circ_i"][0].value == pytest.approx(1.9 * np.sqrt(table["q"][0]))


def test_held_again_and_free_again(scene):
    once = scene.fixed(TRUTH, ["galaxy.n"])
    twice = once.fixed({**TRUTH, "galaxy.n": 2.5}, ["galaxy.n", "galaxy.q"])
    assert twice.layout.fixed == {"galaxy.n": 2.5, "galaxy.q": TRUTH["galaxy.q"]}
    assert once.free(["galaxy.flux"]).names == once.names
    with pytest.raises(ValueError, match="by its component"):
        galaxy(scene, n=1.0).free(["galaxy.n"])


def test_nothing_free(scene):
    held = scene.fixed(TRUTH, scene.names)
    fit = held.fit(progress=False)
    assert fit.converged and fit.names == () and len(fit.table()) == 1
    assert fit.log_density == pytest.approx(float(held.log_density(fit.z)))
    with pytest.raises(ValueError, match="nothing to sample"):
        fit.laplace(10)


def test_priors_of_a_loaded_scene_stay_frozen(scene, tmp_path):
    path = tmp_path / "s.yaml"
    scene.save(path)
    document = yaml.safe_load(path.read_text())
    document["priors"]["galaxy.n"] = {"LogNormal": {"loc": 1.5, "scale": 0.01}}
    path.write_text(yaml.safe_dump(document))
    loaded = bj.Scene.load(path, scene.images)
    for made in (loaded, loaded.fixed(TRUTH, ["galaxy.x"]), loaded.replanned(loaded.start)):
        assert float(made.layout.sites[made.names.index("galaxy.n")].prior.loc) == 1.5


def test_a_scene_is_not_loaded_on_images_that_lie_or_count_otherwise(scene, tmp_path):
    scene.save(tmp_path / "s.yaml")
    g, i = scene.images
    with pytest.raises(ValueError, match="zeropoint"):
        bj.Scene.load(tmp_path / "s.yaml", [g.replace(zeropoint=30.0), i])
    with pytest.raises(ValueError, match="lies 1 arcsec"):
        bj.Scene.load(tmp_path / "s.yaml", [g.shifted(1.0, 0.0), i])


def test_bands_from_an_array_are_saved(scene, tmp_path):
    made = bj.Scene([bj.Sersic("galaxy", bands=np.array(["g"])), bj.Sky(order=np.int64(1))], scene.images)
    made.save(tmp_path / "s.yaml")
    assert bj.Scene.load(tmp_path / "s.yaml", scene.images).names == made.names


def test_a_corner_of_too_few_draws_says_so(best):
    with pytest.raises(ValueError, match="more draws"):
        best.laplace(5, seed=1).corner()


def test_a_file_with_some_priors_is_a_new_scene_and_an_unknown_one_is_refused(scene, tmp_path):
    path = tmp_path / "s.yaml"
    scene.save(path)
    document = yaml.safe_load(path.read_text())
    document["priors"] = {"galaxy.n": {"LogNormal": {"loc": 1.5, "scale": 0.01}}}
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match=r"has a plan and no prior for 'galaxy.x'"):
        bj.Scene.load(path, scene.images)
    del document["plan"]
    path.write_text(yaml.safe_dump(document))
    made = bj.Scene.load(path, scene.images)
    assert made.names == scene.names and float(made.layout.sites[made.names.index("galaxy.n")].prior.loc) == 1.5
    document["priors"]["galaxy.e"] = {"Normal": {"loc": 0.0, "scale": 1.0}}
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match=r"a prior for 'galaxy.e', which is no free parameter"):
        bj.Scene.load(path, scene.images)


def test_a_file_is_not_blamed_for_what_the_caller_gave(scene, tmp_path):
    scene.save(tmp_path / "s.yaml")
    with pytest.raises(TypeError, match=r"A scene's images are to be bayesjoint.Image, and str came"):
        bj.Scene.load(tmp_path / "s.yaml", ["a.fits"])
    document = {"bayesjoint": "scene", "version": 1, "images": [{"name": "r"}], "components": [{"type": "Sersic", "name": "galaxy"}]}
    (tmp_path / "hand.yaml").write_text(yaml.safe_dump(document))
    nameless = bj.Image(scene.images[0].data, sigma=1.0, pixel_scale=0.3, band="r")
    assert bj.Scene.load(tmp_path / "hand.yaml", [nameless]).images[0].name == "r"
    with pytest.raises(ValueError, match=r"None of the images given is named 'r': there are i"):
        bj.Scene.load(tmp_path / "hand.yaml", [nameless.replace(band="i")])
