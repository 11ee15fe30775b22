"""The ledger of readings of the test part: who looked at it, when, and for what.

Each look at the test part makes the next result on it a little less independent; a ledger cannot
prevent that, but it shows it. Rows are only ever appended.
"""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geolatents.logs import LOG


def record_reading(ledger: Path, *, what: str, rule: str, part: str = "test") -> None:
    """Append one row to a ledger (JSON lines).

    The row goes out in one write to a file opened for appending, so that rules that run at the same
    time do not mix their rows.

    Args:
        ledger: File such as ``results/{dataset}/test-ledger.jsonl``; made where it is missing.
        what: What was read, such as ``models/demo-classifier/seed-0``.
        rule: Rule or function that read it.
        part: Part that was read.
    """
    row = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "what": what,
        "part": part,
        "rule": rule,
    }
    ledger.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(ledger, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        line = (json.dumps(row, sort_keys=True) + "\n").encode()
        torn = not _ends_a_line(handle)
        written = os.write(handle, (b"\n" if torn else b"") + line)
        if written < len(line) + torn:  # a full disk takes a part and says nothing
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(ledger))
    finally:
        os.close(handle)


def read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """Rows of a ledger, oldest first; none where there is no ledger.

    A row that a power cut or a full disk tore is left out, with a warning.
    """
    if not ledger.is_file():
        return []
    lines = ledger.read_text(encoding="utf-8", errors="replace").splitlines()
    return [row for line in lines if line.strip() and (row := _parsed(line, ledger))]


def _parsed(line: str, ledger: Path) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        LOG.warning("%s: a torn row is left out: %s", ledger, line[:60])
        return None
    return row


def _ends_a_line(handle: int) -> bool:
    """Whether the file is empty or its last row is whole."""
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"
