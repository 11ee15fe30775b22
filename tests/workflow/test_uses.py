"""Uses beside training: cutting tiles only, and the predecessor's layout out and back in."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from geolatents.stores import open_store, read_array, read_strings
from tests.makers import make_config, make_scene
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.workflow


def test_scenes_without_land_cover_are_cut_split_and_put_into_batches(tmp_path) -> None:
    space = Workspace(tmp_path)
    make_scene(space.data / "scene-0.tif")
    config = yaml.safe_load(make_config(tmp_path).read_text())
    del config["datasets"]["small"]["landcover"], config["models"], config["experiments"]
    config["datasets"]["small"]["labels"] = {}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))

    run = space.run()

    assert run.code == 0, run.output
    assert not {"check_landcover", "measure_cover", "make_label_set", "count_labels"} & set(
        run.jobs
    )
    made = {path.name for path in (space.results / "small").rglob("*")}
    assert {"tiles.parquet", "scene-0.zarr", "chance.parquet", "randomized.zarr"} <= made
    assert space.run("--dry-run").jobs == {}


def test_the_predecessors_layout_goes_out_and_comes_back(workspace: Workspace) -> None:
    run = workspace.run(
        "results/small/legacy/all-standard", "results/small/legacy/randomized-standard"
    )
    assert run.code == 0, run.output
    assert run.jobs == {"export_legacy": 2}
    make_config(
        workspace.folder,
        data="results/small/legacy",
        datasets={
            "small": None,
            "again": {
                "imagery": {"provider": "images", "layout": "legacy", "images": "all-standard"}
            },
        },
        models=None,
        experiments=None,
    )

    run = workspace.run("labels")

    assert run.code == 0, run.output
    tiles = workspace.results / "small" / "tiles"
    old = [open_store(tiles / f"scene-{column}.zarr") for column in range(2)]
    new = open_store(workspace.results / "again/tiles/images.zarr")
    np.testing.assert_array_equal(
        np.concatenate([read_array(store, "images") for store in old]), read_array(new, "images")
    )
    assert [n for store in old for n in read_strings(store, "ids")] == list(
        read_strings(new, "ids")
    )
    labels = [
        read_array(open_store(workspace.results / name / "labels/standard.zarr"), "labels")
        for name in ("small", "again")
    ]
    np.testing.assert_array_equal(*labels)
