"""What a finished run consists of, found by following provenance from its targets back to foreign files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from geolatents.errors import ArchiveError
from geolatents.files import Json, read_json
from geolatents.places import RESULTS, Places
from geolatents.provenance import provenance_path

NEEDED = {"outputs", "inputs", "rule", "wildcards", "started", "seconds"}
"""Keys of a provenance record that an archive is made from."""

SHOWN = {".png", ".html", ".md"}
"""Endings of what is only looked at: bytes of figures and pages depend on versions that change no figure."""


@dataclass(frozen=True)
class JobRecord:
    """One job of the run, as the provenance of its outputs tells it."""

    record: Mapping[str, Json]

    @property
    def rule(self) -> str:
        """Name of the rule."""
        return str(self.record["rule"])

    @property
    def name(self) -> str:
        """Rule and wildcards, for people."""
        wildcards = ", ".join(f"{key}={value}" for key, value in self.record["wildcards"].items())
        return f"{self.rule} ({wildcards})" if wildcards else self.rule

    @property
    def inputs(self) -> Mapping[str, str | None]:
        """Hashes of what the job read, by public name."""
        return dict(self.record["inputs"])

    @property
    def outputs(self) -> Mapping[str, str | None]:
        """Hashes of what the job made, by public name."""
        return dict(self.record["outputs"])

    @property
    def log(self) -> str | None:
        """Public name of the log."""
        return self.record.get("log")

    @property
    def benchmark(self) -> str | None:
        """Public name of the benchmark, which lies as the log does."""
        if self.log is None:
            return None
        return self.log.replace("/logs/", "/benchmarks/", 1).removesuffix(".log") + ".tsv"

    @property
    def started(self) -> str:
        """When the job began."""
        return str(self.record["started"])

    @property
    def ended(self) -> str:
        """When the job ended."""
        end = datetime.fromisoformat(self.started) + timedelta(seconds=self.record["seconds"])
        return end.isoformat(timespec="seconds")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        root: Root of the results.
        targets: Public names of what was asked for.
        makers: The job that made each artifact, by public name.
        foreign: Hashes of files from outside, by public name; none where only a record knows it.
    """

    root: Path
    targets: tuple[str, ...]
    makers: Mapping[str, JobRecord] = field(repr=False)
    foreign: Mapping[str, str | None] = field(repr=False)

    @property
    def jobs(self) -> list[JobRecord]:
        """All jobs, each once, in the order of their first outputs."""
        return list({min(job.outputs): job for job in self.makers.values()}.values())

    def path(self, name: str) -> Path:
        """Where a file of the results lies."""
        return path_below(self.root, name)

    def bound(self, name: str) -> str:
        """What another run must reproduce of an artifact: ``data`` exactly, ``trained`` within the tolerance, ``shown`` not."""
        if Path(name).suffix in SHOWN:
            return "shown"
        return "trained" if name in self._of_training else "data"

    @cached_property
    def _of_training(self) -> set[str]:
        """Artifacts of jobs with a seed, and all that was made from them."""
        found = {name for name, job in self.makers.items() if job.record.get("seed") is not None}
        while new := {
            name
            for name, job in self.makers.items()
            if name not in found and not found.isdisjoint(job.inputs)
        }:
            found |= new
        return found


def path_below(root: Path, name: str) -> Path:
    """Where a file lies whose public name begins with ``results/``."""
    return root / name.removeprefix(f"{RESULTS}/")


def finished_run(root: Path, targets: Iterable[Path]) -> Run:
    """Find all artifacts that the targets were made from, and the jobs that made them.

    What else lies in the results, such as artifacts of another configuration, is not part of the run.

    Raises:
        ArchiveError: An artifact is missing, or has no provenance that says what made it.
    """
    places = Places(root)
    wanted = tuple(sorted(places.name(target) for target in targets))
    makers: dict[str, JobRecord] = {}
    foreign: dict[str, str | None] = {}
    unknown: list[str] = []
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name in makers or name in unknown:
            continue
        job = _maker(path_below(root, name))
        if job is None:
            unknown.append(name)
            continue
        makers |= dict.fromkeys([name, *job.outputs], job)
        pending += [one for one in job.inputs if one.startswith(f"{RESULTS}/")]
        foreign |= {k: v for k, v in job.inputs.items() if not k.startswith(f"{RESULTS}/")}
    _require(sorted(unknown), root)
    return Run(root, wanted, dict(sorted(makers.items())), dict(sorted(foreign.items())))


def _maker(artifact: Path) -> JobRecord | None:
    record = provenance_path(artifact)
    if not artifact.exists() or not record.is_file():
        return None
    content: Any = read_json(record)
    return JobRecord(content) if set(content) >= NEEDED else None


def _require(unknown: list[str], root: Path) -> None:
    if unknown:
        files = [str(path_below(root, name)) for name in unknown]
        raise ArchiveError(
            f"{len(unknown)} artifacts are missing, or have no provenance that says what made them",
            where=", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else ""),
            expected="a `.prov.json` of this version beside each",
            fix="make them again: snakemake --forcerun " + " ".join(files[:5]),
        )
