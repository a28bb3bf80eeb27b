"""What the command line writes, takes up again and takes away, where names and links are unusual."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from astropy.table import QTable
from conftest import small_scene

import bayesjoint as bj
from bayesjoint.cli import main
from bayesjoint.cli.folder import Folder, claim, clear
from bayesjoint.cli.pictures import figures

LINKED = """
bayesjoint: scene
version: 1
components:
- type: Sersic
  name: galaxy
  parameters:
    pa: {polynomial: 1}
    n: {value: 1.5}
- {type: Sky, name: sky}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two images whose bands have dots in their names, wavelengths, and a galaxy whose angle is nearly 0."""
    folder, scene = tmp_path_factory.mktemp("cli"), small_scene()
    values = dict.fromkeys(scene.names, 0.0) | {
        "galaxy.q": 0.5, "galaxy.pa": 179.8, "galaxy.n": 1.5, "galaxy.r_eff": 1.6, "galaxy.x": 0.3, "galaxy.y": -0.2, "galaxy.flux[g]": 2e5, "galaxy.flux[i]": 3e5
    }  # fmt: skip
    for im, wavelength in zip(scene.simulate(values, 3), (0.48, 0.77), strict=True):
        im.replace(band=f"{im.band}.v2", wavelength=wavelength).write(folder / f"{im.name}.fits")
    return [str(folder / f"{im.name}.fits") for im in scene.images]


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """A run with draws, of a scene whose angle follows from others."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "linked.yaml").write_text(LINKED)
    out = folder / "run"
    arguments = ["--sampler", "laplace", "--draws", "150", "--out", str(out), "--quiet"]
    assert main(["fit", "--scene", str(folder / "linked.yaml"), *files, *arguments]) == 0
    return out


def test_a_link_s_angle_is_summed_up_on_the_circle(run, capsys):
    assert main(["report", str(run), "--json", "--quiet"]) == 0
    found, table = json.loads(capsys.readouterr().out)["parameters"], QTable.read(run / "table.ecsv")
    angles = {n: row for n, row in found.items() if n.startswith("galaxy.pa[")}
    assert len(angles) == 2
    for n, row in angles.items():
        column = table[f"pa_{n[10:-1]}"][0].value
        assert row["unit"] == "deg" and row["sd"] < 5 and abs((row["mean"] - column + 90) % 180 - 90) < 1e-6
        assert abs((row["mean"] + 90) % 180 - 90) < 5 and all(abs((row[q] - row["mean"] + 90) % 180 - 90) < 4 * row["sd"] for q in ("q5", "q50", "q95"))
    fitted = Folder(run).best.table()
    assert all(0 < fitted[f"pa_{n[10:-1]}_err"][0].value < 5 for n in angles)


def test_the_corner_has_bands_with_dots_and_what_links_are_made_of(run):
    ((_, figure),) = figures(Folder(run), ["corner"])
    names = {t for t in (ax.get_title().split("\n")[0] for ax in figure.axes) if t}
    assert {"galaxy.flux[g.v2]", "galaxy.pa.c1", "galaxy.x"} <= names and not any(n.startswith("sky") for n in names)


def test_a_corner_of_what_follows_and_no_chains_of_it(run, capsys):
    post = Folder(run).post
    figure = post.corner(["galaxy.pa", "galaxy.q"])
    assert [t for t in (ax.get_title().split("\n")[0] for ax in figure.axes) if t] == [*post.derived, "galaxy.q"]
    assert main(["plot", str(run), "--what", "trace", "--parameter", post.derived[0]]) == 2
    assert "follows from other parameters" in capsys.readouterr().err


def test_pictures_of_others_stay(run, tmp_path):
    mine = ("profile_for_paper.pdf", "imagery.png", "rankings.svg", "keep.txt")
    (tmp_path / "plots").mkdir()
    for name in mine:
        (tmp_path / "plots" / name).write_text("mine")
    claim(tmp_path, False)
    clear(tmp_path)  # no run of ours: nothing to be taken away
    assert {p.name for p in (tmp_path / "plots").iterdir()} == set(mine)
    for name in ("run.yaml", "scene.yaml"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    for name in ("profile_galaxy.png", "panels.svg", "image_g.pdf"):
        (tmp_path / "plots" / name).write_text("ours")
    clear(tmp_path)
    assert {p.name for p in (tmp_path / "plots").iterdir()} == set(mine) and not (tmp_path / "run.yaml").exists()


def test_a_fit_that_goes_on_has_its_own_words(run, tmp_path):
    for name in ("run.yaml", "scene.yaml"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    old = Folder(tmp_path).best
    assert len(old.history) > 2 and "after 0" not in old.message
    saved = yaml.safe_load((tmp_path / "scene.yaml").read_text())
    saved["values"]["galaxy.r_eff"] *= 1.5
    (tmp_path / "scene.yaml").write_text(yaml.safe_dump(saved))
    told = yaml.safe_load((tmp_path / "run.yaml").read_text())
    told["fit"] |= {"converged": False, "verdict": "NOT converged after 2 iterations."}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(told))
    again = Folder(tmp_path).best
    assert again.converged and "NOT converged" not in again.message and again.values["galaxy.r_eff"] == pytest.approx(old.values["galaxy.r_eff"], rel=1e-3)


@pytest.mark.parametrize("option", [["--zeropoint", "25"], ["--pixel-scale", "0.3"], ["--bands", "r"], ["--psf", "none"], ["--zeropoint", "nonsense"]])
def test_options_for_files_are_refused_where_a_run_names_them(run, tmp_path, capsys, option):
    assert main(["fit", "--scene", str(run / "scene.yaml"), *option, "--out", str(tmp_path / "o")]) == 2
    assert option[0] in (error := capsys.readouterr().err) and "for files on the command line" in error and not (tmp_path / "o").exists()


def test_info_gives_no_width_in_arcsec_without_a_scale(tmp_path, capsys):
    from astropy.io import fits

    psf = bj.PSF.gaussian(4.0).array
    fits.HDUList([fits.PrimaryHDU(np.ones((60, 60))), fits.ImageHDU(psf, name="PSF")]).writeto(tmp_path / "f.fits")
    assert main(["info", str(tmp_path / "f.fits"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["images"]
    assert found["psf_fwhm_arcsec"] is None and found["pixel_scale_arcsec"] is None and found["shape"] == [60, 60]


def test_a_psf_larger_than_its_image_is_taken_and_its_width_by_a_moffat(tmp_path):
    from bayesjoint.cli.files import read

    image = bj.Image(np.zeros((61, 61)), sigma=1.0, pixel_scale=0.3, psf=bj.PSF.gaussian(4.0, radius=25.0))
    image.write(tmp_path / "f.fits")
    from astropy.io import fits

    with fits.open(tmp_path / "f.fits") as hdus:
        for h in hdus:
            if h.data is not None and h.name != "PSF":
                h.data = h.data[:31, :31]
        hdus.writeto(tmp_path / "small.fits")
    (whole,) = read([{"file": str(tmp_path / "small.fits")}])
    assert whole.psf.shape == image.psf.shape and whole.shape == (31, 31)
    (made,) = read([{"file": str(tmp_path / "small.fits"), "psf": "moffat"}])
    assert made.psf.fwhm == pytest.approx(image.psf.fwhm, rel=0.02)


def test_demo_replaces_a_run_that_cannot_be_read_where_it_may(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("!!python/name:os.system")
    arguments = ["demo", "--sampler", "none", "--quiet", "--out", str(tmp_path)]
    assert main(arguments) == 2 and "cannot be read" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_nobody_who_reads_is_no_error(files):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "bayesjoint", "info", files[0]], stdout=write, stderr=subprocess.PIPE, env=environment, timeout=300, check=False)
    os.close(write)
    assert done.returncode == 141 and not done.stderr, done.stderr
