"""A private SLURM, and Snakemake runs on it with the project's own profile."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import Run
from tools.slurm.cluster import PrivateSlurm

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 420
RUN_PATIENCE = 1800
"""Seconds for one thing to happen, and for a whole run; only a hang, or a machine with much else to do, takes that long."""

QUICK = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
"""SLURM is asked sooner than the profile says: these jobs are short."""


def eventually(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true value of a condition."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.3)
    raise AssertionError(f"waited {patience:.0f} s until {what}, in vain")


@dataclass(frozen=True)
class Job:
    """One job, or task of an array, as sacct tells it."""

    id: str
    state: str
    partition: str
    memory: str
    minutes: str
    comment: str


class ClusterRun:
    """A Snakemake that runs on the private SLURM.

    Args:
        slurm: The cluster.
        folder: Working directory.
        snakefile: What it runs.
        arguments: More of its command line.
    """

    def __init__(self, slurm: PrivateSlurm, folder: Path, snakefile: Path, *arguments: str) -> None:
        self.slurm, self.folder = slurm, folder
        self._file = folder / f"snakemake-{time.monotonic_ns()}.txt"
        command = [
            sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(folder),
            "--workflow-profile", str(ROOT / "profiles/slurm"), "--nocolor", *QUICK, *arguments,
        ]  # fmt: skip
        with self._file.open("w") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**slurm.environment, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
                # Below nohup, or in the background of a script, it would be born to ignore it.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def output(self) -> str:
        return self._file.read_text()

    @property
    def id(self) -> str:
        """The name of all jobs of this run."""
        found = eventually(
            lambda: re.search(r"SLURM run ID: (\S+)", self.output), "Snakemake gives its run id"
        )
        return str(found[1])

    def wait(self, patience: float = RUN_PATIENCE) -> Run:
        """The finished run."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"Snakemake hangs:\n{self.output[-8000:]}") from None
        return Run(code, self.output)

    def end(self, number: signal.Signals) -> None:
        """Send a signal to Snakemake."""
        self.process.send_signal(number)

    def jobs(self) -> list[Job]:
        """Its jobs, as sacct knows them, requeued ones once."""
        columns = "JobID,State,Partition,ReqMem,TimelimitRaw,Comment%200"
        names = f"--name={self.id}"
        # Without a start, sacct leaves out what ended before midnight.
        text = self.slurm.command(
            "sacct", "-X", "-n", "-P", names, f"--format={columns}", "--starttime=now-2days"
        )
        return [Job(*line.split("|", 5)) for line in text.splitlines()]

    def ended(self, name: str, number: int) -> list[Job]:
        """So many jobs of a small rule; waits for them, as sacct knows the comment of a job only when it has ended."""

        def found() -> list[Job]:
            jobs = [job for job in self.jobs() if job.comment == f"rule_{name}"]
            return jobs if len(jobs) >= number else []

        return list(eventually(found, f"{number} jobs of {name} have ended"))

    def started(self, name: str, number: int = 1) -> tuple[str, int]:
        """SLURM's id and the process id of a start of a small job; waits for it."""
        file = self.folder / "starts" / f"{name}-{number}"
        text = eventually(lambda: file.exists() and file.read_text(), f"{name} starts ({number})")
        job, pid = str(text).split()
        return job, int(pid)

    def made(self, name: str) -> dict[str, Any]:
        """What a small job wrote; waits for it."""
        file = self.folder / "out" / f"{name}.json"
        eventually(
            lambda: file.exists() or self.process.poll() is not None, f"{name} leaves its output"
        )
        assert file.exists(), self.output[-8000:]
        return dict(json.loads(file.read_text()))

    def said(self, name: str) -> list[str]:
        """What a small job said of what happened to it."""
        file = self.folder / f"{name}.said"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="session")
def slurm() -> Iterator[PrivateSlurm]:
    """A private SLURM for all tests, stopped at the end."""
    if packages := PrivateSlurm.missing():
        pytest.skip(f"SLURM is not installed here; as root: {packages}")
    with (
        tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder,
        PrivateSlurm(Path(folder)) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="session")
def small(slurm: PrivateSlurm) -> Callable[..., ClusterRun]:
    """Start the small workflow in a folder."""

    def start(folder: Path, *arguments: str) -> ClusterRun:
        return ClusterRun(slurm, folder, ROOT / "tests/cluster/Snakefile", *arguments)

    return start


@pytest.fixture(scope="session")
def troubles(
    request: pytest.FixtureRequest,
    small: Callable[..., ClusterRun],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ClusterRun]:
    """All small jobs that get into trouble, at the same time; as they mostly wait, the demo runs beside them."""
    if any("demo" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("demo")
    run = small(tmp_path_factory.mktemp("troubles"), "troubles", "--slurm-keep-successful-logs")
    yield run
    run.process.kill()


@pytest.fixture(scope="session")
def demo_config() -> dict[str, Any]:
    """The demo with all its stages, with fewer scenes and epochs, a smaller network, and a second seed."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["datasets"]["demo-a"]["imagery"]["scenes"] = 2
    config["datasets"]["demo-b"]["imagery"]["scenes"] = 1
    config["datasets"]["demo-a"]["batches"] = {
        "randomized": config["datasets"]["demo-a"]["batches"]["randomized"] | {"epochs": 2}
    }
    network = {"name": "residual", "widths": [8, 16], "stem_stride": 2}
    config["models"]["demo-classifier"] |= {"epochs": 2, "seeds": [0, 1], "network": network}
    config["models"]["demo-siamese"] |= {"epochs": 1, "weak_teacher": "use", "refine_steps": 50}
    return dict(config)


@pytest.fixture(scope="session")
def demo(
    slurm: PrivateSlurm, demo_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterRun]:
    """The demo on the cluster; those who need its results wait for it."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "config.yaml").write_text(yaml.safe_dump(demo_config, sort_keys=False))
    run = ClusterRun(slurm, folder, ROOT / "Snakefile", "--configfile", "config.yaml")
    yield run
    run.process.kill()
