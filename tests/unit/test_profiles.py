"""The two profiles agree where they must, and the cluster's profile names rules that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def profile(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text()))


def rules() -> dict[str, str]:
    """Rules by name, with their text."""
    text = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    blocks = re.split(r"^rule ", text, flags=re.M)[1:]
    return {block.partition(":")[0]: block for block in blocks}


def local_rules() -> set[str]:
    block = (ROOT / "Snakefile").read_text().partition("localrules:")[2].partition("\n\n")[0]
    return set(re.findall(r"\w+", block))


@pytest.mark.parametrize("key", ["rerun-triggers", "rerun-incomplete", "show-failed-logs"])
def test_a_run_may_go_on_from_laptop_to_cluster(key: str) -> None:
    assert profile("slurm")[key] == profile("default")[key]


def test_groups_name_rules_that_are_submitted() -> None:
    """A local rule in a group would make the whole group local."""
    grouped = set(profile("slurm")["groups"])
    assert grouped <= set(rules())
    assert not grouped & local_rules()


def test_group_components_name_groups() -> None:
    both = profile("slurm")
    assert set(both["group-components"]) <= set(both["groups"].values())


def test_trainings_are_single_jobs() -> None:
    """Two seeds share a check, so that a group would put them into one job."""
    trainings = {name for name in rules() if name.startswith("train_")}
    assert len(trainings) >= 2
    assert not trainings & set(profile("slurm")["groups"])


@pytest.mark.parametrize(("name", "block"), rules().items(), ids=list(rules()))
def test_a_rule_names_nothing_of_a_site(name: str, block: str) -> None:
    assert not re.search(r"slurm|partition=|account|constraint=|qos", block), name


def test_rules_that_need_the_internet_are_local() -> None:
    assert {name for name in rules() if name.startswith(("download", "search"))} <= local_rules()
