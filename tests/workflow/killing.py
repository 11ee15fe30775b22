"""Killing runs at chosen moments, and comparing what they leave with an undisturbed run."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from geolatents.files import sha256_file
from geolatents.stores import content_manifest
from tests.workflow.conftest import Run, Workspace

HOOKS = Path(__file__).parent / "hooks"
Kill = tuple[str, int | str]
"""Whom (`job` or `run`) and when, see hooks/sitecustomize.py."""

UNCOMPARED = {"logs", "benchmarks", ".state", "report"}
NOT_DATA = (".prov.json", ".snakemake_timestamp", "ledger.jsonl", ".keras", ".md", ".png")


class Event(NamedTuple):
    """What a script was about to do to a file."""

    rule: str
    number: int
    what: str
    path: str


class Killer:
    """Runs a workspace with kills, each of which happens once.

    Args:
        space: The workspace.
        folder: Where kills leave their marks.
    """

    def __init__(self, space: Workspace, folder: Path) -> None:
        self.space = space
        self.folder = folder
        folder.mkdir(parents=True)

    def run(self, kills: Mapping[str, Sequence[Kill]], *arguments: str, cores: int = 2) -> Run:
        """A run in which jobs of the given rules are killed."""
        return self._run({"kills": kills}, arguments, cores)

    def record(self, *arguments: str) -> tuple[Run, list[Event]]:
        """An undisturbed run, and everything that its scripts did to files."""
        log = self.folder / "events"
        run = self._run({"kills": {}, "events": str(log)}, arguments, cores=2)
        return run, [Event(*json.loads(line)) for line in log.read_text().splitlines()]

    def kills(self) -> list[str]:
        """Marks of the kills that have happened, such as `cut_tiles.0`."""
        return sorted(file.name for file in self.folder.glob("*.*") if file.read_text() == "killed")

    def _run(self, hook: dict[str, Any], arguments: Sequence[str], cores: int) -> Run:
        hook |= {"results": str(self.space.results), "used": str(self.folder)}
        variables = {"PYTHONPATH": str(HOOKS), "GEOLATENTS_TEST_HOOK": json.dumps(hook)}
        return self.space.run(*arguments, cores=cores, variables=variables)


def events_by_rule(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Events of each rule; of several jobs of a rule, those of the longest."""
    jobs: dict[str, list[list[Event]]] = defaultdict(list)
    for event in events:
        if event.number == 1:
            jobs[event.rule].append([])
        numbered = [job for job in jobs[event.rule] if len(job) == event.number - 1]
        numbered[0].append(event)
    return {rule: max(found, key=len) for rule, found in jobs.items()}


def artifacts(space: Workspace) -> dict[str, Any]:
    """Content of everything that identifies a run: arrays, tables and records, without times and figures."""
    found: dict[str, Any] = {}
    for path in sorted(space.results.rglob("*")):
        name = path.relative_to(space.results).as_posix()
        inside = any(parent.suffix == ".zarr" for parent in path.relative_to(space.results).parents)
        if inside or UNCOMPARED & set(Path(name).parts) or name.endswith(NOT_DATA):
            continue
        if path.suffix == ".zarr":
            found[name] = content_manifest(path)
        elif path.is_file():
            found[name] = _content(path, space)
    return found


def figures(space: Workspace) -> set[str]:
    """Figures and pages, which are compared by name only."""
    return {
        path.relative_to(space.results).as_posix()
        for path in space.results.rglob("*")
        if path.suffix in {".png", ".html", ".keras", ".md"}
    }


def leftovers(space: Workspace) -> list[str]:
    """Half-written files below the results."""
    return [str(path) for path in space.results.rglob("*") if "partial" in path.name]


def assert_whole(space: Workspace, expected: Mapping[str, Any]) -> None:
    """Everything is as an undisturbed run leaves it: content, manifests, ledger, hash cache, and nothing else."""
    found = artifacts(space)
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert leftovers(space) == []
    verified = space.run("verify")
    assert verified.code == 0, verified.output
    for ledger in space.results.rglob("test-ledger.jsonl"):
        for line in ledger.read_text().splitlines():
            assert set(json.loads(line)) == {"when", "what", "part", "rule"}
    hashes = space.results / ".state" / "hashes.json"
    for file, (size, _, sha256) in json.loads(hashes.read_text()).items():
        if Path(file).exists():
            assert (size, sha256) == (Path(file).stat().st_size, sha256_file(Path(file)))
    assert space.run("--dry-run").jobs == {}


def _content(path: Path, space: Workspace) -> Any:
    if path.name == "history.csv":
        return pd.read_csv(path).drop(columns="seconds").to_csv()
    if path.suffix == ".json":
        text = path.read_text().replace(f"{space.folder}/", "")  # where `results` is absolute
        return json.loads(re.sub(r'"seconds": [\d.e-]+', '"seconds": 0', text))
    return sha256_file(path)
