"""The estimate of a run beside what Snakemake would do and what a run leaves behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.makers import make_config
from tests.workflow.conftest import ROOT, Workspace

pytestmark = pytest.mark.workflow


def estimated(space: Workspace, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """What `make estimate` runs."""
    command = [sys.executable, "-m", "geolatents.estimate", "--cores", "2", "--directory", space.folder, "--snakefile", ROOT / "Snakefile"]  # fmt: skip
    return subprocess.run(
        [*map(str, command), *arguments, "--configfile", str(space.folder / "config.yaml")],
        capture_output=True, text=True, cwd=folder or space.folder,
    )  # fmt: skip


def rows(output: str) -> dict[str, int]:
    """Rules and the number of their jobs."""
    table = output.partition("time from\n")[2].partition("\n\n")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+) ", table, flags=re.M)}


def test_its_jobs_are_those_of_a_dry_run_from_any_folder(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_config(workspace.folder, experiments={"small": {"threshold": 0.2}})
    before = workspace.hashes()
    done = estimated(workspace, "olr", folder=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    jobs = workspace.run("--dry-run", "olr").jobs
    assert rows(done.stdout) == {rule: n for rule, n in jobs.items() if rule != "olr"} != {}
    assert "this folder" in done.stdout, "the benchmark of the earlier job counts"
    assert workspace.hashes() == before
    assert not list((workspace.folder / ".snakemake/locks").glob("*"))


def test_a_finished_run_needs_nothing(workspace: Workspace) -> None:
    done = estimated(workspace)
    assert done.stdout.strip() == "Nothing to be done."


def test_files_and_disk_are_about_those_that_a_run_leaves(workspace: Workspace) -> None:
    left = [
        file for file in workspace.results.rglob("*")
        if file.is_file() and ".state" not in file.parts and not file.name.endswith((".snakemake_timestamp", "ledger.jsonl"))
    ]  # fmt: skip
    megabytes = sum(file.stat().st_size for file in left) / 1e6
    shutil.rmtree(workspace.results)
    done = estimated(workspace)
    size, unit, files = re.search(r", ([\d.,]+) (MB|GB) in ([\d,]+) files", done.stdout).groups()  # type: ignore[union-attr]
    assert unit == "MB"
    assert int(files.replace(",", "")) == pytest.approx(len(left), rel=0.1)
    assert float(size) == pytest.approx(megabytes, rel=0.5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("no/such.file",), "No rule to produce no/such.file"), (("--no-such-flag",), "no-such-flag")],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: tuple[str, ...], told: str, workspace: Workspace
) -> None:
    done = estimated(workspace, *arguments)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
