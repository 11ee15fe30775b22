"""A results folder with everything that the report shows."""

from pathlib import Path

import numpy as np
import pandas as pd

from geolatents.batches.counts import count_labels
from geolatents.batches.orders import make_order
from geolatents.labels.cooccurrence import measure_cooccurrence
from geolatents.labels.figures import draw_cooccurrence
from geolatents.report.page import write_report
from geolatents.report.summary import summarise
from geolatents.settings.batches import BatchOrder
from tests.unit.label_makers import write_labels
from tests.unit.olr_data import build_results, world


def build_report(root: Path):
    """Results of ``olr_data``, two label sets, two batch orders, summary and page."""
    entry = build_results(root)
    data = root / "demo"
    ids = pd.read_parquet(data / "tiles.parquet")["id"].tolist()
    targets, _, _ = world()
    for name, labels in (("level2", targets[:, :3]), ("standard", targets)):
        folder = data / "labels" / name
        store = write_labels(folder.with_suffix(".zarr"), ids, labels)
        measure_cooccurrence(
            store, data / "splits" / "blocks.parquet",
            folder / "cooccurrence-blocks.json",
        )  # fmt: skip
        draw_cooccurrence(folder / "cooccurrence-blocks.json", folder / "cooccurrence-blocks.png")
    add_orders(data, ("level2", "standard"))
    add_benchmarks(root)
    summarise([entry], root, root / "summary.csv")
    page = root / "report" / "index.html"
    write_report([entry], root, page, summary=root / "summary.csv", datasets=["demo"])
    return entry, page


def add_benchmarks(root: Path):
    """What Snakemake measures of jobs: two of a rule per scene, one of a rule of everything, one cut off."""
    for name, seconds, memory in (
        ("demo/benchmarks/cut_tiles/a", 30.0, "200.5"),
        ("demo/benchmarks/cut_tiles/b", 60.0, "300.4"),
        ("benchmarks/summarise", 10.0, "NA"),
    ):
        file = root / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:30\t{memory}\n")
    (root / "benchmarks" / "verify.tsv").write_text("s\th:m")


def add_orders(data: Path, label_sets):
    for name, order in (("a-randomized", "randomized"), ("in-order", "in_order")):
        folder = data / "batches" / name
        settings = BatchOrder(split="blocks", order=order, batch_size=20)
        table, split = data / "tiles.parquet", data / "splits" / "blocks.parquet"
        make_order(settings, table, split, folder.with_suffix(".zarr"), folder.with_suffix(".json"))
        for labels in label_sets:
            count_labels(
                folder.with_suffix(".zarr"), data / "labels" / f"{labels}.zarr",
                folder / f"{labels}-counts.csv",
            )  # fmt: skip


def ramp():
    """A tile (y, x, 3) from dark to bright."""
    return np.linspace(100, 3000, 64).reshape(8, 8, 1).repeat(3, 2).astype(np.float32)
