"""Stores are whole or absent, and identified by their decoded content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geolatents import files, stores
from geolatents.errors import StoreError
from geolatents.seeds import derived_seed, generator


def write(path: Path, images: np.ndarray, names: list[str]) -> None:
    with stores.new_store(path, {"scene": "a"}) as group:
        array = stores.create_array(
            group, "images", images.shape, images.dtype, dimensions=("tile", "y", "x")
        )
        array[:] = images
        stores.write_strings(group, "ids", names, "tile")


def write_half(path: Path) -> None:
    with stores.new_store(path) as group:
        stores.create_array(group, "images", (3, 2), "uint8", dimensions=("tile", "y"))
        raise RuntimeError("midway")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (37, 16, 16)).astype("uint16")


def test_round_trip(tmp_path: Path, images: np.ndarray) -> None:
    names = [f"tile-ä-{i}" for i in range(37)]
    write(tmp_path / "a.zarr", images, names)
    group = stores.open_store(tmp_path / "a.zarr")
    assert (stores.read_array(group, "images") == images).all()
    assert stores.read_strings(group, "ids").tolist() == names


def test_identity_depends_on_content_only(tmp_path: Path, images: np.ndarray) -> None:
    names = [str(i) for i in range(37)]
    write(tmp_path / "a.zarr", images, names)
    stores.use_fast_codecs()
    write(tmp_path / "b.zarr", images, names)
    changed = images.copy()
    changed[3, 2, 1] ^= 1
    write(tmp_path / "c.zarr", changed, names)
    first, second, third = (stores.content_manifest(tmp_path / f"{n}.zarr") for n in "abc")
    assert first == second
    assert first["arrays"]["images"] != third["arrays"]["images"]
    assert first["arrays"]["ids"] == third["arrays"]["ids"]


def test_a_timestamp_file_of_snakemake_does_not_count(tmp_path: Path, images: np.ndarray) -> None:
    write(tmp_path / "a.zarr", images, ["x"] * 37)
    before = stores.content_manifest(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / ".snakemake_timestamp").touch()
    assert stores.content_manifest(tmp_path / "a.zarr") == before


@pytest.mark.parametrize("keep", [0, 100])
def test_a_truncated_shard_is_found(tmp_path: Path, images: np.ndarray, keep: int) -> None:
    path = tmp_path / "a.zarr"
    write(path, images, ["x"] * 37)
    manifest = stores.content_manifest(path)
    shard = max((path / "images").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    shard.write_bytes(shard.read_bytes()[:keep])
    problems = stores.verify_store(path, manifest)
    assert problems
    assert "a.zarr" in problems[0]


def test_a_missing_store_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere\.zarr"):
        stores.open_store(tmp_path / "nowhere.zarr")


def test_failure_leaves_the_old_store_and_nothing_else(tmp_path: Path, images: np.ndarray) -> None:
    path = tmp_path / "a.zarr"
    write(path, images, ["x"] * 37)
    before = stores.content_manifest(path)
    with pytest.raises(RuntimeError, match="midway"):
        write_half(path)
    assert stores.content_manifest(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


@given(
    samples=st.integers(1, 5000),
    side=st.sampled_from([1, 8, 64, 333]),
    kind=st.sampled_from(["uint8", "float32"]),
)
def test_shards_are_whole_chunks_and_bounded(samples: int, side: int, kind: str) -> None:
    shape = (samples, side, side)
    held = stores.shard_samples(shape, kind)
    size = side * side * np.dtype(kind).itemsize
    assert held >= 1
    assert held * size <= max(stores.SHARD_BYTES + 16384, size)


def test_empty_arrays_are_allowed(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", np.zeros((0, 4, 4), "uint8"), [])
    assert stores.content_manifest(tmp_path / "a.zarr")["arrays"]["images"]["shape"] == [0, 4, 4]


def test_atomic_path_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    files.write_json(file, {"x": np.float32(0.5), "y": np.arange(2)})
    with pytest.raises(TypeError):
        files.write_json(file, {"x": object()})
    assert json.loads(file.read_text()) == {"x": 0.5, "y": [0, 1]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_broken_json_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StoreError, match=r"a\.json"):
        files.read_json(tmp_path / "a.json")


def test_seeds_are_functions_of_their_names() -> None:
    assert derived_seed(1, "batches", 2) == derived_seed(1, "batches", 2)
    assert len({derived_seed(s, n) for s in range(50) for n in ("a", "b")}) == 100
    assert generator(1, "a").random() != generator(1, "b").random()
    assert derived_seed(0, "batches", 0) == 2127602802172563617


def test_leftovers_of_killed_processes_go_and_nothing_else(tmp_path: Path) -> None:
    others = {"a.zarr", ".b.zarr.12.partial", ".a.zarr.v2.12.partial", ".a.zarr.partial"}
    for name in (".a.zarr.12.partial", *others):
        (tmp_path / name).mkdir()
    (tmp_path / ".a.zarr.13.partial.keras").write_text("half")
    files.remove_leftovers(tmp_path / "a.zarr", older_than=60)
    assert len(list(tmp_path.iterdir())) == 6
    files.remove_leftovers(tmp_path / "a.zarr")
    assert {path.name for path in tmp_path.iterdir()} == others
    files.remove_leftovers(tmp_path / "nowhere" / "a.zarr")
