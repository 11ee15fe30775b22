"""Provenance says what made an artifact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geolatents.files import sha256_file
from geolatents.provenance import provenance_path, recorded


def test_record_beside_the_artifact(tmp_path: Path) -> None:
    source, artifact = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text("1")
    with recorded([artifact], inputs=[source], config={"size": 64}, seed=3, code="abc"):
        artifact.write_text("2")
    record = json.loads(provenance_path(artifact).read_text())
    assert record["inputs"] == {source.as_posix(): sha256_file(source)}
    assert (record["config"], record["seed"], record["code"]) == ({"size": 64}, 3, "abc")
    assert record["libraries"]["numpy"]
    assert record["seconds"] >= 0
    assert record["peak_memory_mb"] > 10


def test_a_failed_step_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), recorded([tmp_path / "out.json"]):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
