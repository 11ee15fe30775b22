"""The files of an archive: artifacts, their provenance and logs, the configuration and the code."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from geolatents.archive.run import Run
from geolatents.hashes import files_of
from geolatents.places import RESULTS
from geolatents.provenance import ENDING, provenance_path

CODE = "workflow"
"""Folder of the code in an archive."""

CHECKOUT = (
    "CITATION.cff", "LICENSE", "Makefile", "README.md", "Snakefile", "config", "config.yaml", "docs",
    "envs", "geolatents", "profiles", "pyproject.toml", "requirements.lock", "rules", "tools",
    "workflow_scripts",
)  # fmt: skip
"""Files and folders of the checkout that an archive holds."""

LEDGER = "test-ledger.jsonl"
"""Every reading of the test part; appended by jobs, no output of a rule."""


@dataclass(frozen=True)
class Member:
    """A file of the archive.

    Attributes:
        name: Its name there.
        path: Where it lies here.
        artifact: The artifact that it is or belongs to.
        rewritten: Whether folders of this machine get their public names.
    """

    name: str
    path: Path
    artifact: str | None = None
    rewritten: bool = False


def members(run: Run, left_out: Collection[str], checkout: Path) -> list[Member]:
    """Files of the archive, sorted by name.

    Args:
        run: The run.
        left_out: Artifacts whose files stay out; their provenance does not.
        checkout: Folder of the Snakefile.
    """
    found = {
        member.name: member
        for member in (
            *_artifacts(run, left_out),
            *_records(run),
            *_code(checkout),
        )
    }
    return [found[name] for name in sorted(found)]


def _artifacts(run: Run, left_out: Collection[str]) -> Iterator[Member]:
    for name in run.makers:
        if name not in left_out:
            for below, file in files_of(run.path(name)):
                yield Member(f"{name}/{below}" if below else name, file, artifact=name)


def _records(run: Run) -> Iterator[Member]:
    """Provenance, logs, benchmarks and ledgers."""
    for name in run.makers:
        yield Member(name + ENDING, provenance_path(run.path(name)), rewritten=True)
    for job in run.jobs:
        for beside in filter(None, (job.log, job.benchmark)):
            if run.path(beside).is_file():
                yield Member(beside, run.path(beside), rewritten=True)
    for dataset in sorted({Path(name).parts[1] for name in run.makers}):
        name = f"{RESULTS}/{dataset}/{LEDGER}"
        if run.path(name).is_file():
            yield Member(name, run.path(name))


def _code(checkout: Path) -> Iterator[Member]:
    for name in CHECKOUT:
        for file in _visible(checkout / name):
            yield Member(f"{CODE}/{file.relative_to(checkout).as_posix()}", file)


def _visible(path: Path) -> Iterator[Path]:
    """A file, or the files of a folder without what Python and editors leave there."""
    if path.is_file():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [n for n in folders if not n.startswith(".") and n != "__pycache__"]
        yield from (Path(folder) / n for n in names if not n.startswith(".") and n != "__pycache__")
