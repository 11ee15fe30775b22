"""A run made here against an archived one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from geolatents.archive.__main__ import main
from geolatents.archive.compare import compare, version_differences
from geolatents.archive.identity import identity
from geolatents.archive.reading import open_archive
from geolatents.errors import ArchiveError
from geolatents.files import read_json, remove, write_json
from tests.unit import archive_data as data
from tests.unit.archive_data import FIGURE, MANIFEST, METRICS, MODEL, RECORD, STORE, TABLE, at


def verdicts(archive: Path, results: Path) -> dict[str, str]:
    with open_archive(archive) as file:
        return {one.name: one.verdict for one in compare(file, results)}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return data.pack(tmp_path, data.make_run(tmp_path), images="none")


def test_an_equal_run_is_equal(archive: Path, tmp_path: Path) -> None:
    again = data.make_run(tmp_path / "again")
    assert set(verdicts(archive, again).values()) == {"equal"}
    assert main(["verify", str(archive), "--results", str(again)]) == 0


def test_a_training_may_differ_within_the_tolerance(archive: Path, tmp_path: Path) -> None:
    again = data.make_run(tmp_path / "again", macro_ap=0.885)
    found = verdicts(archive, again)
    assert found[METRICS] == "within tolerance"
    assert found[MODEL] == found[FIGURE] == "differs, as it may"
    assert found[STORE] == found[TABLE] == "equal"
    assert main(["verify", str(archive), "--results", str(again)]) == 0


def test_a_training_beyond_the_tolerance_differs(archive: Path, tmp_path: Path) -> None:
    again = data.make_run(tmp_path / "again", macro_ap=0.87)
    assert verdicts(archive, again)[METRICS] == "differs"
    assert main(["verify", str(archive), "--results", str(again)]) == 1


def test_other_data_differ_and_are_missed(archive: Path, tmp_path: Path) -> None:
    again = data.make_run(tmp_path / "again", level=2)
    remove(at(again, RECORD))
    found = verdicts(archive, again)
    assert found[STORE] == found[MANIFEST] == found[TABLE] == "differs"
    assert found[RECORD] == "missing"
    assert main(["verify", str(archive), "--results", str(again)]) == 1


def test_a_damaged_store_differs(archive: Path, tmp_path: Path) -> None:
    again = data.make_run(tmp_path / "again")
    shard = max(at(again, STORE).rglob("*"), key=lambda file: file.stat().st_size * file.is_file())
    shard.write_bytes(b"\0" * 10)
    assert verdicts(archive, again)[STORE] == "differs"


def test_other_versions_are_named(archive: Path, tmp_path: Path) -> None:
    again = data.make_run(tmp_path / "again")
    record = at(again, METRICS + ".prov.json")
    content = read_json(record)
    content["libraries"]["numpy"] = "0.1"
    write_json(record, content)
    with open_archive(archive) as file:
        (line,) = version_differences(file, again)
    assert line.startswith("numpy: ")
    assert "0.1" in line


def test_no_results_are_an_error(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no results"):
        verdicts(archive, tmp_path / "nowhere")


def test_identity_is_that_of_the_content(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2], "geometry": [b"\1", b"\2"]})
    table.to_parquet(tmp_path / "one.parquet", compression="snappy")
    table.to_parquet(tmp_path / "two.parquet", compression="zstd", row_group_size=1)
    assert (tmp_path / "one.parquet").read_bytes() != (tmp_path / "two.parquet").read_bytes()
    assert identity(tmp_path / "one.parquet") == identity(tmp_path / "two.parquet")
    table.assign(a=[1, 3]).to_parquet(tmp_path / "two.parquet")
    assert identity(tmp_path / "one.parquet") != identity(tmp_path / "two.parquet")
    (tmp_path / "one.json").write_text('{"a": 1, "b": 2}')
    (tmp_path / "two.json").write_text('{"b":2,"a":1}')
    assert identity(tmp_path / "one.json") == identity(tmp_path / "two.json")
