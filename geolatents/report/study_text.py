"""Tables of a study as text: cells of the page and of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geolatents.report.study_tables import Column, Table

NOT_DEFINED = "–"
NOT_RUN = "not run"


def cell(row: Mapping[str, Any], column: Column) -> str:
    """A value as text: a mean with its spread over seeds, a number, a word, or why there is none."""
    value = row.get(column.key)
    if value is None:
        return (
            str(row["missing"]) if row.get("missing") and column.digits is not None else NOT_DEFINED
        )
    if isinstance(value, Mapping):
        text = _number(value["mean"], column.digits)
        if value["sd"] is None:
            return text
        return f"{text} ± {_number(value['sd'], 1 if column.digits == 0 else column.digits)}"
    return _number(value, column.digits) if isinstance(value, int | float) else str(value)


def markdown(tables: Sequence[Table], problems: Sequence[str]) -> str:
    """All tables, and what contradicts itself in the predecessor's, as Markdown."""
    parts = [_table(table) for table in tables]
    if problems:
        lines = "\n".join(f"- {_sentence(text)}" for text in problems)
        parts.append(f"### What contradicts itself in the predecessor's tables\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    head = "| " + " | ".join(column.title for column in table.columns) + " |"
    rule = "|" + "|".join("---" if c.digits is None else "---:" for c in table.columns) + "|"
    rows = [
        "| " + " | ".join(cell(row, column).replace("|", "/") for column in table.columns) + " |"
        for row in table.rows
    ]
    text = "\n".join([head, rule, *rows])
    notes = "\n".join(f"- {note}" for note in table.notes)
    return f"### {table.title}\n\n{text}" + (f"\n\n{notes}" if notes else "")


def _number(value: float, digits: int | None) -> str:
    if isinstance(value, int) or digits is None:
        return str(value)
    return f"{value:.{digits}f}".replace("-", "−")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
