import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from geolatents.files import read_json, write_json
from geolatents.labels.sets import read_labels
from geolatents.report.datasets import dataset_section, grouped_readings, quick_look
from geolatents.report.images import embedded_map, stretched
from geolatents.report.orders import draw_orders, read_counts
from geolatents.report.page import gain, number, percent, threshold_text, write_report
from geolatents.report.summary import summarise
from geolatents.tiles.display import rgb_bands
from tests.unit.report_data import build_report, ramp


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return root, *build_report(root)


@pytest.fixture(scope="module")
def results(built):
    return built[0], built[2].read_text()


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
        '<th scope="row">prevalence',
        "Class with a rather long name 7",
        "Applied to other",
        "5 readings",
        "experiment demo",
        "Map of scene north",
        "600 tiles",
        "1 scene.",
        "F1, accuracies and MCC with threshold 0.5 for all labels; AP needs none</caption>",
        "recall, accuracies and MCC with threshold 0.5 for all labels; AP needs none",
        "its 95\N{NO-BREAK SPACE}% interval",
        "Benjamini-Hochberg, 5\N{NO-BREAK SPACE}%",
        '<td>Siamese</td><td class="n">1</td>',
        "<details open>\n<summary>Label set standard: 8 labels, 600 tiles",
        "<details>\n<summary>Label set level2: 3 labels, 600 tiles",
        "Co-occurrence of the labels standard of demo",
        "for the batch orders in-order, a-randomized beside each other",
        "Some tiles with their labels (standard)",
        "<code>demo/experiments/demo/agreement.json</code>",
        "siamese, seed 1",
        "<td>Siamese on other</td>",
        "<td>classifier on other</td>",
        "The Siamese network, as it was trained, on all tiles of another dataset",
        "Applied to bare",
        "These tiles have no labels",
        "Tiles redrawn from their label embeddings",
        "128 numbers with 11.5 effective dimensions",
        "0.050 to 0.070",
    ):
        assert expected in html, expected


def test_nothing_is_judged_without_labels(results):
    bare = results[1].partition("Applied to bare")[2].partition("</section>")[0]
    assert "have r = " in bare
    assert "Mean score over all tiles" in bare
    assert "Mantel" not in bare
    assert "on bare</td>" not in results[1]


def test_names_cannot_break_the_page(results, tmp_path):
    root, _ = results
    file = tmp_path / "index.html"
    write_report([], root, file, summary=root / "summary.csv", title="<script>alert(1)</script>")
    assert "<script>" not in file.read_text()
    assert "&lt;script&gt;" in file.read_text()


def test_thresholds_of_both_tables_are_told_apart(built, results, tmp_path):
    root, html = results
    assert "other thresholds" not in html
    experiments = tmp_path / "demo" / "experiments"
    shutil.copytree(root / "demo" / "experiments", experiments)
    (tmp_path / "demo" / "models").symlink_to(root / "demo" / "models")
    file = experiments / "demo" / "agreement.json"
    content = read_json(file)
    for found in content["classifier"].values():
        found["quality"]["threshold"] = "tuned"
    write_json(file, content)
    page = tmp_path / "index.html"
    write_report([built[1]], tmp_path, page, summary=root / "summary.csv")
    captions = re.findall("<caption>(.*?)</caption>", page.read_text(), re.DOTALL)
    (quality,) = (text for text in captions if "The table of labels below" in text)
    (labels,) = (text for text in captions if "prevalence" in text)
    assert "with threshold 0.5 for all labels" in quality
    assert "with a threshold per label, tuned on the validation part" in labels
    assert threshold_text(0.4) == "threshold 0.4 for all labels"


def test_every_percentage_has_the_same_space(results):
    text = re.sub(r"<style>.*?</style>", "", results[1], flags=re.DOTALL).replace("&nbsp;", "\xa0")
    text = re.sub(r"<[^>]*>", "", text)
    assert re.findall(r"\d.?%", text)
    assert not re.findall(r"\d[^\xa0]?%", text)


def test_quick_look(results):
    root, _ = results
    store, labels = root / "demo/tiles/north.zarr", root / "demo/labels/standard.zarr"
    tiles = quick_look([store], labels, count=5)
    assert len({tile["id"] for tile in tiles}) == 5
    assert all(tile["image"].startswith("data:image/png;base64,") for tile in tiles)
    known = read_labels(labels)
    for tile in tiles:
        row = known.labels[known.ids.tolist().index(tile["id"])]
        assert [one["code"] for one in tile["labels"]] == [
            code for code, present in zip(known.codes, row, strict=True) if present
        ]
    assert quick_look([store], count=2)[0]["labels"] is None
    assert len(quick_look([store, store, store], count=7)) == 7
    assert quick_look([]) == []


def test_map(results):
    root, _ = results
    shown = embedded_map(root / "demo/experiments/demo/map.tif")
    assert len(shown["legend"]) > 1
    assert all(re.fullmatch("#[0-9a-f]{6}", item["colour"]) for item in shown["legend"])
    assert embedded_map(root / "none.tif") is None


def test_used_label_sets_come_first(results):
    root, _ = results
    names = [[one["name"] for one in dataset_section("demo", root, used)["label_sets"]]
             for used in (["standard"], [])]  # fmt: skip
    assert names == [["standard", "level2"], ["level2", "standard"]]
    nothing = dataset_section("nowhere", root)
    assert nothing["label_sets"] == nothing["quick_look"] == []


def test_orders_beside_each_other(results):
    root, _ = results
    orders = read_counts(root / "demo/batches", "standard")
    assert [order.name for order in orders] == ["in-order", "a-randomized"]
    table = pd.read_csv(root / "demo/batches/in-order/standard-counts.csv")
    assert (orders[0].counts == table.to_numpy()[:, 1:]).all()
    assert orders[0].ratio > 1.5 * orders[1].ratio
    figure = draw_orders(orders, read_labels(root / "demo/labels/standard.zarr").classes)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title().split(":")[0] for axes in panels] == ["in-order", "a-randomized"]
    assert len({axes.images[0].norm.vmax for axes in panels}) == 1
    assert panels[0].images[0].norm.vmax == max(order.counts.max() for order in orders)
    assert read_counts(root / "demo/batches", "none") == []


def test_readings_are_grouped():
    readings = [("a", "1"), ("b", "2"), ("a", "3")]
    found = grouped_readings(
        [{"what": what, "part": "test", "rule": "r", "when": when} for what, when in readings]
    )
    assert found["count"] == 3
    assert [(r["what"], r["count"], r["last"]) for r in found["rows"]] == [
        ("a", 2, "3"),
        ("b", 1, "2"),
    ]


def test_stretch():
    (shown,) = stretched([ramp()])
    assert shown.min() == 0
    assert shown.max() == 255
    (flat,) = stretched([np.full((2, 2, 3), 7, np.float32)])
    assert (flat == 0).all()
    (empty,) = stretched([np.full((2, 2, 3), np.nan, np.float32)])
    assert (empty == 0).all()


def test_a_cloud_does_not_darken_the_other_tiles():
    cloud = np.full((8, 8, 3), 50_000, np.float32)
    *clear, white = stretched([ramp()] * 4 + [cloud])
    assert (white == 255).all()
    assert clear[0].mean() > 100


def test_bands_of_a_picture():
    assert rgb_bands(["blue", "green", "red", "nir"]) == [2, 1, 0]
    assert rgb_bands(["B02", "B03", "B04"]) == [2, 1, 0]
    assert rgb_bands(["x", "y", "z"]) == [0, 1, 2]
    assert rgb_bands(["pan"]) == [0, 0, 0]


def test_numbers():
    assert [number(v) for v in (None, float("nan"), 0.12345, -0.5, 3)] == [
        "–",
        "–",
        "0.123",
        "−0.500",
        "3",
    ]
    assert [gain(v) for v in (None, 0.5, -0.5)] == ["–", "+0.500", "−0.500"]
    assert [percent(v) for v in (None, 0.5)] == ["–", "50.0\N{NO-BREAK SPACE}%"]


def test_a_refused_siamese_network_is_told_with_its_reason(built, tmp_path):
    root = shutil.copytree(built[0], tmp_path / "results")
    entry = built[1]
    says = {"status": "refused", "reason": "the teacher is no better than <nothing>"}
    agreement = entry.folder(root) / "agreement.json"
    content = read_json(agreement)
    for seed in entry.seeds:
        content["siamese"][str(seed)] = says
        metrics = entry.model_folder(root, entry.siamese, seed) / "metrics.json"
        write_json(metrics, {"seed": seed, "model": entry.siamese, **says})
    write_json(agreement, content)
    summarise([entry], root, root / "summary.csv")
    assert set(pd.read_csv(root / "summary.csv")["siamese_status"]) == {"refused"}
    page = root / "report" / "index.html"
    write_report([entry], root, page, summary=root / "summary.csv", datasets=["demo"])
    text = page.read_text()
    assert "No Siamese network was trained" in text
    assert "no better than &lt;nothing&gt;" in text
    assert ">siamese, seed 0<" not in text.partition("Applied to")[0]
