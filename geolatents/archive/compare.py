"""Compare an archived run with a run that was made here."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geolatents.archive.identity import identity
from geolatents.archive.layout import IDENTITIES
from geolatents.archive.reading import Archive
from geolatents.archive.run import path_below
from geolatents.errors import ArchiveError, GeolatentsError
from geolatents.files import read_json
from geolatents.provenance import ENDING, provenance_path

TOLERANCE = 0.02
"""Stated in the guide: how far the test macro AP of a training without ``deterministic`` may differ."""

METRICS = "metrics.json"


@dataclass(frozen=True)
class Comparison:
    """How an artifact of a run here stands to that of an archive.

    Attributes:
        name: Public name of the artifact.
        verdict: ``equal``, ``within tolerance``, ``differs``, ``missing`` or ``differs, as it may``.
        remark: Figures.
    """

    name: str
    verdict: str
    remark: str = ""

    @property
    def fails(self) -> bool:
        """Whether the run here does not reproduce the archive."""
        return self.verdict in {"differs", "missing"}

    def __str__(self) -> str:
        """One line."""
        return f"{self.verdict}: {self.name}" + (f" ({self.remark})" if self.remark else "")


def compare(archive: Archive, results: Path) -> Iterator[Comparison]:
    """Compare every artifact of an archive with the one made here.

    Data artifacts must have the same identity. The test macro AP of a training must lie within
    :data:`TOLERANCE`; its weights, scores and all that follows from them may differ. Figures and pages may differ.

    Raises:
        ArchiveError: The results are missing, or the archive states no identities.
    """
    if not results.is_dir():
        raise ArchiveError(
            "there are no results to compare with",
            where=results,
            fix="name their folder with RESULTS=",
        )
    for name, stated in archive.json(IDENTITIES).items():
        yield _compare(archive, name, stated, path_below(results, name))


def _compare(archive: Archive, name: str, stated: Mapping[str, Any], artifact: Path) -> Comparison:
    if not artifact.exists():
        return Comparison(name, "missing")
    try:
        found = identity(artifact)
    except GeolatentsError as error:
        return Comparison(name, "differs", f"cannot be read: {error.problem}")
    if found == stated["sha256"]:
        return Comparison(name, "equal")
    if stated["bound"] == "data":
        return Comparison(name, "differs")
    if stated["bound"] == "trained" and artifact.name == METRICS:
        return _compare_metrics(name, archive.json(name), read_json(artifact))
    return Comparison(name, "differs, as it may")


def _compare_metrics(name: str, stated: Any, found: Any) -> Comparison:
    before, now = _macro_ap(stated), _macro_ap(found)
    if before is None or now is None:
        return Comparison(name, "differs", "no test macro AP to compare")
    verdict = "within tolerance" if abs(before - now) <= TOLERANCE else "differs"
    return Comparison(
        name, verdict, f"test macro AP {before:.4f} there, {now:.4f} here; tolerance {TOLERANCE}"
    )


def _macro_ap(metrics: Any) -> float | None:
    try:
        value = float(metrics["split"]["test"]["macro_ap"])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def version_differences(archive: Archive, results: Path) -> list[str]:
    """Libraries, platforms and processors that differ between the archived run and the one here, a line each."""
    there: dict[str, set[str]] = defaultdict(set)
    here: dict[str, set[str]] = defaultdict(set)
    names = set(archive.names())
    for name in archive.json(IDENTITIES):
        record = provenance_path(path_below(results, name))
        if name + ENDING in names:
            _note(there, archive.json(name + ENDING))
        if record.is_file():
            _note(here, read_json(record))
    return [
        f"{what}: {', '.join(sorted(there[what])) or 'none'} there, {', '.join(sorted(here[what])) or 'none'} here"
        for what in sorted({*there, *here})
        if there[what] != here[what]
    ]


def _note(found: dict[str, set[str]], record: Mapping[str, Any]) -> None:
    for library, version in record.get("libraries", {}).items():
        found[library].add(str(version))
    found["platform"].add(str(record.get("platform")))
    found["processor"].add(str(record.get("host", {}).get("processor")))
    found["geolatents"].add(str(record.get("version")))
