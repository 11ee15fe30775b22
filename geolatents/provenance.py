"""Provenance beside every artifact: what made it, from what, with which versions, how long it took."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from geolatents import __version__
from geolatents.files import write_json
from geolatents.hashes import bounded_sha256, size_of
from geolatents.host import PeakMemory, host_kind
from geolatents.places import RESULTS, Places

LIBRARIES = (
    "geopandas", "keras", "matplotlib", "numpy", "pyarrow", "rasterio", "scikit-learn", "scipy",
    "shapely", "snakemake", "tensorflow", "tensorflow-cpu", "tensorstore", "zarr", "zarrs",
)  # fmt: skip

ENDING = ".prov.json"


@dataclass(frozen=True)
class Job:
    """What the engine says of the job that makes the artifacts.

    Attributes:
        rule: Name of the rule.
        wildcards: Values of its wildcards.
        threads: Threads that it was given.
        log: Its log file.
    """

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    log: Path | None = None


@contextmanager
def recorded(
    outputs: Sequence[Path],
    *,
    inputs: Sequence[Path] = (),
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    code: str | None = None,
    job: Job | None = None,
    results: Path = Path(RESULTS),
) -> Iterator[None]:
    """Write ``{output}.prov.json`` beside each output when the block ends well.

    Files are named as in :mod:`geolatents.places`, so that a record names no folder of this machine.

    Args:
        outputs: Artifacts that the block makes.
        inputs: What it reads: files, and folders as the hash of their names and contents. What is larger than
            :data:`geolatents.hashes.LARGEST` has no hash here: it comes in through its record or manifest.
        config: The configuration slice that it was given.
        seed: Seed of random steps.
        code: Fingerprint of the library code.
        job: The job that runs the block.
        results: Root of the results.
    """
    places = Places(results)
    started, clock = datetime.now(UTC), time.perf_counter()
    with PeakMemory() as memory:
        yield
    seconds = round(time.perf_counter() - clock, 3)
    record = {
        "version": __version__,
        "commit": commit(),
        "code": code,
        "config": json.loads(places.text(json.dumps(config))),
        "seed": seed,
        "inputs": {places.name(p): bounded_sha256(p) for p in map(Path, inputs)},
        "outputs": {places.name(p): bounded_sha256(p) for p in map(Path, outputs)},
        "started": started.isoformat(timespec="seconds"),
        "seconds": seconds,
        "peak_memory_mb": memory.megabytes(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "host": host_kind(),
        "libraries": library_versions(),
        **_described(job, places),
    }
    for output in map(Path, outputs):
        name = places.name(output)
        own = {"artifact": name, "sha256": record["outputs"][name], "bytes": size_of(output)}
        write_json(provenance_path(output), own | record)


def provenance_path(artifact: Path) -> Path:
    """Where the provenance of an artifact lies."""
    return artifact.with_name(artifact.name + ENDING)


@cache
def library_versions() -> dict[str, str]:
    """Versions of the installed libraries that can change a result."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"python": sys.version.split()[0]}


@cache
def commit() -> str | None:
    """Commit of the checkout that the library runs from, with ``+`` where files differ from it."""
    root = Path(__file__).resolve().parent.parent
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def _described(job: Job | None, places: Places) -> dict[str, Any]:
    if job is None:
        return {}
    return asdict(job) | {"log": places.name(job.log) if job.log else None}
