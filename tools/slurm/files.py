"""Configuration files of a private SLURM."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

NODES = ("cpu1", "cpu2", "gpu1", "spare1")
"""Nodes: two for the partition ``cpu``, one with two GPUs that are files, one whose loss hurts nobody else."""

GPUS = ("/dev/null", "/dev/zero")
CLUSTER = "private"


@dataclass(frozen=True)
class Size:
    """What each node claims to have; together they may claim more than the host has.

    Attributes:
        cpus: Processors of a node.
        memory: Memory of a node in MB.
    """

    cpus: int = 6
    memory: int = 16_000


NODE = Size()
"""Enough for all the tests at a time."""


@dataclass(frozen=True)
class Ports:
    """One port for each daemon, free when they were chosen."""

    controller: int
    database_daemon: int
    database: int
    nodes: tuple[int, ...]


def free_ports() -> Ports:
    """Ports that nobody listens on; all are held until the last is chosen, so that none comes twice."""
    sockets = [socket.socket() for _ in range(3 + len(NODES))]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        numbers = [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
    controller, database_daemon, database, *nodes = numbers
    return Ports(controller, database_daemon, database, tuple(nodes))


def write_files(folder: Path, ports: Ports, size: Size) -> None:
    """Write everything that the daemons read, and ``env.sh`` for those who use them."""
    for name in ("bin", "log", "munge", "run", "spool", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state").chmod(0o700)
    key = folder / "munge" / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    (folder / "slurm.conf").write_text(_slurm(folder, ports, size))
    (folder / "gres.conf").write_text(
        "AutoDetect=off\n" + "".join(f"NodeName=gpu1 Name=gpu File={gpu}\n" for gpu in GPUS)
    )
    # Named, because slurmd refuses to start where it looks for a cgroup mount and finds none.
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    _write_secret(folder / "slurmdbd.conf", _slurmdbd(folder, ports))
    (folder / "env.sh").write_text(
        f"export SLURM_CONF={folder}/slurm.conf\nexport PATH={folder}/bin:$PATH\n"
    )
    _write_srun(folder)


def _write_srun(folder: Path) -> None:
    """The job step of Snakemake's plugin drops SLURM_CONF before it calls srun; this srun sets it again."""
    wrapper = folder / "bin" / "srun"
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec /usr/bin/srun "$@"\n')
    wrapper.chmod(0o755)


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _slurm(folder: Path, ports: Ports, size: Size) -> str:
    host, user = socket.gethostname().split(".")[0], getpass.getuser()
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={size.cpus} "
        f"RealMemory={size.memory} State=UNKNOWN" + (" Gres=gpu:2" if name == "gpu1" else "")
        for name, port in zip(NODES, ports.nodes, strict=True)
    )
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports.controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log

# Neither cgroups nor task binding: nothing here needs systemd or a cgroup tree. Memory is polled instead.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none

# Lets a node claim more than the host has, and come back after it was away.
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=100000
SlurmdTimeout=10
MinJobAge=600
KillWait=30

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports.database_daemon}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment,job_script

GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=cpu1,cpu2 Default=YES MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
PartitionName=spare Nodes=spare1 MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
"""


def _slurmdbd(folder: Path, ports: Ports) -> str:
    return f"""\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports.database_daemon}
SlurmUser={getpass.getuser()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports.database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""


def environment(folder: Path) -> dict[str, str]:
    """The caller's environment, pointed at this cluster and at no other."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    return {
        **inherited,
        "SLURM_CONF": f"{folder}/slurm.conf",
        "PATH": f"{folder}/bin:{inherited.get('PATH', '')}:/usr/sbin:/sbin",
    }
