"""The report in a real browser: what a reader sees, on a desk and on a phone."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geolatents.report.page import number
from tests.unit.report_data import build_report

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = 400

PROBE = """
<script>
addEventListener("load", () => {
  const root = document.documentElement, width = innerWidth;
  const held = element => element.closest(".scroll, .skip") !== null;
  const out = [...document.body.querySelectorAll("*")]
    .filter(element => !held(element) && element.getBoundingClientRect().right > width + 1)
    .map(element => element.tagName);
  const found = {
    width, scrollWidth: root.scrollWidth, out,
    broken: [...document.images].filter(image => image.naturalWidth === 0).length,
    images: document.images.length,
    requests: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script>
"""

HOST = """<!doctype html><title>host</title><body style="margin:0"><pre id="found">nothing</pre>
<script>addEventListener("message", event => document.getElementById("found").textContent = event.data)</script>
<iframe src="probed.html" style="border:0;width:{width}px;height:900px"></iframe></body>"""
"""A frame: the browser's own windows are never narrower than 500 pixels."""

FAULTS = """
<img alt="far" src="http://127.0.0.1:59999/far.png">
<img alt="broken" src="data:image/png;base64,AAAA">
<div style="width: 900px; background: url(https://example.invalid/back.png)">wide</div>
"""


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    """Runs the browser and returns what it writes to its standard output."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser on PATH; one of {', '.join(NAMES)} is needed")
    profile = tmp_path_factory.mktemp("profile")

    def run(page, *arguments):
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--virtual-time-budget=10000", *arguments, page.as_uri(),
        ]  # fmt: skip
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=True
        ).stdout

    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return root, build_report(root)[1]


def probe(chrome, folder, text, width):
    """What the page finds out about itself in a frame of the given width."""
    (folder / "probed.html").write_text(text.replace("</body>", PROBE + "</body>"))
    host = folder / "host.html"
    host.write_text(HOST.format(width=width))
    dom = chrome(host, "--dump-dom", "--window-size=1300,1000")
    found = json.loads(html.unescape(re.search('<pre id="found">(.*?)</pre>', dom)[1]))
    assert found["width"] == width
    return found


class Cells(HTMLParser):
    """Text of all cells of the page, and every address that it would load."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.addresses, self._in_cell = [], [], False
        self.addresses += re.findall(r"""(?:url\(|@import)\s*["']?([^"')]+)""", text)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in ("td", "th"):
            self._in_cell = True
            self.cells.append("")
        for key, value in attrs:
            if (
                key in ("src", "srcset", "data", "poster")
                or (key == "href" and tag != "a")
                or (key == "href" and not value.startswith("#"))
            ):
                self.addresses.append(value)

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.cells[-1] += data

    @property
    def foreign(self):
        return [address for address in self.addresses if not address.startswith(("data:", "#"))]


def is_blank(screenshot):
    """Whether a picture has next to nothing on its background."""
    pixels = np.asarray(Image.open(screenshot).convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return len(colours) < 20 or counts.max() > 0.99 * len(pixels)


@pytest.mark.parametrize("width", [1200, PHONE])
def test_nothing_sticks_out_and_every_image_shows(chrome, report, tmp_path, width):
    found = probe(chrome, tmp_path, report[1].read_text(), width)
    assert found["scrollWidth"] <= width
    assert found["out"] == []
    assert found["broken"] == 0
    assert found["images"] >= 10
    assert found["requests"] == []


def test_the_probe_finds_faults(chrome, report, tmp_path):
    """The other tests can fail: the same page with faults is found out."""
    text = report[1].read_text().replace("</main>", FAULTS + "</main>")
    found = probe(chrome, tmp_path, text, PHONE)
    assert found["scrollWidth"] >= 900
    assert "DIV" in found["out"]
    assert found["broken"] == 2
    assert any("far.png" in request for request in found["requests"])
    assert Cells(text).foreign == ["https://example.invalid/back.png",
                                   "http://127.0.0.1:59999/far.png"]  # fmt: skip


def test_the_summary_is_in_the_page_and_nothing_is_foreign(chrome, report):
    root, page = report
    dom = Cells(chrome(page, "--dump-dom"))
    assert dom.foreign == []
    cells = [cell.strip() for cell in dom.cells]
    summary = pd.read_csv(root / "summary.csv")
    assert len(summary) == 2
    for row in summary.to_dict("records"):
        for key in ("test_macro_ap", "mantel_r", "train_phi_r", "partial_r", "siamese_mantel_r"):
            assert number(row[key]) in cells, key
    assert "classifier on other" in cells


@pytest.mark.parametrize("size", ["1200,1000", "500,1000"])
def test_the_screen_is_not_blank(chrome, report, tmp_path, size):
    picture = tmp_path / "page.png"
    chrome(report[1], f"--screenshot={picture}", f"--window-size={size}")
    assert Image.open(picture).size == tuple(map(int, size.split(",")))
    assert not is_blank(picture)
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><title>nothing</title>")
    chrome(empty, f"--screenshot={picture}", f"--window-size={size}")
    assert is_blank(picture)
