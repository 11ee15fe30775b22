"""Bad input ends in one clear message of a check, and everything built before is untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas
import pytest
from shapely.geometry import Polygon

from tests.makers import CODES, LEFT, PIXEL, make_config, make_landcover, make_scene
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.workflow


def no_crs(space: Workspace) -> None:
    make_scene(space.data / "scene-0.tif", crs=None, seed=7)


def other_band_count(space: Workspace) -> None:
    make_scene(space.data / "scene-1.tif", column=1, bands=3)
    make_config(space.folder, datasets={"small": {"imagery": {"bands": None}}})


def undecodable(space: Workspace) -> None:
    file = space.data / "scene-0.tif"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_data_folder(space: Workspace) -> None:
    make_config(space.folder, data="/nonexistent")


def no_tiles(space: Workspace) -> None:
    make_config(space.folder, datasets={"small": {"tiles": {"size": 300}}})


def no_overlap(space: Workspace) -> None:
    (space.data / "landcover.gpkg").unlink()
    make_landcover(space.data / "landcover.gpkg", shift=50_000)


def unknown_code(space: Workspace) -> None:
    (space.data / "landcover.gpkg").unlink()
    make_landcover(space.data / "landcover.gpkg", codes=("112", "911", "312", "523"))


def invalid_polygon(space: Workspace) -> None:
    file = space.data / "landcover.gpkg"
    frame = geopandas.read_file(file)
    left, bottom, right, top = frame.geometry.iloc[0].bounds
    frame.loc[0, "geometry"] = Polygon([(left, bottom), (right, top), (right, bottom), (left, top)])
    file.unlink()
    frame.to_file(file, layer="clc", driver="GPKG")


def unmapped_class(space: Workspace) -> None:
    (space.data / "groups.csv").write_text("code,group\n112,Built\n211,Fields\n312,Forest\n")
    labels = {"standard": {"kind": "combined", "mapping": "groups.csv", "min_cover": 0.1}}
    make_config(space.folder, datasets={"small": {"labels": labels}})


def config_typo(space: Workspace) -> None:
    config = space.folder / "config.yaml"
    config.write_text(config.read_text().replace("min_cover", "min_covr"))


def weights(space: Workspace, network: dict[str, object]) -> None:
    values = {"name": "backbone", "backbone": "efficientnet_lite0", "values": "statistics"}
    network = {**values, "side": 32, **network}
    make_config(space.folder, models={"small-classifier": {"network": network}})


def missing_weights(space: Workspace) -> None:
    weights(space, {"weights": "absent.keras"})


def other_weights(space: Workspace) -> None:
    (space.data / "lite.keras").write_bytes(b"not what was meant")
    weights(space, {"weights": "lite.keras", "sha256": "0" * 64})


def unreadable_weights(space: Workspace) -> None:
    (space.data / "lite.keras").write_bytes(b"no weights")
    weights(space, {"weights": "lite.keras"})


CASES: dict[str, tuple[Callable[[Workspace], None], tuple[str, ...]]] = {
    "scene without CRS": (no_crs, ("scene-0.tif", "CRS")),
    "band count differs": (other_band_count, ("scene-1", "band")),
    "image that cannot be decoded": (undecodable, ("scene-0.tif", "decode")),
    "empty tile set": (no_tiles, ("tile", "300")),
    "land cover elsewhere": (no_overlap, ("landcover.gpkg", "overlap")),
    "unknown code": (unknown_code, ("landcover.gpkg", "911")),
    "invalid polygon": (invalid_polygon, ("landcover.gpkg", "invalid")),
    "class not mapped": (unmapped_class, ("groups.csv", "523")),
    "missing data folder": (no_data_folder, ("scene-*.tif", "/nonexistent")),
    "missing weights": (missing_weights, ("absent.keras", "models.small-classifier")),
    "other weights than stated": (other_weights, ("lite.keras", "0" * 64)),
    "weights that cannot be read": (unreadable_weights, ("lite.keras", "efficientnet_lite0")),
    "config typo": (config_typo, ("min_covr", "min_cover")),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_stops_in_a_check_and_damages_nothing(name: str, workspace: Workspace) -> None:
    spoil, words = CASES[name]
    before = workspace.hashes()
    spoil(workspace)

    run = workspace.run()

    assert run.code != 0
    for word in (*words, "what to do"):
        assert word in run.output, f"{word!r} is missing from:\n{run.output[-3000:]}"
    assert "Traceback" not in run.output
    assert workspace.hashes() == before


def test_class_without_training_positives_stops_before_training(workspace: Workspace) -> None:
    """All sea goes to the test part: the split is made, the model is left alone."""
    tiles = geopandas.read_parquet(workspace.results / "small" / "tiles.parquet")
    edges = [tiles["left"] + 1, tiles["right"] - 1]
    stripes = [((edge - LEFT) // (32 * PIXEL)).astype(int) % len(CODES) for edge in edges]
    is_sea = (stripes[0] == CODES.index("523")) | (stripes[1] == CODES.index("523"))
    turns = ["train", "validation", "train", "test"]
    parts = ["test" if sea else turns[row % 4] for row, sea in enumerate(is_sea)]
    rows = [f"{name},{part}" for name, part in zip(tiles["id"], parts, strict=True)]
    (workspace.data / "parts.csv").write_text("\n".join(["image,part", *rows]) + "\n")
    before = {
        k: v for k, v in workspace.hashes().items() if "/models/" in k or "/experiments/" in k
    }
    splits = {"chance": {"kind": "listed", "file": "parts.csv"}}
    make_config(workspace.folder, datasets={"small": {"splits": splits}})

    run = workspace.run()

    assert run.code != 0
    for word in ("523", "no training tile", "what to do"):
        assert word in run.output, run.output[-3000:]
    assert before
    assert before.items() <= workspace.hashes().items()


def test_truncated_store_stops_before_training(workspace: Workspace) -> None:
    shard = max(
        (workspace.results / "small/tiles/scene-0.zarr/images").rglob("c/*/*/*/*"),
        key=lambda p: p.stat().st_size,
    )
    shard.write_bytes(shard.read_bytes()[:100])
    before = workspace.hashes()
    make_config(workspace.folder, models={"small-classifier": {"epochs": 3}})

    run = workspace.run()

    assert run.code != 0
    assert "scene-0.zarr" in run.output
    assert "what to do" in run.output
    assert workspace.hashes() == before


def test_verify_names_the_damaged_store(workspace: Workspace) -> None:
    assert workspace.run("verify").code == 0
    store = workspace.results / "small/cover/scene-1.zarr"
    shards = [f for f in (store / "cover").rglob("*") if f.is_file() and f.name != "zarr.json"]
    assert shards
    for file in shards:
        file.write_bytes(b"")

    run = workspace.run("verify")

    assert run.code != 0
    assert str(Path("small/cover/scene-1.json")) in run.output
