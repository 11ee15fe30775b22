"""What the jobs of the small workflow do. Each says in its log what happens to it; each ends well in the end.

The folder ``starts`` holds one file per start of a job: an attempt of Snakemake, or a requeue of SLURM.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

LOG = Path(snakemake.log[0])  # noqa: F821 (Snakemake gives it)
OUTPUT = Path(snakemake.output[0])  # noqa: F821
NAME = OUTPUT.stem
PATIENCE = 400


def say(text: str) -> None:
    """A line into a file that Snakemake does not know, so that it survives the attempt."""
    with Path(f"{NAME}.said").open("a") as file:
        file.write(text + "\n")


def start() -> int:
    """The number of this start, from 1."""
    Path("starts").mkdir(exist_ok=True)
    number = 1 + len(list(Path("starts").glob(f"{NAME}-*")))
    Path(f"starts/{NAME}-{number}").write_text(f"{os.environ['SLURM_JOB_ID']} {os.getpid()}")
    return number


def wait(what: str) -> None:
    """Wait for a file that the test writes, or for the end that the test brings."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if Path(what).exists():
            return
        time.sleep(0.2)
    sys.exit(f"nobody came for {NAME}")


def save(number: int, _frame: object) -> None:
    """As a training does it: a warning saves and goes on, an end saves, which takes a while, and stops."""
    name = signal.Signals(number).name
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_IGN)  # it comes twice: to the step, and through srun
    say(f"{name} came")
    if number == signal.SIGTERM:
        for _ in range(30):
            time.sleep(0.1)
        say(f"saved after {name}")
        sys.exit(1)


signal.signal(signal.SIGUSR1, save)
if NAME == "limited":
    signal.signal(signal.SIGTERM, save)
NUMBER = start()
if NAME == "hungry":
    held = bytearray(os.urandom(1024)) * (800 * 1024)
    time.sleep(6)
elif NAME == "abandoned":
    wait("go-on")
elif NAME in {"limited", "requeued", "killed", "lost"} and NUMBER == 1:
    wait("never")
LOG.write_text("done\n")
told = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_PARTITION", "SLURM_JOB_ID")
OUTPUT.write_text(json.dumps({"start": NUMBER} | {key: os.environ.get(key) for key in told}))
