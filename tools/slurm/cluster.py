"""Start and stop a private SLURM."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tools.slurm.daemons import Daemons, SlurmError, tail, wait_until
from tools.slurm.files import (
    CLUSTER,
    NODE,
    NODES,
    Ports,
    Size,
    environment,
    free_ports,
    write_files,
)

__all__ = ["PrivateSlurm", "SlurmError"]

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
}
"""What must be installed, and the Debian package that has it."""

SYSTEM_PATH = ":/usr/sbin:/sbin"
"""Where Debian puts daemons; not on every user's path."""

PLUGIN = "slurm-wlm-mysql-plugin"
LONGEST = 90
"""Characters of the folder's path; a socket's may have 107."""

PATIENCE = 60.0
"""Seconds that a daemon may take on a busy machine; it usually takes less than one."""


class PrivateSlurm:
    """A real SLURM in a folder.

    Args:
        folder: Where everything lies; short, because socket paths have at most 107 characters.
        size: What each node claims to have.
    """

    def __init__(self, folder: Path, size: Size = NODE) -> None:
        self.folder = Path(folder).resolve()
        self.size = size
        self.environment = environment(self.folder)
        self.daemons = Daemons(self.folder, self.environment)

    def __enter__(self) -> PrivateSlurm:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @staticmethod
    def missing() -> str:
        """Which Debian packages are missing, in words; empty where all are there."""
        search = os.environ.get("PATH", "") + SYSTEM_PATH
        packages = {
            package
            for program, package in PROGRAMS.items()
            if shutil.which(program, path=search) is None
        }
        if not list(Path("/usr/lib").glob("*/slurm*/accounting_storage_mysql.so")):
            packages.add(PLUGIN)
        names = " ".join(sorted(packages))
        return f"apt-get install --no-install-recommends {names}" if packages else ""

    def start(self) -> str:
        """Start everything and wait until all nodes are idle.

        Raises:
            SlurmError: Programs are missing, it runs already, or a daemon did not come up.
        """
        self._check()
        ports = free_ports()
        write_files(self.folder, ports, self.size)
        try:
            self._start_munge()
            self._start_accounting(ports)
            self.daemons.start("slurmctld", "slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            self._wait("nodes are idle", self._all_idle)
        except BaseException:
            self.stop()
            raise
        return f"{self.status()}\nUse it:  . {self.folder}/env.sh"

    def stop(self) -> str:
        """Stop everything that was started here, jobs included."""
        if "slurmctld" in self.daemons.alive():
            self.command("scancel", "--full", f"--user={getpass.getuser()}", check=False)
            wait_until(lambda: not self.command("squeue", "-h", check=False), patience=5)
        self.daemons.stop_all()
        return f"stopped {self.folder}"

    def status(self) -> str:
        """Daemons, nodes and queue."""
        running = self.daemons.alive()
        if "slurmctld" not in running:
            return f"not running in {self.folder}"
        return f"running: {', '.join(running)}\n{self.command('sinfo')}{self.command('squeue')}"

    def start_node(self, name: str) -> None:
        """Start one node's slurmd."""
        (self.folder / "spool" / name).mkdir(parents=True, exist_ok=True)
        self.daemons.start(name, "slurmd", "-D", "-N", name, SLURMD_NODENAME=name)

    def lose_node(self, name: str) -> None:
        """Kill one node's slurmd and its jobs at once, as if its machine had lost power."""
        self.daemons.kill(lambda _, variables: variables.get("SLURMD_NODENAME") == name)

    def hurry(self, job: str) -> None:
        """Start a requeued job as soon as it waits; SLURM would leave it alone for two minutes."""
        self._wait(
            f"job {job} is in the queue again",
            lambda: "PENDING" in self.command("squeue", "-h", "-j", job, "-o", "%T", check=False),
        )
        self.command("scontrol", "update", f"JobId={job}", "StartTime=now")

    def command(self, *command: str, check: bool = True) -> str:
        """Output of a SLURM command.

        Raises:
            SlurmError: It failed.
        """
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        if check and done.returncode:
            raise SlurmError(f"{command[0]} failed", where=" ".join(command), found=done.stderr)
        return done.stdout

    def _check(self) -> None:
        if packages := self.missing():
            raise SlurmError("a private SLURM needs more packages", fix=f"as root: {packages}")
        if running := self.daemons.alive():
            raise SlurmError(
                "it runs already",
                where=self.folder,
                found=", ".join(running),
                fix="stop it first, or take another folder",
            )
        if len(str(self.folder)) > LONGEST:
            raise SlurmError(
                "the path is too long for the sockets in it",
                where=self.folder,
                expected=f"at most {LONGEST} characters",
                fix="take a folder such as /tmp/slurm",
            )

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        options = {
            "key-file": "munge.key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
        }
        paths = [f"--{option}={folder}/{name}" for option, name in options.items()]
        self.daemons.start(
            "munged", "munged", "--foreground", "--force", *paths, f"--seed-file={folder}/seed"
        )
        self._wait(
            "munged listens", lambda: self._works("munge", "-n", f"--socket={folder}/socket")
        )

    def _start_accounting(self, ports: Ports) -> None:
        data, socket, user = self.folder / "mysql", self.folder / "run" / "mysql", getpass.getuser()
        if not (data / "mysql").is_dir():
            self._run(
                "mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={data}",
                "--auth-root-authentication-method=normal", "--skip-test-db",
            )  # fmt: skip
        self.daemons.start(
            "mariadbd", "mariadbd", "--no-defaults", f"--user={user}", f"--datadir={data}", f"--socket={socket}",
            "--bind-address=127.0.0.1", f"--port={ports.database}", f"--pid-file={self.folder}/run/mariadbd.pid",
            "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900",
        )  # fmt: skip
        client = ("mariadb", "--no-defaults", "--user=root", f"--socket={socket}", "-e")
        self._wait("MariaDB listens", lambda: self._works(*client, "select 1"))
        self._run(
            *client,
            "create database if not exists slurm_acct_db;"
            "create user if not exists slurm@'127.0.0.1' identified by 'slurm';"
            "create user if not exists slurm@localhost identified by 'slurm';"
            "grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
            "grant all on slurm_acct_db.* to slurm@localhost;",
        )
        self.daemons.start("slurmdbd", "slurmdbd", "-D")
        self._wait(
            "slurmdbd answers", lambda: self._works("sacctmgr", "-n", "-i", "list", "cluster")
        )
        # The controller needs its cluster known; jobs need no association.
        self.command("sacctmgr", "-i", "add", "cluster", CLUSTER, check=False)

    def _all_idle(self) -> bool:
        states = self.command("sinfo", "-h", "-N", "-o", "%N %t", check=False).splitlines()
        return {line for line in states if line.endswith(" idle")} == {f"{n} idle" for n in NODES}

    def _works(self, *command: str) -> bool:
        try:
            done = subprocess.run(
                command, env=self.environment, capture_output=True, timeout=5, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SlurmError(
                f"{command[0]} failed", where=self.folder, found=done.stdout + done.stderr
            )

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        if not wait_until(condition, PATIENCE):
            logs = sorted([*self.folder.glob("log/*"), self.folder / "munge" / "log"])
            raise SlurmError(
                f"waited {PATIENCE:.0f} s until {what}, in vain",
                where=self.folder,
                found=f"in the logs\n{tail(logs)}",
                fix="read the logs; a full disk or a taken port is the usual cause",
            )
