"""The page of the command line: its blocks run as they stand, one after another."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

import bayesjoint as bj


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_every_block_of_sh_runs(tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "cli.md").read_text(), re.S)
    assert len(blocks) == 9
    shorter = "\n".join(blocks).replace("--sampler laplace", "--sampler laplace --draws 60")
    script = f"set -eo pipefail\n{shorter}complete -p bayesjoint\n"
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert bj.load(tmp_path / "agn" / "posterior.nc").names.count("agn.flux[r]") == 1
    surveys = bj.load(tmp_path / "surveys" / "posterior.nc")
    assert {"zeropoint.offset[other_r]", "shift.x[other_r]", "shift.y[other_r]"} <= set(surveys.names)
    assert {"corner.png", "profile.png", "image_W1.png", "profile.svg", "image.svg"} <= {p.name for p in (tmp_path / "run" / "plots").iterdir()}
    assert (tmp_path / "corner.pdf").is_file() and (tmp_path / "galaxy.html").stat().st_size > 1e5 and "True" in done.stdout
