"""The report: one page that needs nothing else, and that a browser shows without a word of complaint."""

import html
import re
import shutil
import subprocess

import pytest
from conftest import small_scene

import bayesjoint as bj
from bayesjoint.report import report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """
<script>
const said = [];
addEventListener("error", e => said.push(e.message));
addEventListener("load", () => {
  const column = (t, k) => [...t.tBodies[0].rows].map(r => r.cells[k].textContent.trim());
  const table = document.querySelectorAll("table.sortable")[1], head = table.tHead.rows[0].cells[1].firstElementChild;
  head.click(); const up = column(table, 1).join("|"); head.click(); const down = column(table, 1).join("|");
  document.querySelector("button.zoom").click(); const open = document.querySelector("dialog").open;
  document.querySelector("dialog").click();
  const d = document.documentElement;
  document.body.dataset.probe = JSON.stringify({said, up, down, open, closed: !document.querySelector("dialog").open, wide: d.scrollWidth > d.clientWidth,
    broken: [...document.images].filter(i => !i.naturalWidth).length, images: document.images.length});
});
</script>
"""


@pytest.fixture(scope="module")
def best():
    return small_scene().fit(progress=False)


@pytest.fixture(scope="module")
def page(best):
    return report(best.laplace(draws=200, seed=1), fit=best, command="bayesjoint fit a.fits 'b c.fits'")


def test_it_names_all_and_asks_for_nothing(best, page):
    text = html.unescape(page)
    assert all(n in text for n in best.names) and all(im.name in text for im in best.scene.images)
    assert best.verdict in text and all(r in text for r in best.remarks) and "bayesjoint fit a.fits 'b c.fits'" in text
    assert not re.search(r"""(src|href)="(?!data:)|url\(|@import|https?://(?!www.w3.org)""", page)
    assert page.count("<img") == page.count("data:image/png") >= 5


def test_a_fit_has_a_page_too_and_names_cannot_run_in_it(tmp_path):
    images = [im.replace(name=f"<script>alert({k})</script>"[:30].replace("/", "")) for k, im in enumerate(small_scene().images)]
    best = bj.Scene([bj.Point("a<b>"), bj.Sky()], images).fit(progress=False)
    best.report(tmp_path / "fit.html", command="<b>")
    text = (tmp_path / "fit.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert(0)" in text and "a&lt;b&gt;" in text


def test_a_posterior_from_a_file_has_its_tables(best, tmp_path):
    post = best.laplace(draws=200, seed=1)
    post.save(tmp_path / "post.nc")
    bj.load(tmp_path / "post.nc").report(tmp_path / "post.html")
    text = (tmp_path / "post.html").read_text()
    assert "galaxy.r_eff" in text and "Data, model, residuals" not in text and "Posterior" in text


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium (Debian's package chromium)")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it(page, tmp_path, width):
    """No error, tables sort, pictures open and close, and nothing is wider than the window."""
    (tmp_path / "page.html").write_text(page.replace("</head>", PROBE + "</head>"), encoding="utf-8")
    # a window of Chromium's is at least 500 wide: the page is looked at through a frame
    (tmp_path / "frame.html").write_text(
        f"""<iframe id=f src=page.html style="width:{width}px;height:800px;border:0"></iframe>
<script>onload = () => document.body.dataset.probe = document.getElementById("f").contentDocument.body.dataset.probe</script>"""
    )
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", f"file://{tmp_path / 'frame.html'}"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stdout[:2000]
    import json

    probe = json.loads(html.unescape(found.group(1)))
    assert not probe["said"] and probe["open"] and probe["closed"] and not probe["wide"] and not probe["broken"] and probe["images"] >= 5, probe
    assert probe["up"].split("|") == probe["down"].split("|")[::-1] and probe["up"] != probe["down"]
