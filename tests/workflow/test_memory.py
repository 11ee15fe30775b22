"""Memory grows with the attempt, and a laptop's limit neither stops nor starves a job that is tried again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workflow.conftest import ROOT

SNAKEFILE = """
include: "common.smk"

rule greedy:
    output:
        "asked.txt",
    resources:
        mem_mb=grown(4000),
    shell:
        "echo {resources.mem_mb} >> asked-each.txt; [ $(wc -l < asked-each.txt) = 2 ]; cp asked-each.txt {output}"
"""


def helpers() -> dict[str, Any]:
    """What rules/common.smk defines; it is plain Python that needs a plan."""
    text = (ROOT / "rules/common.smk").read_text()
    plan = SimpleNamespace(config=SimpleNamespace(environment="cpu"))
    space: dict[str, Any] = {"PLAN": plan, "config": {}}
    exec(compile(text, "rules/common.smk", "exec"), space)
    return space


def test_memory_grows_with_the_attempt() -> None:
    asked = helpers()["grown"](2000)
    assert [asked({}, attempt) for attempt in (1, 2, 3)] == [2000, 4000, 6000]


@pytest.mark.workflow
def test_a_retried_job_asks_for_no_more_than_the_laptop_has(tmp_path: Path) -> None:
    """The default profile's limit cuts what a job asks for; the job would wait for ever otherwise."""
    limit = re.search(
        r"^  mem_mb: (\d+)", (ROOT / "profiles/default/config.yaml").read_text(), re.M
    )
    assert limit
    assert int(limit[1]) < 2 * 4000
    text = (ROOT / "rules/common.smk").read_text()
    (tmp_path / "common.smk").write_text(text[text.index("def grown") : text.index("def section")])
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--retries", "1", "asked.txt"]
    profile = ["--profile", str(ROOT / "profiles/default")]
    done = subprocess.run(
        [*command, *profile], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked.txt").read_text().split() == ["4000", limit[1]]
