"""Daemons as children that are remembered by process id and start time, and ended with everything they began."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from geolatents.errors import GeolatentsError

POLL = 0.1


class SlurmError(GeolatentsError):
    """The private SLURM cannot start, or one of its commands failed."""


class Daemons:
    """The daemons of one cluster.

    Each runs in the foreground in a session of its own: a daemon that forks into the background would have to
    be found again by a file that it may not have written yet.

    Args:
        folder: Folder of the cluster.
        environment: What they are started with; SLURM_CONF in it marks what belongs to this cluster.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._record = folder / "run" / "daemons.json"

    def start(self, name: str, *command: str, **variables: str) -> None:
        """Start one, with more variables; its output goes to ``log/{name}.out``."""
        with (self._folder / "log" / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment | variables,
                cwd=self._folder / "run",
                start_new_session=True,
            )
        known = self.known() | {name: [process.pid, _born(process.pid)]}
        self._record.write_text(json.dumps(known))

    def known(self) -> dict[str, list[int]]:
        """Names with process id and start time of everything started, alive or not."""
        found: dict[str, list[int]] = (
            json.loads(self._record.read_text()) if self._record.exists() else {}
        )
        return found

    def alive(self) -> list[str]:
        """Names of those that run."""
        return [name for name, (pid, born) in self.known().items() if _runs(pid, born)]

    def stop(self, name: str, patience: float = 10.0) -> None:
        """End one: ask first, then kill."""
        pid, born = self.known().get(name, (0, 0))
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not _runs(pid, born):
                return
            os.kill(pid, number)
            wait_until(lambda: not _runs(pid, born), patience)

    def stop_all(self) -> None:
        """End all, the last started first, then job processes that outlived their node."""
        for name in reversed(self.known()):
            self.stop(name)
        self.kill(lambda program, marks: "SLURM_JOB_ID" in marks or program == "slurmstepd")
        self._record.unlink(missing_ok=True)

    def kill(self, wanted: Callable[[str, Mapping[str, str]], bool]) -> None:
        """Kill processes of this cluster whose program and variables are wanted.

        Step managers and jobs are no children of the daemons; they are known by the cluster's configuration
        in their environment, which the shell and the tests that use the cluster have as well.
        """
        for pid, program, variables in _processes():
            ours = variables.get("SLURM_CONF") == self._environment["SLURM_CONF"]
            if ours and pid != os.getpid() and wanted(program, variables):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], patience: float) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(POLL)
    return condition()


def tail(files: Iterable[Path], lines: int = 5) -> str:
    """The last lines of log files, for a message."""
    parts = []
    for file in files:
        if file.exists() and (text := file.read_text(errors="replace").splitlines()[-lines:]):
            parts += [f"  {file}:", *(f"    {line}" for line in text)]
    return "\n".join(parts)


def _processes() -> Iterator[tuple[int, str, dict[str, str]]]:
    """Process id, program and variables of everything that this user may look at."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "environ").read_bytes().decode(errors="replace")
            program = (folder / "comm").read_text().strip()
        except OSError:
            continue
        pairs = (item.partition("=") for item in text.split("\0"))
        yield int(folder.name), program, {name: value for name, _, value in pairs}


def _runs(pid: int, born: int) -> bool:
    """Whether this very process runs; a zombie that nobody reaped does not."""
    _reap(pid)
    return pid > 0 and _born(pid) == born and born > 0


def _reap(pid: int) -> None:
    """Collect a child's exit, where the daemon is a child of this process."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)


def _born(pid: int) -> int:
    """Start time of a process in clock ticks, 0 where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
