import re
from html.parser import HTMLParser

import numpy as np
import pytest
from olr_data import build_results

from geolatents.report.page import embedded_map, number, quick_look, stretched, write_report
from geolatents.report.summary import summarise


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    entry = build_results(root)
    summarise([entry], root, root / "summary.csv")
    write_report([entry], root, root / "report" / "index.html", summary=root / "summary.csv")
    return root, (root / "report" / "index.html").read_text()


class Checker(HTMLParser):
    """Collects what matters for access, and whether tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.problems, self.tables = [], [], [], [], 0

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.tables += tag == "table"
        if tag == "img" and not attrs.get("alt"):
            self.problems.append("image without text")
        if tag == "th" and "scope" not in attrs:
            self.problems.append("header cell without scope")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"unbalanced {tag}")


def test_the_page_is_one_sound_document(results):
    checker = Checker()
    checker.feed(results[1])
    assert checker.problems == []
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert {link[1:] for link in checker.links} <= set(checker.ids)
    assert results[1].count("<caption>") == checker.tables
    assert results[1].startswith("<!doctype html>")
    assert '<html lang="en">' in results[1]


def test_the_page_needs_nothing_from_outside(results):
    html = results[1]
    assert not re.search(r'(src|href)="(?!data:image/png;base64,|#)', html)
    assert "<script" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_everything_is_on_the_page(results):
    html = results[1]
    for expected in (
        "partial Mantel r, given training phi",
        "ridge regression on noise",
        "labels shuffled",
        "tiles shuffled per label",
        "reliability of phi",
        "all absent",
        "random forest" if "random forest" in html else "prevalence",
        "Class with a rather long name 7",
        "Applied to other",
        "5 readings",
        "experiment demo",
        "Map of scene north",
        "600 tiles",
        "1 scene.",
        "first seed, threshold 0.5;",
        "<code>demo/experiments/demo/agreement.json</code>",
        "siamese, seed 1",
    ):
        assert expected in html, expected


def test_names_cannot_break_the_page(results, tmp_path):
    root, _ = results
    file = tmp_path / "index.html"
    write_report([], root, file, summary=root / "summary.csv", title="<script>alert(1)</script>")
    assert "<script>" not in file.read_text()
    assert "&lt;script&gt;" in file.read_text()


def test_quick_look_and_map(results):
    root, _ = results
    assert quick_look([root / "demo/tiles/north.zarr"]).startswith("data:image/png;base64,")
    assert quick_look([]) is None
    shown = embedded_map(root / "demo/experiments/demo/map.tif")
    assert len(shown["legend"]) > 1
    assert all(re.fullmatch("#[0-9a-f]{6}", item["colour"]) for item in shown["legend"])
    assert embedded_map(root / "none.tif") is None


def test_stretch():
    ramp = np.linspace(100, 3000, 64).reshape(8, 8, 1).repeat(3, 2).astype(np.float32)
    (shown,) = stretched([ramp])
    assert shown.min() == 0
    assert shown.max() == 255
    (flat,) = stretched([np.full((2, 2, 3), 7, np.float32)])
    assert (flat == 0).all()


def test_numbers():
    assert [number(v) for v in (None, float("nan"), 0.12345, -0.5, 3)] == [
        "–",
        "–",
        "0.123",
        "−0.500",
        "3",
    ]
