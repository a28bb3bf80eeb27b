"""The command line: results, and one sentence on bad input."""

import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import termios

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import QTable
from conftest import small_scene

import bayesjoint as bj
from bayesjoint.cli import main

LAPLACE = ("--sampler", "laplace", "--draws", "60")
HAND = """
bayesjoint: scene
version: 1
components:
- type: Sersic
  name: galaxy
  parameters:
    n: {prior: {LogNormal: {loc: 0.7, scale: 0.5}}}
- {type: Point, name: agn, parameters: {x: {shared: galaxy.x}, y: {shared: galaxy.y}}}
- {type: Sky, name: sky}
values: {galaxy.n: 1.4}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    for im in small_scene().images:
        im.write(folder / f"{im.name}.fits")
    return [str(folder / "g.fits"), str(folder / "i.fits")]


@pytest.fixture(scope="module")
def sampled(files, tmp_path_factory):
    """A run with draws."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["fit", *files, *LAPLACE, "--quiet", "--out", str(out)]) == 0
    return out


def said(capsys):
    """The one JSON object of standard output, and that nothing else stands there."""
    return json.loads(capsys.readouterr().out, parse_constant=lambda token: pytest.fail(f"{token} is no JSON"))


@pytest.mark.parametrize(("sampler", "model"), [("laplace", "sersic+sky"), ("none", "sersic+point+plane"), ("nuts", "sersic+sky")])
def test_fit_writes_what_it_promises(files, tmp_path, capsys, sampler, model):
    out = tmp_path / "run"
    assert main(["fit", *files, "--model", model, "--sampler", sampler, "--draws", "60", "--warmup", "30", "--chains", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "galaxy.r_eff" in printed and "Converged" in printed
    wanted = {"table.ecsv", "scene.yaml", "run.yaml", "residuals.png"} | ({"posterior.nc", "corner.png"} if sampler != "none" else set())
    assert wanted == {p.name for p in out.iterdir()} and all(p.stat().st_size > 100 for p in out.iterdir())
    assert QTable.read(out / "table.ecsv")["flux_g"][0].value > 0
    scene = bj.Scene.load(out / "scene.yaml", images=[bj.Image.read(f) for f in files])
    assert "galaxy.n" in scene.names
    if sampler != "none":
        assert bj.load(out / "posterior.nc").theta.shape[1] == 60
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert all(n in page for n in scene.names) and f"bayesjoint fit {files[0]}" in page


@pytest.mark.parametrize("disc", ["exponential", "sersic"])
def test_bulge_and_disc_keep_their_labels(disc, tmp_path, capsys):
    from bayesjoint.examples import bulge_disc

    images, truth = bulge_disc(seed=2)
    paths = [str(tmp_path / f"{im.name}.fits") for im in images[1:3]]
    for im, path in zip(images[1:3], paths, strict=True):
        im.write(path)
    assert main(["fit", *paths, "--model", f"sersic+{disc}+sky", "--sampler", "none", "--json", "--out", str(tmp_path / "run")]) == 0
    found = said(capsys)
    value = {k: v["value"] for k, v in found["parameters"].items()}
    assert found["converged"] and value["disc.r_eff"] > 2 * value["bulge.r_eff"]
    assert value["bulge.n"] > 1.5 > value.get("disc.n", 1.0)
    for band in "ri":
        share = value[f"bulge.flux[{band}]"] / (value[f"bulge.flux[{band}]"] + value[f"disc.flux[{band}]"])
        true = truth[f"bulge.flux[{band}]"] / (truth[f"bulge.flux[{band}]"] + truth[f"disc.flux[{band}]"])
        assert abs(share - true) < 0.08
    assert main(["report", str(tmp_path / "run"), "--quiet"]) == 0
    page, ra = (tmp_path / "run" / "report.html").read_text(), QTable.read(tmp_path / "run" / "table.ecsv")["ra"].value
    assert all(f"<td>{x:.6f}</td>" in page for x in ra) and "<td>mu_eff_r</td>" in page


def test_a_stopped_run_goes_on_from_its_checkpoint(files, tmp_path):
    again = ["fit", *files, "--chains", "2", "--quiet", "--out", str(tmp_path / "run"), "--overwrite", "--checkpoint", str(tmp_path / "chains")]
    assert main([*again, "--draws", "20"]) == 0
    first = bj.load(tmp_path / "run" / "posterior.nc").theta
    assert main([*again, "--draws", "40"]) == 0
    more = bj.load(tmp_path / "run" / "posterior.nc").theta
    assert more.shape[1] == 40 and np.array_equal(more[:, :20], first)


def test_json_of_a_fit_and_its_report_are_for_scripts(files, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["fit", *files, *LAPLACE, "--zeropoint", "22.5,28", "--out", str(out), "--json"]) == 0
    found = said(capsys)
    post = bj.load(out / "posterior.nc")
    assert found["fit"]["converged"] and found["fit"]["dof"] > 2000 and abs(found["fit"]["chi2"] / found["fit"]["dof"] - 1) < 0.1
    assert found["posterior"]["sampler"] == "laplace" and found["posterior"]["draws"] == 60 and isinstance(found["reasons"], list)
    assert {*post.names, "galaxy.mag[g]"} <= set(found["parameters"])
    one = found["parameters"]["galaxy.r_eff"]
    assert one["unit"] == "arcsec" and abs(one["value"] - 1.6) < 4 * one["error"] and one["q5"] < one["q50"] < one["q95"]
    assert all(pathlib.Path(f).is_file() for f in found["files"]) and len(found["files"]) == 6
    assert main(["report", str(out), "--json"]) == 0
    again = said(capsys)
    assert again["files"] == [str(out / "report.html")] and again["parameters"]["galaxy.n"]["q50"] == found["parameters"]["galaxy.n"]["q50"]


def test_no_nan_is_printed_as_json(capsys):
    from bayesjoint.cli.summary import say

    say({"a": float("nan"), "b": [np.float64(np.inf), np.int64(3)], "c": {"d": pathlib.Path("x"), "e": np.bool_(True)}})
    assert said(capsys) == {"a": None, "b": [None, 3], "c": {"d": "x", "e": True}}


def test_demo_leaves_images_and_the_truth_and_may_be_made_again(tmp_path, capsys):
    out = tmp_path / "demo"
    for _ in range(2):
        assert main(["demo", "--sampler", "none", "--out", str(out), "--json", "--quiet"]) == 0
        found = said(capsys)
    assert {"r.fits", "W1.fits", "NUV.fits", "run.yaml"} <= {p.name for p in out.iterdir()}
    far = [k for k, v in found["truth"].items() if abs(found["parameters"][k]["value"] - v) > 4 * found["parameters"][k]["error"]]
    assert not far and found["posterior"] is None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "r.fits").write_text("my own")
    assert main(["demo", "--sampler", "none", "--out", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / "r.fits").read_text() == "my own" and "--overwrite" in capsys.readouterr().err


def test_results_are_replaced_only_when_asked_and_then_wholly(files, sampled, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(sampled, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert main(["fit", *files, "--sampler", "none", "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err and before == {p.name: p.read_bytes() for p in out.iterdir()}
    (out / "notes.txt").write_text("mine")
    assert main(["plot", str(out), "--what", "history", "--quiet"]) == 0
    assert main(["fit", *files, "--sampler", "none", "--out", str(out), "--overwrite", "--quiet"]) == 0
    assert {p.name for p in out.rglob("*") if p.is_file()} == {"table.ecsv", "scene.yaml", "run.yaml", "residuals.png", "notes.txt"}


def test_strict_is_a_status_of_its_own(files, tmp_path, monkeypatch):
    arguments = ["fit", *files, "--sampler", "laplace", "--draws", "20", "--quiet", "--out"]
    monkeypatch.setattr("bayesjoint.posterior.Posterior.converged", property(lambda self: False))
    assert main([*arguments, str(tmp_path / "bad")]) == 0 and main([*arguments, str(tmp_path / "worse"), "--strict"]) == 3
    assert main(["fit", *files, "--sampler", "none", "--quiet", "--strict", "--out", str(tmp_path / "good")]) == 0


def test_a_fit_that_has_not_converged_is_written_and_not_sampled(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bayesjoint.infer.fit.Fit.converged", property(lambda self: False, lambda self, value: None), raising=False)
    arguments, written = ["fit", *files, "--draws", "10", "--json", "--out"], {"table.ecsv", "scene.yaml", "run.yaml", "residuals.png"}
    for sampler in ("none", "nuts", "laplace"):
        out = tmp_path / sampler
        assert main([*arguments, str(out), "--sampler", sampler]) == 3
        answer = said(capsys)
        assert {f.name for f in out.iterdir()} == written and answer["posterior"] is None and not answer["converged"]
        assert ("not_sampled" in answer) == (sampler != "none")
    assert "--force" in answer["not_sampled"] and "must have converged" in answer["not_sampled"]
    assert main([*arguments, str(tmp_path / "forced"), "--sampler", "laplace", "--force"]) == 3
    assert said(capsys)["posterior"]["draws"] == 10 and (tmp_path / "forced" / "posterior.nc").exists()


# -- scenes ------------------------------------------------------------------------------------------------------------


def test_a_saved_scene_is_fitted_from_where_it_ended_on_the_images_of_its_run(sampled, tmp_path, capsys):
    assert main(["fit", "--scene", str(sampled / "scene.yaml"), "--sampler", "none", "--out", str(tmp_path / "again"), "--json"]) == 0
    found, first = said(capsys), yaml.safe_load((sampled / "scene.yaml").read_text())
    assert found["parameters"]["galaxy.n"]["value"] == pytest.approx(first["values"]["galaxy.n"], abs=1e-3)
    history = yaml.safe_load((tmp_path / "again" / "run.yaml").read_text())["history"]
    assert len(history) <= 3 and history[0]["chi2"] == pytest.approx(first["fit"]["chi2"], rel=1e-6)


def test_a_scene_made_by_hand_is_fitted(files, tmp_path, capsys):
    (tmp_path / "agn.yaml").write_text(HAND)
    assert main(["fit", "--scene", str(tmp_path / "agn.yaml"), *files, "--sampler", "none", "--out", str(tmp_path / "run"), "--json"]) == 0
    found = said(capsys)["parameters"]
    assert {"agn.flux[g]", "galaxy.flux[i]"} <= set(found) and "agn.x" not in found
    assert "LogNormal(0.7, 0.5) (given)" in bj.Scene.load(tmp_path / "agn.yaml", [bj.Image.read(f) for f in files]).describe()
    # a run.yaml by hand, its files named from where it lies
    for f in files:
        shutil.copy(f, tmp_path)
    (tmp_path / "run.yaml").write_text("images:\n- {file: g.fits, psf: null}\n- {file: i.fits, band: I}\n")
    assert main(["fit", "--scene", str(tmp_path / "agn.yaml"), "--sampler", "none", "--out", str(tmp_path / "two"), "--json"]) == 0
    assert "agn.flux[I]" in said(capsys)["parameters"]


def test_a_saved_scene_serves_for_other_images_and_components_without_what_knew_the_old(files, sampled, tmp_path, capsys):
    saved = yaml.safe_load((sampled / "scene.yaml").read_text())
    other = [im.replace(data=im.data + 0.3 * im.typical_sigma) for im in map(bj.Image.read, files)]
    for im in other:
        im.write(tmp_path / f"{im.name}.fits")
    paths, arguments = [str(tmp_path / f"{im.name}.fits") for im in other], ["--sampler", "none", "--json", "--out"]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({k: v for k, v in saved.items() if k not in ("images", "plan")}))
    assert main(["fit", "--scene", str(tmp_path / "s.yaml"), *paths, *arguments, str(tmp_path / "one")]) == 0
    moved = said(capsys)["parameters"]["sky.level[g]"]["value"] - saved["values"]["sky.level[g]"]
    assert moved == pytest.approx(0.3 * other[0].typical_sigma, rel=1e-3)
    saved["components"].append({"type": "Point", "name": "star", "position": [2.0, 2.0]})
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({k: v for k, v in saved.items() if k not in ("plan", "priors", "start", "values")}))
    assert main(["fit", "--scene", str(tmp_path / "s.yaml"), *files, *arguments, str(tmp_path / "two")]) == 0
    assert "star.flux[i]" in said(capsys)["parameters"]


HOSTILE = {
    "code": ("!!python/object/apply:os.system ['touch {0}/owned']", "cannot be read as YAML"),
    "a module": ("bayesjoint: !!python/module:os", "cannot be read as YAML"),
    "a list": ("- 1\n- 2", "to hold a mapping"),
    "another version": ("bayesjoint: scene\nversion: 99", "no scene written by this version"),
    "no components": ("bayesjoint: scene\nversion: 1", "there is no 'components'"),
    "components that are none": ("bayesjoint: scene\nversion: 1\ncomponents: 3", "not as scene.save writes it"),
    "an unknown type": ("bayesjoint: scene\nversion: 1\ncomponents: [{{type: os.system, name: g}}]", "is not known"),
    "an unknown prior": (HAND.replace("LogNormal", "eval").replace("{", "{{").replace("}", "}}"), "is not known"),
    "a prior's argument": (HAND.replace("loc: 0.7", "loc: '__import__'").replace("{", "{{").replace("}", "}}"), "one number"),
    "an unknown value": (HAND.replace("galaxy.n: 1.4", "galaxy.e: 1.4").replace("{", "{{").replace("}", "}}"), "no 'galaxy.e'"),
    "values that are none": (HAND.replace("{galaxy.n: 1.4}", "7").replace("{", "{{").replace("}", "}}"), "'values' must be a mapping"),
    "no text": ("\x00\x01", "cannot be read as YAML"),
}


@pytest.mark.parametrize(("text", "says"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_scene_is_refused_and_nothing_run(files, tmp_path, capsys, text, says):
    (tmp_path / "scene.yaml").write_text(text.format(tmp_path))
    assert main(["fit", "--scene", str(tmp_path / "scene.yaml"), *files, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert says in error[-1] and error[-1].startswith("bayesjoint: ") and "Traceback" not in "".join(error)
    assert not (tmp_path / "owned").exists() and not list(tmp_path.glob("run/*"))


# -- pictures, files ---------------------------------------------------------------------------------------------------


def test_plot_draws_what_there_is_without_sampling(sampled, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bayesjoint.infer.climb.fit", lambda *a, **k: pytest.fail("there are draws: no fit is needed"))
    kinds = ["panels", "image", "components", "profile", "sed", "corner", "trace", "rank"]
    out = tmp_path / "pictures"
    assert main(["plot", str(sampled), "--what", *kinds, "--out", str(out), "--dpi", "40", "--json"]) == 0
    files = [pathlib.Path(f) for f in said(capsys)["files"]]
    names = {"panels", "image_g", "image_i", "components_g", "components_i", "profile", "sed", "corner", "trace", "rank"}
    assert names == {f.stem for f in files} == {f.stem for f in out.iterdir()} and all(f.stat().st_size > 1000 for f in files)
    one = tmp_path / "c.pdf"
    assert main(["plot", str(sampled), "--what", "corner", "--parameter", "galaxy.q", "galaxy.n", "--out", str(one)]) == 0
    assert one.read_bytes().startswith(b"%PDF") and capsys.readouterr().out.strip() == str(one)


def test_a_fit_without_draws_has_its_own_history_and_pictures(files, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["fit", *files, "--sampler", "none", "--quiet", "--out", str(out)]) == 0
    assert main(["plot", str(out), "--dpi", "40", "--format", "svg"]) == 0
    names = {p.name for p in (out / "plots").iterdir()}
    assert {"panels.svg", "profile.svg", "sed.svg", "history.svg"} <= names and not {"corner.svg", "colour.svg", "trace.svg"} & names
    from bayesjoint.cli.folder import Folder

    made = Folder(out)
    assert len(made.best.history) == len(yaml.safe_load((out / "run.yaml").read_text())["history"]) > 3
    assert main(["plot", str(out), "--what", "corner"]) == 2 and "holds no draws" in capsys.readouterr().err


def test_info_says_what_a_file_is_taken_for(files, capsys):
    assert main(["info", *files, "--json"]) == 0
    found = said(capsys)["images"]
    images = [bj.Image.read(f) for f in files]
    assert [f["shape"] for f in found] == [list(im.shape) for im in images] and found[0]["zeropoint_ab"] == images[0].zeropoint
    assert found[1]["psf_fwhm_arcsec"] == pytest.approx(images[1].psf.fwhm * images[1].pixel_scale)
    assert main(["info", files[0]]) == 0
    assert "pixel_scale_arcsec" in capsys.readouterr().out


@pytest.fixture()
def bare(tmp_path):
    """A file of pixels alone."""
    y, x = np.mgrid[-20:21, -20:21]
    data = 100 * np.exp(-np.hypot(x, y) / 3) + np.random.default_rng(1).normal(0, 1, x.shape)
    fits.PrimaryHDU(data).writeto(tmp_path / "bare.fits")
    return str(tmp_path / "bare.fits")


def test_info_lists_all_that_is_missing_and_what_supplies_it(bare, files, tmp_path, capsys):
    assert main(["info", bare, files[0], "--json"]) == 0
    found, whole = said(capsys)["images"]
    assert {m["what"]: m["needed"] for m in found["missing"]} == {"noise": True, "WCS": True, "PSF": False, "zeropoint": False, "mask": False}
    assert found["sigma"] is None and found["pixel_scale_arcsec"] is None and found["shape"] == [41, 41]
    assert not {"noise", "WCS", "mask"} & {m["what"] for m in whole["missing"]}
    assert main(["info", bare]) == 0
    printed = capsys.readouterr().out
    assert all(option in printed for option in ("--estimate-noise", "--pixel-scale", "--zeropoint"))
    assert main(["info", str(tmp_path / "none.fits")]) == 2


def test_fit_names_its_options_where_something_is_missing_and_says_what_it_went_without(bare, tmp_path, capsys):
    arguments = ["fit", bare, "--sampler", "none", "--out", str(tmp_path / "run")]
    assert main(arguments) == 2 and "--estimate-noise" in capsys.readouterr().err
    assert main([*arguments, "--estimate-noise"]) == 2 and "--pixel-scale" in capsys.readouterr().err
    arguments += ["--estimate-noise", "--pixel-scale", "0.2"]
    assert main([*arguments, "--psf", "moffat"]) == 2 and "no PSF whose width" in capsys.readouterr().err
    assert main(arguments) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert "PSF" in first and "zeropoint" in first and "image units" in first and "bare" in first


def test_warnings_begin_with_the_file_and_a_moffat_takes_a_bad_psf_s_place(files, tmp_path, caplog):
    from bayesjoint.cli.files import read
    from bayesjoint.cli.folder import Folder

    good = bj.Image.read(files[0])
    array = np.array(good.psf.array)
    array[:2] -= 0.1 * array.sum() / array[:2].size  # a tenth of the light
    path, out = str(tmp_path / "bad.fits"), tmp_path / "run"
    good.replace(psf=bj.PSF(array, oversampling=good.psf.oversampling)).write(path)
    caplog.clear()
    (bad,) = read([{"file": path}])
    told = [r.getMessage() for r in caplog.records]
    assert told and all(t.startswith(f"{path}: The PSF") for t in told) and any("--psf moffat" in t for t in told)
    caplog.clear()
    assert main(["fit", path, "--psf", "moffat:3.5", "--sampler", "none", "--quiet", "--out", str(out)]) == 0
    assert not any("The PSF" in r.getMessage() for r in caplog.records)
    (made,) = Folder(out).scene.images  # as report and plot take it up again
    assert made.psf.array.min() >= 0 and made.psf.fwhm == pytest.approx(bad.psf.fwhm, rel=0.02)
    wings = [read([{"file": path, "psf": f"moffat:{b}"}])[0].psf.array for b in (1.5, 6.0)]
    assert wings[0][0, 0] > 10 * wings[1][0, 0]


def test_a_companion_whose_name_holds_what_options_mean_is_a_file(files, tmp_path, capsys):
    for name in ("a=b.fits", "a,b.fits", "none.fits", "[x].fits"):
        path = tmp_path / name
        fits.PrimaryHDU(np.full(bj.Image.read(files[0]).shape, 0.5)).writeto(path)
        assert main(["info", files[0], "--sigma", str(path), "--json"]) == 0
        assert said(capsys)["images"][0]["sigma"] == 0.5


def test_a_report_tells_the_run_s_own_end_and_sources(sampled):
    assert main(["report", str(sampled), "--quiet"]) == 0
    page, run = (sampled / "report.html").read_text(), yaml.safe_load((sampled / "run.yaml").read_text())
    assert run["fit"]["verdict"] in page and len(run["history"]) > 3 and "after 0 iterations" not in page
    table = QTable.read(sampled / "table.ecsv")
    follow = [c for c in table.colnames if c.startswith(("mag_", "mu_eff", "r_eff_circ")) and not c.endswith("_err")]
    assert len(follow) >= 5 and all(f"<td>{c}</td>" in page for c in follow)
    assert "<dd></dd>" not in page


# -- bad input ---------------------------------------------------------------------------------------------------------

BAD = {
    "missing file": (lambda d, f: ["fit", str(d / "none.fits")], "no file"),
    "empty file": (lambda d, f: ["fit", str(d / "empty.fits")], "empty"),
    "not FITS": (lambda d, f: ["fit", str(d / "text.fits")], "FITS"),
    "no noise": (lambda d, f: ["fit", str(d / "plain.fits")], "no noise"),
    "unknown model": (lambda d, f: ["fit", *f, "--model", "spiral"], "sersic"),
    "bands": (lambda d, f: ["fit", *f, "--bands", "g"], "--bands"),
    "zeropoints": (lambda d, f: ["fit", *f, "--zeropoint", "22,23,24"], "--zeropoint must name one a file"),
    "a zeropoint in words": (lambda d, f: ["fit", *f, "--zeropoint", "AB"], "--zeropoint must be numbers"),
    "a zeropoint that is nan": (lambda d, f: ["fit", *f, "--zeropoint", "nan"], "--zeropoint must be numbers; got 'nan'"),
    "no bits": (lambda d, f: ["fit", *f, "--bad-bits", ","], "--bad-bits must name planes"),
    "samples without a PSF": (lambda d, f: ["fit", *f, "--psf", "none", "--psf-oversampling", "4"], "--psf-oversampling must come with"),
    "no samples": (lambda d, f: ["fit", *f, "--psf-oversampling", "0"], "--psf-oversampling must be positive"),
    "noise of no sign": (lambda d, f: ["fit", *f, "--sigma", "-1"], "sigma must be positive; it is negative"),
    "a variance as a sigma": (lambda d, f: ["fit", *f, "--sigma", f"{f[0]}[VAR]"], "Give it as --variance"),
    "names that clash": (lambda d, f: ["fit", *f, "--names", "a,a"], "name of its own with --names"),
    "a psf": (lambda d, f: ["fit", *f, "--psf", "gauss"], "--psf must be"),
    "a moffat that is none": (lambda d, f: ["fit", *f, "--psf", "moffat:0.5"], "above 1"),
    "same file twice": (lambda d, f: ["fit", f[0], f[0]], "Two images are named"),
    "no run": (lambda d, f: ["report", str(d)], "holds no run.yaml"),
    "no run to plot": (lambda d, f: ["plot", str(d)], "holds no run.yaml"),
    "draws": (lambda d, f: ["fit", *f, "--draws", "0", "--sampler", "laplace"], "draws"),
    "checkpoint": (lambda d, f: ["fit", *f, "--checkpoint", str(d), "--sampler", "laplace"], "--checkpoint is for"),
    "nothing to fit": (lambda d, f: ["fit"], "nothing to fit"),
    "no scene": (lambda d, f: ["fit", *f, "--scene", str(d / "none.yaml")], "no file"),
    "scene and model": (lambda d, f: ["fit", *f, "--scene", "s.yaml", "--model", "sersic"], "--model and --scene"),
    "a scene alone": (lambda d, f: ["fit", "--scene", str(d / "scene.yaml")], "no run.yaml beside"),
    "a scene of other images": (lambda d, f: ["fit", "--scene", str(d / "saved.yaml"), f[0]], "made on 2 images"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_status_2_and_one_sentence(files, sampled, tmp_path, capsys, arguments, says):
    (tmp_path / "empty.fits").write_bytes(b"")
    (tmp_path / "text.fits").write_text("this is no FITS file" * 200)
    (tmp_path / "scene.yaml").write_text(HAND)
    shutil.copy(sampled / "scene.yaml", tmp_path / "saved.yaml")
    fits.PrimaryHDU(np.ones((9, 9))).writeto(tmp_path / "plain.fits")
    out = tmp_path / ("page.html" if "report" in arguments(tmp_path, files) else "run")
    assert main([*arguments(tmp_path, files), "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert says in error[-1] and error[-1].startswith("bayesjoint: ") and "Traceback" not in "".join(error)
    assert not out.exists()


@pytest.mark.parametrize(("arguments", "says"), [
    (["report", "--out", "r.fits"], "to be an HTML file"),
    (["plot", "--what", "panels", "--out", "r.fits"], "is to end in .png"),
    (["plot", "--what", "image", "--out", "r.png"], "2 pictures do not go into one file (image_g, image_i)"),
    (["plot", "--what", "profile", "--source", "galxy"], "Did you mean 'galaxy'"),
    (["plot", "--what", "image", "--image", "z"], "no image 'z'"),
    (["plot", "--what", "trace", "--parameter", "galaxy.flux[g]"], "all their bands"),
    (["plot", "--what", "colour"], "three images"),
    (["plot", "--what", "light_curve"], "no flux by image"),
    (["plot", "--dpi", "0"], "--dpi"),
])  # fmt: skip
def test_pictures_and_pages_that_cannot_be_say_why(sampled, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.fits").write_text("data")
    assert main([arguments[0], str(sampled), *arguments[1:]]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1] and (tmp_path / "r.fits").read_text() == "data"


@pytest.mark.parametrize("text", ["images: 3", "images: [g.fits]", "images: [{file: 7}]", "!!python/name:os.system", "images: []", "4"])
def test_a_run_yaml_that_is_none_is_refused(sampled, tmp_path, capsys, text):
    shutil.copy(sampled / "scene.yaml", tmp_path)
    (tmp_path / "run.yaml").write_text(text)
    for arguments in (
        ["report", str(tmp_path)],
        ["plot", str(tmp_path)],
        ["fit", "--scene", str(tmp_path / "scene.yaml"), "--out", str(tmp_path / "o")],
    ):
        assert main(arguments) == 2
        assert str(tmp_path / "run.yaml") in capsys.readouterr().err.splitlines()[-1]


# -- the process ---------------------------------------------------------------------------------------------------------


def bayesjoint(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "bayesjoint", *arguments], capture_output=True, text=True, timeout=300, **options)


def test_help_teaches_and_waits_for_no_torch():
    code = "import sys\nfrom bayesjoint.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit as e: assert not e.code\nassert not {'torch', 'astropy', 'numpy', 'matplotlib'} & set(sys.modules), 'imported'"
    for command in ("demo", "fit", "plot", "report", "info", None):
        done = subprocess.run([sys.executable, "-c", code, *filter(None, [command]), "--help"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "examples:\n  bayesjoint" in done.stdout, done.stderr
        assert command is None or "--json" in done.stdout
    version = bayesjoint("--version")
    assert version.stdout.strip() == bj.__version__
    assert bayesjoint("fit", "--sampler", "magic").returncode == 2


def test_the_package_s_names_come_in_whole_at_their_first_use():
    code = "import sys, bayesjoint as bj\nassert 'torch' not in sys.modules\nbj.Image\nassert 'bayesjoint.infer.climb' in sys.modules and 'pandas' not in sys.modules\nassert set(dir(bj)) == set(bj.__all__) and all(hasattr(bj, n) for n in bj.__all__) and bj.sky.Sersic is bj.Sersic\nfrom bayesjoint import *\nassert Scene is bj.Scene and not hasattr(bj, 'nothing')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_pipe_has_no_progress_and_a_terminal_has(files, tmp_path):
    arguments = ["fit", *files, "--sampler", "nuts", "--draws", "9", "--warmup", "4", "--chains", "1", "--json", "--out"]
    done = bayesjoint(*arguments, str(tmp_path / "pipe"))
    assert done.returncode == 0 and not json.loads(done.stdout)["converged"]
    assert not [c for c in ("\r", "%|", "it/s", "\x1b") if c in done.stdout + done.stderr]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen([sys.executable, "-m", "bayesjoint", *arguments, str(tmp_path / "tty")], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and json.loads(printed)["posterior"]["draws"] == 9 and b"NUTS" in shown and b"\r" in shown


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_and_choices():
    script = bayesjoint("--print-completion", "bash").stdout
    ask = """
        source /dev/stdin <<< "$SCRIPT"
        complete() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shtab_bayesjoint; echo "${{COMPREPLY[@]}}"; }}
        {0}
    """
    asked = 'complete bayesjoint ""; complete bayesjoint fit --sc; complete bayesjoint plot run --what c'
    done = subprocess.run(["bash", "-c", ask.format(asked).replace("{{", "{").replace("}}", "}")], env={**os.environ, "SCRIPT": script}, capture_output=True, text=True, timeout=60)  # fmt: skip
    commands, option, kinds = done.stdout.splitlines()
    assert {"demo", "fit", "plot", "report", "info"} <= set(commands.split()) and option.split() == ["--scene"], done.stderr
    assert set(kinds.split()) == {"components", "colour", "corner"}


def test_chains_run_from_an_unguarded_script_and_from_standard_input(files):
    script = f"import bayesjoint as bj\nims = [bj.Image.read(f) for f in {files!r}]\npost = bj.Scene([bj.Sersic('galaxy'), bj.Sky()], ims).fit(progress=False).nuts(draws=6, warmup=4, chains=2, seed=1, progress=False)\nprint(post.theta.shape)\n"
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, timeout=300)
    assert "(2, 6, 10)" in done.stdout, done.stderr[-2000:]
