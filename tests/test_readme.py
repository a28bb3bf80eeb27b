"""The README's code runs by copy and paste, on the files that the demo leaves."""

import re

import pytest
from conftest import ROOT

from bayesjoint.examples import three_bands


@pytest.mark.slow
def test_every_block_of_python_in_the_readme_runs(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 3
    for im in three_bands()[0]:
        im.write(tmp_path / f"{im.name}.fits")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        shorter = block.replace("draws=1000, chains=4", "draws=100, chains=2")  # the same calls, fewer draws
        exec(compile(shorter, "README.md", "exec"), names)
    assert {"galaxy.ecsv", "galaxy.nc", "corner.png"} <= {p.name for p in tmp_path.iterdir()}


def test_the_page_of_profiles_is_what_the_tables_say():
    path = ROOT / "docs" / "make_profiles.py"
    names = {"__name__": "make_profiles"}
    exec(compile(path.read_text(), path.name, "exec"), names)
    assert (ROOT / "docs" / "profiles.md").read_text() == names["text"]()
