"""The shipped configurations, run whole: what the demo and real data must show."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import ROOT, Run, Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def run_shipped(name: str, folder: Path, data: Path | None = None) -> tuple[Workspace, Run]:
    """Run a configuration of the project in a folder of its own."""
    config: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    config["results"] = "results"
    if data is not None:
        config["data"] = str(data.resolve())
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    space = Workspace(folder)
    run = space.run()
    assert run.code == 0, run.output[-5000:]
    assert "test macro AP" in run.output
    assert "Report: results/report/index.html" in run.output
    assert space.run("--dry-run").jobs == {}
    return space, run


def summary(space: Workspace) -> dict[str, float]:
    """The first row of the summary, as numbers where it has some."""
    row = next(csv.DictReader((space.results / "summary.csv").open()))
    return {key: float(value) for key, value in row.items() if value.replace(".", "").isdigit()}


def test_the_demo_is_learned_and_not_too_easy() -> None:
    """In the checkout itself, so that what `make run` has made there is not made again."""
    space = Workspace(ROOT)
    run = space.run()
    assert run.code == 0, run.output[-5000:]
    assert space.run("--dry-run").jobs == {}
    row = summary(space)
    assert row["test_macro_ap"] >= 0.85
    assert row["mantel_r"] >= 0.9
    metrics = json.loads(
        (space.results / "demo-a/models/demo-classifier/seed-0/metrics.json").read_text()
    )
    logistic = metrics["baselines"]["logistic"]["split"]["test"]["macro_ap"]
    assert logistic <= row["test_macro_ap"] - 0.1
    on_b = json.loads(
        (space.results / "demo-a/experiments/demo/on-demo-b/agreement.json").read_text()
    )["classifier"]["0"]
    assert on_b["mantel_r"] > on_b["train_phi_r"]


@pytest.mark.soak
@pytest.mark.real_data
def test_lanjaron_runs_end_to_end(tmp_path: Path, data_folder: Path) -> None:
    space, run = run_shipped("config/lanjaron.yaml", tmp_path, data_folder)
    assert "smaller than the land cover's minimum unit" in run.output
    assert (space.results / "lanjaron/experiments/lanjaron/map.tif").exists()


@pytest.mark.soak
@pytest.mark.real_data
def test_uc_merced_is_learned(tmp_path: Path, data_folder: Path) -> None:
    space, _ = run_shipped("config/ucm.yaml", tmp_path, data_folder)
    row = summary(space)
    assert row["n_labels"] == 17
    assert row["n_tiles"] == 336
    assert row["test_macro_ap"] >= 0.85


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["bolzano", "planetscope", "bigearthnet"])
def test_configurations_without_models_run(name: str, tmp_path: Path, data_folder: Path) -> None:
    config = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    config |= {"results": "results", "data": str(data_folder.resolve())}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    run = Workspace(tmp_path).run()
    assert run.code == 0, run.output[-5000:]
    assert list((tmp_path / "results").glob("*/tiles.parquet"))
