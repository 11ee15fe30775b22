"""Provenance beside every artifact: what made it, from what, with which versions, how long it took."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from geolatents import __version__
from geolatents.files import sha256_file, write_json

LIBRARIES = (
    "geopandas", "keras", "numpy", "rasterio", "scikit-learn", "scipy", "shapely", "snakemake",
    "tensorflow", "tensorflow-cpu", "zarr",
)  # fmt: skip


@contextmanager
def recorded(
    outputs: Sequence[Path],
    *,
    inputs: Sequence[Path] = (),
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    code: str | None = None,
) -> Iterator[None]:
    """Write ``{output}.prov.json`` beside each output when the block ends well.

    Args:
        outputs: Artifacts that the block makes.
        inputs: What it reads; files below 1 MB are hashed, larger ones come in through their record.
        config: The configuration slice that it was given.
        seed: Seed of random steps.
        code: Fingerprint of the library code.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    yield
    record = {
        "version": __version__,
        "commit": commit(),
        "code": code,
        "config": config,
        "seed": seed,
        "inputs": {p.as_posix(): _input_hash(p) for p in map(Path, inputs)},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": library_versions(),
    }
    for output in map(Path, outputs):
        write_json(provenance_path(output), {"artifact": output.as_posix(), **record})


def provenance_path(artifact: Path) -> Path:
    """Where the provenance of an artifact lies."""
    return artifact.with_name(artifact.name + ".prov.json")


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


def _input_hash(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() and path.stat().st_size < 2**20 else None
