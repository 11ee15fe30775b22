"""Files from outside that a run was made from: what records and provenance say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from geolatents.archive.licences import PHOTOS
from geolatents.archive.run import Run
from geolatents.files import Json, read_json
from geolatents.paths import DATA_PREFIX, DOWNLOADS_PREFIX

RECORDS = re.compile(r"^results/[^/]+/(?:scenes|downloads)/.+\.json$")
"""Artifacts that describe files from outside."""

FACTS = ("licence", "provider", "acquired", "crs")
"""What a record says of its file that others need to find it, and to know what they may do with it."""


def foreign_inputs(run: Run) -> list[Json]:
    """Name, sha256, and where a record says so licence, provider and size of every file from outside."""
    found: dict[str, dict[str, Any]] = {
        name: {"name": name, "sha256": sha256} for name, sha256 in run.foreign.items()
    }
    for record in run.makers:
        if RECORDS.match(record) and not PHOTOS.match(record):
            for one in _named(read_json(run.path(record))):
                known = found.setdefault(one["name"], {"sha256": None})
                known |= {key: value for key, value in one.items() if value is not None}
                known["record"] = record
    return [found[name] for name in sorted(found)]


def _named(record: Any, facts: Any = None) -> Iterator[dict[str, Any]]:
    """Files in a record, at any depth, with the facts that stand above or beside them."""
    if isinstance(record, list):
        for value in record:
            yield from _named(value, facts)
    if not isinstance(record, dict):
        return
    inner = record.get("item")
    item = inner if isinstance(inner, dict) else {}
    facts = (facts or {}) | {k: v for k in FACTS if (v := record.get(k, item.get(k))) is not None}
    path = record.get("path")
    if isinstance(path, str) and path.startswith((DATA_PREFIX, DOWNLOADS_PREFIX)):
        yield {"name": path, "sha256": record.get("sha256"), "bytes": record.get("bytes"), **facts}
    for value in record.values():
        yield from _named(value, facts)
