"""Real Snakemake runs in a folder of their own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.makers import make_config, make_landcover, make_scene

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Run:
    """What a Snakemake run said."""

    code: int
    output: str

    @property
    def jobs(self) -> dict[str, int]:
        """Rules and the number of their jobs, from the job table (empty when nothing was to be done)."""
        table = self.output.partition("Job stats:")[2].partition("total")[0]
        return {
            name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, flags=re.M)
        }


@dataclass
class Workspace:
    """A working directory with data and a configuration."""

    folder: Path
    checkout: Path = ROOT

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(
        self,
        *arguments: str,
        config: Path | None = None,
        cores: int = 2,
        variables: Mapping[str, str] | None = None,
    ) -> Run:
        """Run Snakemake on the checkout's Snakefile, here."""
        started = self.start(*arguments, config=config, cores=cores, variables=variables)
        try:
            output, _ = started.communicate(timeout=1800)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
        return Run(started.returncode, output)

    def start(
        self,
        *arguments: str,
        config: Path | None = None,
        cores: int = 2,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start such a run in a process group of its own, so that it can be killed whole."""
        command = [
            sys.executable, "-m", "snakemake", "--snakefile", str(self.checkout / "Snakefile"),
            "--directory", str(self.folder), "--profile", str(self.checkout / "profiles/default"),
            "--cores", str(cores), "--nocolor",
        ]  # fmt: skip
        path = [str(self.checkout)] if self.checkout != ROOT else []
        path += filter(None, [(variables or {}).get("PYTHONPATH"), os.environ.get("PYTHONPATH")])
        return subprocess.Popen(
            [*command, *arguments, "--configfile", str(config or self.folder / "config.yaml")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, **(variables or {}), "PYTHONPATH": os.pathsep.join(path)},
            start_new_session=True,
        )

    def hashes(self) -> dict[str, str]:
        """Content of everything that was built, without logs, checks and provenance."""
        skipped = {"logs", "checks", "benchmarks", ".state"}
        return {
            path.relative_to(self.results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.results.rglob("*"))
            if path.is_file()
            and not skipped & set(path.relative_to(self.results).parts)
            and not path.name.endswith((".prov.json", ".snakemake_timestamp", "ledger.jsonl"))
        }

    def copy(self, folder: Path) -> Workspace:
        """The same state in another folder, clocks kept."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True)
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace(str(self.folder), str(folder)))
        return Workspace(folder, self.checkout)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run of two small scenes, made once for all workers of xdist; tests work on copies."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    space = Workspace(root / "finished")
    with (root / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "finished.whole").exists():
            finish(space)
            (root / "finished.whole").touch()
    return space


def finish(space: Workspace) -> None:
    """Make the data of the small run, and run it."""
    for column in range(2):
        make_scene(space.data / f"scene-{column}.tif", column=column, seed=column)
    make_landcover(space.data / "landcover.gpkg")
    make_config(space.folder)
    done = space.run()
    assert done.code == 0, done.output


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished run, to be changed at will."""
    return finished.copy(tmp_path)
