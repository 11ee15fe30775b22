"""The metadata of an archive follow the profiles that they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geolatents.archive.citation import read_citation
from geolatents.archive.layout import METADATA
from geolatents.errors import ArchiveError
from tests.crates import problems
from tests.unit import archive_data as data
from tests.unit.archive_data import METRICS, MODEL, STORE

pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    return data.pack(folder, data.make_run(folder), images="none", authors=["Grace Hopper"])


@pytest.fixture
def graph(packed: Path) -> dict[str, Any]:
    return {entity["@id"]: entity for entity in data.read(packed, METADATA)["@graph"]}


def test_it_is_a_provenance_run_crate(packed: Path, tmp_path: Path) -> None:
    assert problems(packed, tmp_path) == []


@pytest.mark.slow
def test_a_crate_without_licence_or_instrument_is_none(packed: Path, tmp_path: Path) -> None:
    """The validator, fed without the network, does find what is wrong."""
    folder = data.unpacked(packed, tmp_path / "unpacked")
    content = json.loads((folder / METADATA).read_text())
    for entity in content["@graph"]:
        if entity["@id"] == "./":
            del entity["license"]
        if entity["@id"] == "#job/1":
            del entity["instrument"]
    (folder / METADATA).write_text(json.dumps(content))
    found = "\n".join(problems(folder, tmp_path))
    assert "license" in found
    assert "instrument" in found


def test_each_job_is_an_action_with_what_it_read_and_made(graph: dict[str, Any]) -> None:
    actions = [one for one in graph.values() if one["@type"] == "CreateAction"]
    assert len(actions) == 1 + 3
    (train,) = [one for one in actions if one["name"].startswith("train")]
    assert train["instrument"] == {"@id": "workflow/workflow_scripts/olr/train.py"}
    assert {"@id": METRICS} in train["result"]
    assert train["object"] == {"@id": "results/demo/tiles/north.json"}
    usage = [graph[one["@id"]] for one in train["resourceUsage"]]
    assert {one["name"] for one in usage} == {"seconds", "peak_memory_mb"}


def test_files_bear_hashes_and_artifacts_their_identity(graph: dict[str, Any]) -> None:
    assert len(graph[MODEL]["sha256"]) == 64
    assert graph[MODEL]["identifier"].startswith("urn:sha-256:")
    assert "left out" in graph[f"#left-out/{STORE}"]["description"]


def test_who_made_it_under_which_licence(graph: dict[str, Any]) -> None:
    root = graph["./"]
    assert graph[root["author"]["@id"]]["name"] == "Grace Hopper"
    assert root["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert graph[root["citation"]["@id"]]["name"] == "A paper"
    assert graph["workflow/Snakefile"]["author"]["@id"] == "#author/ada-lovelace"


def test_a_citation_file_that_lacks_a_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "CITATION.cff"
    file.write_text("title: only\n")
    with pytest.raises(ArchiveError, match="citation file"):
        read_citation(file)
