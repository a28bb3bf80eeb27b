"""Posterior: ArviZ groups, diagnostics, tables, plots, files."""

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.table import QTable
from conftest import small_scene

import bayesjoint as bj
from bayesjoint.posterior import arviz_seam as seam
from bayesjoint.posterior.tables import circular


@pytest.fixture(scope="module")
def post(best):
    return best.laplace(draws=400, seed=1)


def test_arviz_groups_dimensions_and_units(post):
    groups = seam.groups_of(post.arviz)
    assert {"posterior", "sample_stats", "log_likelihood", "observed_data"} <= set(groups)
    p = groups["posterior"]
    assert p["galaxy.flux"].dims == ("chain", "draw", "band") and list(p["band"].values) == ["g", "i"]
    assert p["sky.level"].dims == ("chain", "draw", "image") and p["galaxy.r_eff"].attrs["units"] == "arcsec"
    assert groups["log_likelihood"]["image_log_likelihood"].shape == (1, 400, 2)
    assert np.allclose(p["galaxy.flux"].sel(band="i").values.ravel(), post.draws("galaxy.flux[i]"))


def test_a_source_of_few_bands_is_never_padded(scene):
    made = bj.Scene([bj.Sersic("galaxy"), bj.Point("agn", bands=["i"], x=0.3, y=-0.2)], scene.images)
    p = seam.groups_of(made.fit(progress=False).laplace(draws=50, seed=1).arviz)["posterior"]
    assert p["agn.flux"].dims[2] == "band_agn" and p["agn.flux"].shape == (1, 50, 1)
    assert all(np.isfinite(v).all() for v in p.values())


def test_log_likelihood_is_that_of_the_draws(post):
    k = 7
    values = {n: post.theta[0, k, i] for i, n in enumerate(post.names)}
    ll = post.scene.log_likelihood(post.scene.unconstrain(values)).numpy()
    assert np.allclose(seam.groups_of(post.arviz)["log_likelihood"]["image_log_likelihood"].values[0, k], ll, rtol=1e-9)


def test_summary_and_table(post, best):
    s = post.summary()
    assert {"mean", "sd", "q5", "q50", "q95", "r_hat", "ess_bulk", "ess_tail", "unit", "flags"} == set(s.columns)
    assert {*post.names, "galaxy.mag[g]", "galaxy.mag[i]"} == set(s.index)
    assert abs(s.loc["galaxy.mag[g]", "mean"] - (31.4 - 2.5 * np.log10(best.values["galaxy.flux[g]"]))) < 0.02
    for t in (post.table(), best.table()):
        assert isinstance(t, QTable) and len(t) == 1 and t["r_eff"].unit == u.arcsec and t["mag_g"].unit == u.mag
        assert t["r_eff"].info.description and t["flux_i"].unit == u.nJy
        assert abs(t["r_eff_circ"][0].value - t["r_eff"][0].value * np.sqrt(t["q"][0])) < 0.01
        assert t["mag_g_err"][0].value == pytest.approx(1.0857 * (t["flux_g_err"][0] / t["flux_g"][0]).value, rel=0.2)


def test_derived_quantities_are_those_of_every_draw(post, best):
    """Colour and surface brightness with all their correlations; quantiles; at the fit's own values."""
    t = post.table(quantiles=[0.16, 0.84])
    g, i, r, q = (post.draws(f"galaxy.{k}") for k in ("flux[g]", "flux[i]", "r_eff", "q"))
    colour, mu = -2.5 * np.log10(g / i), 31.4 - 2.5 * np.log10(g) + 2.5 * np.log10(2 * np.pi * q * r**2)
    assert t["color_g_i_err"][0].value == pytest.approx(colour.std(), rel=1e-6) and t["mu_eff_g_err"][0].value == pytest.approx(mu.std(), rel=1e-6)
    assert t["color_g_i_err"][0] < np.hypot(t["mag_g_err"][0], t["mag_i_err"][0])  # they share the structure
    assert t["color_g_i_q16"][0].value == pytest.approx(np.quantile(colour, 0.16)) and t["mu_eff_g_q84"][0].value == pytest.approx(
        np.quantile(mu, 0.84)
    )
    assert t["pa_q16"][0] < t["pa"][0] < t["pa_q84"][0]
    fitted, v = best.table(), best.values
    assert fitted["color_g_i"][0].value == pytest.approx(-2.5 * np.log10(v["galaxy.flux[g]"] / v["galaxy.flux[i]"]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        post.table(quantiles=[16])


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_tables_go_to_files_and_back(post, tmp_path, suffix):
    table = post.table(quantiles=[0.16])
    table.write(tmp_path / f"t.{suffix}")
    back = QTable.read(tmp_path / f"t.{suffix}")
    assert back.colnames == table.colnames and back["flux_g"].unit == u.nJy and back["flux_g"].info.description
    assert all(np.array_equal(np.asarray(back[k]), np.asarray(table[k])) for k in table.colnames if k not in ("source", "type", "flags"))
    assert list(back["source"]) == list(table["source"]) and "the chains have not mixed" in back["flags"].info.description
    if suffix == "ecsv":  # FITS has no place for nested ones
        assert back.meta == table.meta


def test_flags_of_a_source_name_the_parameter(best):
    table = best.laplace(draws=50, seed=1).table()
    assert table["flags"][0].startswith("x: few draws; ") and "few draws" in table["flags"].info.description


def test_fractions_are_of_the_draws(scene):
    disc = bj.Sersic("disc")
    made = bj.Scene([disc, bj.Point("core", x=disc.x, y=disc.y), bj.Sky()], scene.images)
    post = made.fit(progress=False).laplace(draws=300, seed=1)
    table = post.fractions("core", "disc")
    for row in table:
        a, b = (post.draws(f"{k}.flux[{row['band']}]") for k in ("core", "disc"))
        assert row["core"] == pytest.approx((a / (a + b)).mean()) and row["core_err"] == pytest.approx((a / (a + b)).std())
        assert row["core"] + row["disc"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least two"):
        post.fractions("core")
    with pytest.raises(ValueError, match="no source 'bulge'"):
        post.fractions("core", "bulge")


def test_latex_holds_every_parameter(post, tmp_path):
    text = post.latex(tmp_path / "t.tex")
    assert (
        (tmp_path / "t.tex").read_text() == text
        and text.count("\\\\") == len(post.summary()) + 1
        and r"galaxy.r\_eff & $" in text
        and "±" not in text
    )


def test_angles_are_summarised_on_the_circle():
    rng = np.random.default_rng(0)
    mean, sd = circular((rng.normal(179.0, 4.0, 20000)) % 180)
    assert abs((mean - 179 + 90) % 180 - 90) < 0.2 and sd == pytest.approx(4.0, rel=0.05)


def test_diagnostics_refuse_comfort(best):
    short = best.nuts(draws=20, warmup=10, chains=2, seed=1, progress=False)
    assert not short.converged and any("effective" in r for r in short.reasons) and "NOT converged" in repr(short)


def test_save_and_load(post, tmp_path):
    post.save(tmp_path / "p.nc")
    again = bj.load(tmp_path / "p.nc")
    assert np.array_equal(again.theta, post.theta) and again.k_hat == pytest.approx(post.k_hat)
    assert again.summary().equals(post.summary()) and len(again.table()) == 1 and again.converged == post.converged
    again.corner(["galaxy.n", "galaxy.flux"])
    with pytest.raises(ValueError, match="no images"):
        again.plot()
    (tmp_path / "x.nc").write_bytes(b"not netCDF")
    with pytest.raises(OSError, match="netCDF"):
        bj.load(tmp_path / "x.nc")


def test_figures(post, best):
    assert len(best.plot().axes) >= 6 and len(post.plot().axes) >= 6
    assert len(post.corner().axes) == 64
    with pytest.raises(ValueError, match="no parameter"):
        post.corner(["galaxy.e"])


def test_scene_yaml_is_readable_complete_and_harmless(scene, best, tmp_path):
    import pyro.distributions as dist

    bulge = bj.Sersic("bulge", n=dist.LogNormal(1.0, 0.3), r_eff=bj.Param(start=0.7))
    made = bj.Scene(
        [bulge, bj.Sersic("disc", x=bulge.x, y=bulge.y, n=1.0), bj.Point("p", bands=["g"], position=(0.5, 0.5)), bj.Sky(order=1)], scene.images
    )
    for s in (made, made.fixed(made.start, ["disc.q"]), scene):
        s.save(tmp_path / "s.yaml")
        again = bj.Scene.load(tmp_path / "s.yaml", images=list(scene.images))
        z = s.unconstrain(s.start)
        assert again.names == s.names
        assert float(again.log_density(z)) == pytest.approx(float(s.log_density(z)), rel=1e-12)
    text = (tmp_path / "s.yaml").read_text()
    with pytest.raises(ValueError, match="None of the images"):
        bj.Scene.load(tmp_path / "s.yaml", images=[scene.images[0], scene.images[0]])
    for wrong in (
        "!!python/object/apply:os.system ['true']",
        "a: 1",
        text.replace("type: Sersic", "type: os.system"),
        text.replace("LogNormal", "Delta"),
    ):
        (tmp_path / "w.yaml").write_text(wrong)
        with pytest.raises(ValueError):
            bj.Scene.load(tmp_path / "w.yaml", images=list(scene.images))
    best.save(tmp_path / "fit.yaml")
    assert yaml.safe_load((tmp_path / "fit.yaml").read_text())["values"]["galaxy.n"] == pytest.approx(best.values["galaxy.n"])


def test_a_plan_too_coarse_for_the_draws_is_a_reason(scene, best):
    """Draws far out, where the galaxy is thinner than its taper serves: said with the image and the size of the error."""
    import dataclasses

    plans = {im: {s: dataclasses.replace(p, fine=0.3) for s, p in of.items()} for im, of in best.scene.plans.items()}
    coarse, values = best.scene.with_plans(plans), np.array([best.values[n] for n in best.names])
    for made, said in ((best.scene, False), (coarse, True)):
        ll = np.zeros((2, 300, len(scene.images)))
        theta = values * (1 + 1e-4 * np.random.default_rng(1).standard_normal((2, 300, values.size)))
        post = bj.Posterior.of(made, theta, ll, {"lp": ll[..., 0]}, {"sampler": "laplace", "k_hat": 0.1, "importance_ess": 500.0})
        assert any("too coarsely" in r for r in post.reasons) == said
        assert set(post.info["render_errors"]) == {im.name for im in scene.images}


def test_weighed_draws_have_no_flag_of_chains():
    best = small_scene().fit(progress=False)
    post = best.laplace(draws=60, seed=1)
    summary = post.summary()
    assert (summary["r_hat"] > 1.01).any() and not summary["flags"].str.contains("R-hat").any()
