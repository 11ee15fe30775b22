"""The predecessor's study through real Snakemake: a tiny one of both kinds of images, and the check on faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from geolatents.files import read_json
from tests import archive_makers
from tests.workflow.conftest import ROOT, Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

QUICK = {"name": "residual", "widths": [4, 8]}


def shipped(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "config" / name).read_text())
    return values


def quick(models: dict[str, Any]) -> None:
    """One epoch, one seed and few filters."""
    for model in models.values():
        model["epochs"] = 1
        if model["kind"] == "classifier":
            model |= {"seeds": [0], "network": QUICK}
        else:
            model |= {"k": 2, "widths": [4]}


def write(space: Workspace, values: dict[str, Any]) -> None:
    space.folder.mkdir(parents=True, exist_ok=True)
    (space.folder / "config.yaml").write_text(yaml.safe_dump(values))


def test_a_tiny_study_of_satellite_and_orthophotos(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    values = shipped("thesis.yaml") | {"results": str(space.results)}
    data = values["datasets"]
    del data["orthophotos-coarse"]
    data["planetscope"]["imagery"]["scene_size"] = 768
    data["orthophotos"]["imagery"] |= {"scene_size": 768, "pixel": 3}
    data["orthophotos"]["labels"]["combined"]["min_labels"] = 1
    for dataset in data.values():
        dataset["splits"] = {"blocks": dataset["splits"]["blocks"] | {"block": 700}}
        # What occurs in a few hundred tiles is not in every part: no label set of all labels.
        dataset["labels"] = {"combined": dataset["labels"]["combined"]}
    kept = {
        "planetscope": {"combined": "combined", "improved": "combined-ours"},
        "orthophotos": {"combined": "ortho-combined"},
    }
    values["study"] = {"thesis": kept}
    wanted = {name for parts in kept.values() for name in parts.values()}
    values["experiments"] = {k: v for k, v in values["experiments"].items() if k in wanted}
    used = {name for e in values["experiments"].values() for name in (e["classifier"], e.get("siamese"))}  # fmt: skip
    values["models"] = {k: v for k, v in values["models"].items() if k in used}
    quick(values["models"])
    write(space, values)

    run = space.run()

    assert run.code == 0, run.output
    assert {name: run.jobs[name] for name in ("compare_study", "draw_study")} == {
        "compare_study": 1, "draw_study": 1,
    }  # fmt: skip
    study = read_json(space.results / "study" / "thesis.json")
    tables = {table["key"]: table for table in study["tables"]}
    ours = {row["what"]: row for row in tables["6"]["rows"] if row["by"] == "ours"}
    assert ours["combined labels"]["accuracy"]["n"] == 1
    assert ours["focal loss"]["missing"] == "not run"
    assert tables["7b"]["rows"][1]["constant"]["mean"] > 0
    assert tables["improved"]["rows"][2]["macro_f1"]["mean"] >= 0
    page = (space.results / "report" / "index.html").read_text()
    assert 'id="study-thesis"' in page
    assert len(list((space.results / "study" / "thesis").glob("figure-*.png"))) == 9
    assert space.run("--dry-run").jobs == {}


def test_the_check_on_faces_on_a_generated_copy_of_its_layout(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    folder = space.data / "celeba"
    folder.mkdir(parents=True)
    count = 48
    archive_makers.celeba(folder, count)
    mapping = ROOT / "config" / "celeba-38.csv"
    names = pd.read_csv(mapping)["code"].tolist()
    table = folder / "list_attr_celeba.txt"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], " ".join(names), *lines[2:]]) + "\n")
    part = [0] * 24 + [1] * 12 + [2] * 12
    rows = [f"{i + 1:06d}.jpg {number}" for i, number in enumerate(part)]
    (folder / "list_eval_partition.txt").write_text("\n".join(rows) + "\n")
    values = shipped("thesis-celeba.yaml") | {
        "results": str(space.results), "data": str(space.data), "environment": "cpu",
    }  # fmt: skip
    data = values["datasets"]["celeba"]
    data["imagery"] |= {"images": "celeba/img_align_celeba.zip", "size": 32}
    data["labels"]["attributes"]["mapping"] = str(mapping)
    data["batches"]["randomized"]["batch_size"] = 8
    quick(values["models"])
    write(space, values)

    run = space.run()

    assert run.code == 0, run.output
    labels = read_json(space.results / "celeba" / "labels" / "attributes.json")
    codes = [item["code"] for item in labels["attributes"]["classes"]]
    assert len(codes) == 38
    assert not {"Wearing_Necklace", "Wearing_Necktie"} & set(codes)
    split = read_json(space.results / "celeba" / "splits" / "official.json")
    assert {k: split["counts"][k] for k in ("train", "validation", "test")} == {
        "train": 24, "validation": 12, "test": 12,
    }  # fmt: skip
    study = read_json(space.results / "study" / "faces.json")
    faces = next(table for table in study["tables"] if table["key"] == "celeba")["rows"]
    assert faces[0]["predecessor"] == 0.91
    assert 0 <= faces[0]["ours"]["mean"] <= 1
    assert faces[1]["ours"]["mean"] >= 0
