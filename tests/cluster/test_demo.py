"""The demo on a real SLURM: it ends well, asks for what the rules say, and makes what a laptop makes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import ROOT, ClusterRun
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.cluster

SCENES = 3
SEEDS = 2
STAGES = ("tiles/", "cover/", "labels/", "splits/", "batches/")


def asked_for(rule: str) -> tuple[int, int]:
    """Memory and minutes of a rule's first attempt, read from the rule files."""
    text = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    block = text.partition(f"\nrule {rule}:")[2].partition("\nrule ")[0]
    memory, minutes = re.search(r"mem_mb=grown\((\d+)\).*?runtime=(\d+)", block, re.S).groups()
    return int(memory), int(minutes)


def submitted(demo: ClusterRun) -> dict[str, list[tuple[str, str]]]:
    """Rules and groups, with memory and minutes that SLURM was asked for, once per submission."""
    found: dict[str, list[tuple[str, str]]] = {}
    for job in demo.jobs():
        rule = job.comment.removeprefix("rule_").split("_wildcards_")[0]
        found.setdefault(rule, []).append((job.memory, job.minutes))
    return found


def test_it_ends_well_and_nothing_is_left_to_do(demo: ClusterRun) -> None:
    run = demo.wait()
    assert run.code == 0, run.output[-8000:]
    assert {job.state for job in demo.jobs()} == {"COMPLETED"}
    assert Workspace(demo.folder).run("--dry-run").jobs == {}, "nor on a laptop"


def test_one_job_per_scene_and_one_per_model_and_seed(demo: ClusterRun) -> None:
    demo.wait()
    counts = Counter({rule: len(jobs) for rule, jobs in submitted(demo).items()})
    assert counts["scene_check_scene_cut_tiles_draw_scene_record_scene"] == SCENES
    assert counts["cover_measure_cover"] == SCENES
    assert counts["train_classifier"] == counts["train_siamese"] == SEEDS
    assert not {"all", "summarise", "write_report", "check_scenes"} & set(counts), "local rules"


def test_jobs_ask_for_what_their_rules_say(demo: ClusterRun) -> None:
    demo.wait()
    jobs = submitted(demo)
    for rule in ("train_classifier", "train_siamese", "evaluate_model", "run_experiment"):
        memory, minutes = asked_for(rule)
        assert set(jobs[rule]) == {(f"{memory}M", str(minutes))}, rule


GROUPS = {
    "scene_check_scene_cut_tiles_draw_scene_record_scene": ["draw_scene", "check_scene", "record_scene", "cut_tiles"],
    "landcover_check_landcover_draw_landcover_read_landcover": ["draw_landcover", "check_landcover", "read_landcover"],
    "dataset_check_labels_check_split_check_training_count_labels_draw_cooccurrence_...": [
        "index_tiles", "check_split", "make_split", "make_order", "check_labels", "check_labels",
        "make_label_set", "make_label_set", "measure_cooccurrence", "measure_cooccurrence",
        "draw_cooccurrence", "draw_cooccurrence", "count_labels", "count_labels",
        "draw_counts", "draw_counts", "check_training",
    ],
}  # fmt: skip
"""Jobs in one submission."""


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_asks_for_the_most_memory_of_a_job_and_the_time_of_all(
    demo: ClusterRun, name: str
) -> None:
    demo.wait()
    parts = [asked_for(rule) for rule in GROUPS[name]]
    expected = (f"{max(m for m, _ in parts)}M", str(sum(minutes for _, minutes in parts)))
    assert set(submitted(demo)[name]) == {expected}


def test_data_are_those_of_a_laptop(
    demo: ClusterRun, demo_config: dict[str, Any], tmp_path: Path
) -> None:
    demo.wait()
    laptop = Workspace(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(demo_config, sort_keys=False))
    assert laptop.run("tiles", "labels", "batches").code == 0
    here, there = manifests(laptop), manifests(Workspace(demo.folder))
    assert len(here) >= 12
    assert here == {name: there.get(name) for name in here}


def manifests(space: Workspace) -> dict[str, str]:
    """Hashes of the manifests, which name the content of every data artifact."""
    return {
        name: value
        for name, value in space.hashes().items()
        if name.endswith(".json") and ".zarr/" not in name
        if name.partition("/")[2].startswith(STAGES)
    }
