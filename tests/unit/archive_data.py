"""A finished run of three jobs, made without Snakemake, and its archive."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from geolatents.archive.pack import write_archive
from geolatents.files import write_json
from geolatents.provenance import Job, recorded
from geolatents.settings.archive import ArchiveSettings
from geolatents.stores import content_manifest, new_store, write_array

STORE = "results/demo/tiles/north.zarr"
MANIFEST = "results/demo/tiles/north.json"
RECORD = "results/demo/scenes/north.json"
TABLE = "results/demo/tiles.parquet"
METRICS = "results/demo/models/small-classifier/seed-0/metrics.json"
MODEL = "results/demo/models/small-classifier/seed-0/model.keras"
FIGURE = "results/demo/models/small-classifier/seed-0/curve.png"
LOG = "results/demo/logs/cut_tiles/north.log"

CITATION = """\
cff-version: 1.2.0
title: A title
type: software
authors:
  - given-names: Ada
    family-names: Lovelace
version: 1.2.3
license: MIT
keywords: [tiles]
references:
  - {type: article, title: A paper, doi: 10.1000/1}
"""


def make_run(
    folder: Path, *, licence: str = "CC0-1.0", macro_ap: float = 0.9, level: int = 1
) -> Path:
    """Results of a run: a scene's record, its tiles and their table, a trained model."""
    root = folder / "results"
    scene = folder / "data" / "north.tif"
    scene.parent.mkdir(parents=True, exist_ok=True)
    scene.write_bytes(b"pixels")
    with pytest.MonkeyPatch.context() as patch, _job(root, "record_scene", [RECORD], [scene]):
        patch.setenv("GEOLATENTS_DATA", str(scene.parent))
        write_json(
            at(root, RECORD),
            {"path": "data:north.tif", "sha256": "0" * 64, "licence": licence, "provider": "files"},
        )
    with _job(root, "cut_tiles", [STORE, MANIFEST, TABLE], [at(root, RECORD)]):
        with new_store(at(root, STORE), {"classes": ["112"]}) as group:
            write_array(
                group, "images", np.full((4, 8, 8, 1), level, np.uint16), ("tile", "y", "x", "band")
            )
        write_json(at(root, MANIFEST), content_manifest(at(root, STORE)))
        pd.DataFrame({"id": ["a", "b"], "share": [0.5, level]}).to_parquet(at(root, TABLE))
        at(root, LOG).parent.mkdir(parents=True)
        at(root, LOG).write_text(f"cutting {root.resolve()}/demo/tiles in {folder.resolve()}\n")
    with _job(root, "train", [MODEL, METRICS, FIGURE], [at(root, MANIFEST)], seed=0):
        at(root, MODEL).write_bytes(f"weights {macro_ap}".encode())
        write_json(at(root, METRICS), {"split": {"test": {"macro_ap": macro_ap}}})
        at(root, FIGURE).write_bytes(f"figure {macro_ap}".encode())
    return root


def make_checkout(folder: Path) -> Path:
    """A checkout with what the metadata read."""
    for name, text in {
        "Snakefile": "rule all:\n",
        "CITATION.cff": CITATION,
        "workflow_scripts/acquire/record_scene.py": "",
        "workflow_scripts/tiles/cut_tiles.py": "",
        "workflow_scripts/olr/train.py": "",
        "geolatents/__pycache__/left.pyc": "",
        "geolatents/code.py": "",
    }.items():
        file = folder / "checkout" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "checkout"


def pack(
    folder: Path, root: Path, config: Mapping[str, Any] | None = None, **settings: Any
) -> Path:
    """The archive of the run."""
    output = folder / "run.crate.zip"
    write_archive(
        root,
        [at(root, METRICS), at(root, TABLE)],
        output,
        settings=ArchiveSettings(**settings),
        config=config
        or {"results": "results", "datasets": {"demo": {"imagery": {"provider": "files"}}}},
        checkout=make_checkout(folder),
        lists=sorted(folder.glob("searches/*.geojson")),
    )
    return output


def at(root: Path, name: str) -> Path:
    """Where an artifact lies."""
    return root / name.removeprefix("results/")


def unpacked(archive: Path, folder: Path) -> Path:
    """The archive as a folder."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder


def read(archive: Path, name: str) -> Any:
    """A JSON file of an archive."""
    with zipfile.ZipFile(archive) as file:
        return json.loads(file.read(name))


def _job(
    root: Path, rule: str, outputs: list[str], inputs: list[Path], seed: int | None = None
) -> Any:
    for name in outputs:
        at(root, name).parent.mkdir(parents=True, exist_ok=True)
    job = Job(rule, {"dataset": "demo"}, 1, at(root, LOG) if rule == "cut_tiles" else None)
    return recorded([at(root, n) for n in outputs], inputs=inputs, seed=seed, job=job, results=root)
