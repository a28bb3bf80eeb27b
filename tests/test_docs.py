"""The pages of the documentation: every block runs by copy and paste, and every public name says what it is."""

import inspect
import re

import pytest
from conftest import ROOT

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.examples import three_bands

PAGES = sorted(p.name for p in (ROOT / "docs").glob("*.md") if "```python" in p.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `bayesjoint demo` leaves."""
    made = tmp_path_factory.mktemp("demo")
    for im in three_bands()[0]:
        im.write(made / f"{im.name}.fits")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S):
        exec(compile(block.replace("simulations=200", "simulations=12"), page, "exec"), names)


def public():
    for room in (bj, plots):
        for name in room.__all__:
            yield f"{room.__name__}.{name}", getattr(room, name)


@pytest.mark.parametrize(("name", "thing"), list(public()), ids=lambda v: v if isinstance(v, str) else "")
def test_every_public_name_has_a_docstring(name, thing):
    assert inspect.getdoc(thing), name
    if inspect.isclass(thing):
        bare = [n for n, m in vars(thing).items() if not n.startswith("_") and callable(m) and not inspect.getdoc(m)]
        assert not bare, f"{name}: {bare}"
    elif inspect.isfunction(thing):
        said = inspect.getdoc(thing)
        unsaid = [p for p in inspect.signature(thing).parameters if p not in said]
        assert not unsaid, f"{name}: {unsaid}"


def test_a_profile_is_added_as_the_guide_says():
    names = {"__name__": "guide"}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
