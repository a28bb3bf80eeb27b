"""The pages of the documentation: each has an example, and every block runs by copy and paste."""

import re

import pytest
from conftest import ROOT

from bayesjoint.examples import three_bands

DOCS = ROOT / "docs"
PAGES = sorted(str(p.relative_to(DOCS)) for folder in (DOCS, DOCS / "howto") for p in folder.glob("*.md"))
LISTS = {"howto.md", "tutorials.md"}
"""Pages that only lead to others."""


def blocks(text, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `bayesjoint demo` leaves."""
    made = tmp_path_factory.mktemp("demo")
    for im in three_bands()[0]:
        im.write(made / f"{im.name}.fits")
    return made


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_an_example(page):
    text = (DOCS / page).read_text()
    if page in LISTS:
        assert "{toctree}" in text
    else:
        assert blocks(text) or (page == "cli.md" and blocks(text, "sh"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks((DOCS / p).read_text())])
def test_every_block_runs(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    for block in blocks((DOCS / page).read_text()):
        exec(compile(block.replace("simulations=200", "simulations=12"), page, "exec"), names)


@pytest.mark.parametrize("page", [*(f"docs/{p}" for p in PAGES), "README.md", "CONTRIBUTING.md"])
def test_no_link_leads_nowhere(page):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", re.sub(r"```.*?```|`[^`]*`", "", (ROOT / page).read_text(), flags=re.S)):
        if "://" not in link:
            folder = ROOT if link.startswith("tutorials/") else (ROOT / page).parent  # pages find the notebooks beside them once they are built
            assert folder.joinpath(link).exists(), link


def test_every_page_stands_in_a_list():
    listed = set()
    for page in (*LISTS, "index.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / page).read_text(), re.S):
            listed |= {f"{line.split('<')[-1].strip('<> ')}.md" for line in tree.splitlines() if line and not line.startswith(":")}
    assert {p for p in PAGES if p != "index.md"} <= listed


def cells(text):
    """Rows of the first table in a text, each its cells."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text[text.index("\n|") :].strip().split("\n\n")[0].splitlines()]
    return [rows[0], *rows[2:]]


def test_the_comparison_measures_what_the_benchmarks_do():
    """Number by number, each in its row and column."""
    page, said = (DOCS / "benchmarks.md").read_text(), (DOCS / "comparison.md").read_text().split("## Measured")[1]

    def lm(title, column):
        rows = cells(page.split(title)[1])
        return [next(r for r in rows if r[0] == code)[rows[0].index(column)].split()[0] for code in ("AstroPhot", "ours")]

    def gal1(row):
        return next(r for r in cells(page.split("(HSC, gal1): NUTS")[1]) if r[0] == row)[1:3]

    leda, first = "(sim/leda): automatic start and LM", "first in its process, s"
    measured = [
        lm(leda, first), lm(leda, "again, s"), lm(leda, "farthest from the truth / error"), lm("(sim/group): automatic", first),
        lm("(sim/supernova): automatic", first), gal1("images to the maximum, s"), gal1("again in its process, s"), gal1("bulk ESS / s"),
        gal1("the same without warm-up"),
    ]  # fmt: skip
    written = [re.findall(r"\d+\.\d+", " ".join(row[1:])) for row in cells(said)[1:]]
    assert written == measured, "docs/benchmarks.md was made anew: take its figures over into docs/comparison.md"
    day = re.search(r"sampling.py .* on (\d{4}-\d\d-\d\d)", page).group(1)
    assert f"by `make bench` on {day}" in said


def test_a_profile_is_added_as_the_guide_says():
    names = {"__name__": "guide"}
    found = blocks((ROOT / "CONTRIBUTING.md").read_text())
    assert len(found) == 3
    for block in found:
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
