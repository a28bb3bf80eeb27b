"""The command line: results, and one sentence on bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from conftest import small_scene

import bayesjoint as bj
from bayesjoint.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    for im in small_scene().images:
        im.write(folder / f"{im.name}.fits")
    return [str(folder / "g.fits"), str(folder / "i.fits")]


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


def test_info_says_what_a_file_is_taken_for(files, capsys):
    assert main(["info", *files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    images = [bj.Image.read(f) for f in files]
    assert [f["shape"] for f in found] == [list(im.shape) for im in images] and found[0]["zeropoint_ab"] == images[0].zeropoint
    assert found[1]["psf_fwhm_arcsec"] == pytest.approx(images[1].psf.fwhm * images[1].pixel_scale)
    assert main(["info", files[0]]) == 0
    assert "pixel_scale_arcsec" in capsys.readouterr().out


BAD = {
    "missing file": (lambda d, f: ["fit", str(d / "none.fits")], "no file"),
    "empty file": (lambda d, f: ["fit", str(d / "empty.fits")], "empty"),
    "not FITS": (lambda d, f: ["fit", str(d / "text.fits")], "FITS"),
    "no noise": (lambda d, f: ["fit", str(d / "plain.fits")], "no noise"),
    "unknown model": (lambda d, f: ["fit", *f, "--model", "spiral"], "sersic"),
    "bands": (lambda d, f: ["fit", *f, "--bands", "g"], "--bands"),
    "same file twice": (lambda d, f: ["fit", f[0], f[0]], "Two images are named"),
    "no run": (lambda d, f: ["report", str(d)], "holds no run.yaml"),
    "draws": (lambda d, f: ["fit", *f, "--draws", "0", "--sampler", "laplace"], "draws"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_status_2_and_one_sentence(files, tmp_path, capsys, arguments, says):
    (tmp_path / "empty.fits").write_bytes(b"")
    (tmp_path / "text.fits").write_text("this is no FITS file" * 200)
    fits.PrimaryHDU(np.ones((9, 9))).writeto(tmp_path / "plain.fits")
    assert main([*arguments(tmp_path, files), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert says in error[-1] and error[-1].startswith("bayesjoint: ") and "Traceback" not in "".join(error)


def test_chains_run_from_an_unguarded_script_and_from_standard_input(files):
    script = f"import bayesjoint as bj\nims = [bj.Image.read(f) for f in {files!r}]\npost = bj.Scene([bj.Sersic('galaxy'), bj.Sky()], ims).fit(progress=False).nuts(draws=6, warmup=4, chains=2, seed=1, progress=False)\nprint(post.theta.shape)\n"
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, timeout=300)
    assert "(2, 6, 10)" in done.stdout, done.stderr[-2000:]
