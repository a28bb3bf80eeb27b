"""Tutorials: each notebook is its script (`make docs` runs them)."""

import pytest
from conftest import ROOT

SCRIPTS = sorted((ROOT / "tutorials").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_is_its_script(script):
    path = ROOT / "docs" / "make_notebooks.py"
    names = {"__name__": "make_notebooks", "__file__": str(path)}
    exec(compile(path.read_text(), path.name, "exec"), names)
    assert script.with_suffix(".ipynb").read_text() == names["text"](script), "make notebooks"


def test_every_notebook_has_a_script():
    assert {p.stem for p in (ROOT / "tutorials").glob("*.ipynb")} == {p.stem for p in SCRIPTS} != set()
