"""Provenance says what made an artifact, and nothing of the machine but its kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from geolatents.files import sha256_file
from geolatents.hashes import TIMESTAMP, bounded_sha256, sha256_of
from geolatents.host import host_kind
from geolatents.places import CONTACT, Places
from geolatents.provenance import Job, provenance_path, recorded


def test_record_beside_the_artifact(tmp_path: Path) -> None:
    source, artifact = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text("1")
    job = Job("make", {"dataset": "demo"}, 2, tmp_path / "logs/make.log")
    with recorded(
        [artifact],
        inputs=[source],
        config={"size": 64},
        seed=3,
        code="abc",
        job=job,
        results=tmp_path,
    ):
        artifact.write_text("2")
    record = json.loads(provenance_path(artifact).read_text())
    assert record["artifact"] == "results/out.json"
    assert record["inputs"] == {"results/in.json": sha256_file(source)}
    assert record["outputs"] == {"results/out.json": sha256_file(artifact)}
    assert (record["sha256"], record["bytes"]) == (sha256_file(artifact), 1)
    assert (record["config"], record["seed"], record["code"]) == ({"size": 64}, 3, "abc")
    assert (record["rule"], record["wildcards"], record["threads"]) == (
        "make",
        {"dataset": "demo"},
        2,
    )
    assert record["log"] == "results/logs/make.log"
    assert record["libraries"]["numpy"]
    assert record["seconds"] >= 0
    assert record["peak_memory_mb"] > 10
    assert record["host"]["scheduler"] == "local"


def test_a_failed_step_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), recorded([tmp_path / "out.json"]):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_hashed_by_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "c").mkdir(parents=True)
        (folder / "c/0").write_text("a")
        (folder / "zarr.json").write_text("{}")
    (one / TIMESTAMP).touch()
    assert sha256_of(one) == sha256_of(two)
    (two / "c/0").rename(two / "c/1")
    assert sha256_of(one) != sha256_of(two)


def test_what_is_too_large_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("123")
    assert bounded_sha256(tmp_path / "a", largest=3) == sha256_file(tmp_path / "a")
    assert bounded_sha256(tmp_path / "a", largest=2) is None
    assert bounded_sha256(tmp_path, largest=2) is None


CHILD = """
import subprocess, sys, time
from geolatents.host import PeakMemory
held = "held = bytearray(300 * 2**20); print('held', flush=True); input()"
with PeakMemory() as memory:
    before = memory.megabytes()
    child = subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    print(memory.megabytes() - before)
    child.communicate("go")
"""


STARTED = """
import subprocess, sys
held = bytearray(500 * 2**20)
look = "from geolatents.host import PeakMemory; print(PeakMemory().megabytes())"
print(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout)
"""


def test_memory_of_children_counts() -> None:
    """In a process of its own: this one may have held more before than it and a child hold now."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 200, "less what it once held itself and gave back"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own peak")
def test_memory_of_who_started_it_does_not_count() -> None:
    """Snakemake's main process, for one, which may have grown large before it starts a job."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED], capture_output=True, text=True, check=True
    )
    assert 0 < float(done.stdout) < 300, "what the process itself held"


def test_a_batch_job_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    kind = host_kind()
    assert (kind["scheduler"], kind["scheduler_job"], kind["visible_gpus"]) == ("slurm", "17", "1")
    assert kind["cores"] >= 1
    assert kind["memory_gb"] > 0


def test_names_are_the_same_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLATENTS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GEOLATENTS_DOWNLOADS", str(tmp_path / "fetched"))
    monkeypatch.chdir(tmp_path)
    places = Places(tmp_path / "out" / "run")
    assert places.name(tmp_path / "out/run/demo/tiles.json") == "results/demo/tiles.json"
    assert places.name(Path("out/run/demo/tiles.json")) == "results/demo/tiles.json"
    assert places.name(tmp_path / "data/a.tif") == "data:a.tif"
    assert places.name(tmp_path / "fetched/sentinel2/a.tif") == "downloads:sentinel2/a.tif"
    assert places.name(Path("searches/a.geojson")) == "searches/a.geojson"
    outside = places.name(Path("/somewhere/else/a.tif"))
    assert outside.startswith("elsewhere:")
    assert outside.endswith("/a.tif")
    assert "somewhere" not in outside
    assert outside != places.name(Path("/another/a.tif"))


def test_texts_name_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLATENTS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    places = Places(tmp_path / "out")
    text = places.text(
        f"read {tmp_path}/data/a.tif, wrote {tmp_path}/out/b.json in {tmp_path}/out; {tmp_path}/outer "
        '/home/ada/x {"contact": "ada@home.org"}'
    )
    assert text == (
        f'read data:a.tif, wrote results/b.json in results; outer ~/x {{"contact": "{CONTACT}"}}'
    )
