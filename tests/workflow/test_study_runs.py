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
            model |= {"k": 2, "widths": [4], "weak_teacher": "use"}


def write(space: Workspace, values: dict[str, Any]) -> None:
    space.folder.mkdir(parents=True, exist_ok=True)
    (space.folder / "config.yaml").write_text(yaml.safe_dump(values))


def tiny_study(space: Workspace) -> None:
    """One small scene of each kind, the experiments on combined labels, and nothing else of the study."""
    values = shipped("thesis.yaml") | {"results": str(space.results)}
    data = values["datasets"]
    del data["orthophotos-coarse"]
    data["planetscope"]["imagery"] |= {"scenes": 1, "scene_size": 768}
    data["orthophotos"]["imagery"] |= {"scenes": 1, "scene_size": 768}
    data["orthophotos"]["labels"]["combined"]["min_labels"] = 1
    for dataset in data.values():
        # What occurs in a few hundred tiles is not in every block, and rare labels are in no part.
        dataset["splits"] = {"blocks": {"kind": "random", "validation": 0.2, "test": 0.3}}
        dataset["labels"] = {"combined": dataset["labels"]["combined"]}
        for order in dataset["batches"].values():
            order["batch_size"] = 8
    kept = {
        "planetscope": {"combined": "combined", "improved": "combined-ours"},
        "orthophotos": {"combined": "ortho-combined"},
    }
    values["study"] = {"thesis": kept}
    wanted = [name for parts in kept.values() for name in parts.values()]
    values["experiments"] = {name: values["experiments"][name] for name in wanted}
    used = {e.get(kind) for e in values["experiments"].values() for kind in ("classifier", "siamese")}  # fmt: skip
    values["models"] = {k: v for k, v in values["models"].items() if k in used}
    quick(values["models"])
    write(space, values)


def faces(space: Workspace) -> None:
    """The layout of CelebA with 48 generated images, its 40 attributes and its official parts."""
    folder = space.data / "celeba"
    folder.mkdir(parents=True)
    archive_makers.celeba(folder, 48)
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


def check_tiny_study(results: Path) -> None:
    study = read_json(results / "study" / "thesis.json")
    tables = {table["key"]: table for table in study["tables"]}
    ours = {row["what"]: row for row in tables["6"]["rows"] if row["by"] == "ours"}
    assert ours["combined labels"]["accuracy"]["n"] == 1
    assert ours["focal loss"]["missing"] == "not run"
    assert tables["7b"]["rows"][1]["constant"]["mean"] > 0
    assert tables["improved"]["rows"][2]["macro_f1"]["mean"] >= 0
    page = (results / "report" / "index.html").read_text()
    assert 'id="study-thesis"' in page
    assert len(list((results / "study" / "thesis").glob("figure-*.png"))) == 9
    tiles = read_json(results / "planetscope" / "tiles.json")
    assert tiles["size"] in ([82, 33], [33, 82])


def check_faces(results: Path) -> None:
    labels = read_json(results / "celeba" / "labels" / "attributes.json")
    codes = [item["code"] for item in labels["attributes"]["classes"]]
    assert len(codes) == 38
    assert not {"Wearing_Necklace", "Wearing_Necktie"} & set(codes)
    split = read_json(results / "celeba" / "splits" / "official.json")
    assert {k: split["counts"][k] for k in ("train", "validation", "test")} == {
        "train": 24, "validation": 12, "test": 12,
    }  # fmt: skip
    study = read_json(results / "study" / "faces.json")
    rows = next(table for table in study["tables"] if table["key"] == "celeba")["rows"]
    assert rows[0]["predecessor"] == 0.91
    assert 0 <= rows[0]["ours"]["mean"] <= 1
    assert rows[1]["ours"]["mean"] >= 0


def test_a_tiny_study_of_satellite_and_orthophotos(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    tiny_study(space)

    run = space.run()

    assert run.code == 0, run.output
    assert (run.jobs["compare_study"], run.jobs["draw_study"]) == (1, 1)
    check_tiny_study(space.results)
    assert space.run("--dry-run").jobs == {}


def test_the_check_on_faces_on_a_generated_copy_of_its_layout(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    faces(space)

    run = space.run()

    assert run.code == 0, run.output
    check_faces(space.results)
