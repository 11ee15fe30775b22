"""The predecessor's study, repeated: its tables with ours beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geolatents.files import atomic_path, read_json, write_json
from geolatents.report.entries import StudyEntry
from geolatents.report.images import embedded
from geolatents.report.predecessor import FIGURES, inconsistencies
from geolatents.report.study_results import read_part
from geolatents.report.study_tables import OURS, Table, study_tables
from geolatents.report.study_text import cell, markdown


def compare_study(entry: StudyEntry, root: Path, output: Path, text: Path) -> None:
    """Put our experiments beside the predecessor's tables.

    Args:
        entry: Which experiments play which parts.
        root: Root of the results.
        output: JSON to write: ``name``, ``parts`` (experiment, dataset, seeds of each), ``tables``
            (as of :class:`~geolatents.report.study_tables.Table`) and ``inconsistencies`` of what
            the predecessor printed.
        text: The same as Markdown.

    Raises:
        StoreError: A file of an experiment is missing.
    """
    found = {part.part: read_part(part, root) for part in entry.parts}
    tables = study_tables(found)
    problems = inconsistencies()
    write_json(
        output,
        {
            "name": entry.name,
            "parts": {
                name: {
                    "experiment": result.part.name,
                    "dataset": result.part.dataset,
                    "labels": result.part.labels,
                    "network": result.part.network,
                    "seeds": result.part.seeds,
                    "test_tiles": result.quality[0].get("n_tiles"),
                }
                for name, result in found.items()
            },
            "tables": [table.as_json() for table in tables],
            "inconsistencies": problems,
        },
    )
    with atomic_path(text) as part:
        part.write_text(markdown(tables, problems), encoding="utf-8")


def study_section(name: str, root: Path) -> dict[str, Any]:
    """What the page says of a study: tables as texts, figures as data addresses."""
    content = read_json(root / "study" / f"{name}.json")
    tables = [Table.from_json(values) for values in content["tables"]]
    return {
        "name": name,
        "tables": [
            {
                "title": table.title,
                "columns": table.columns,
                "rows": [
                    {
                        "ours": row.get("by") == OURS,
                        "cells": [cell(row, column) for column in table.columns],
                    }
                    for row in table.rows
                ],
                "notes": table.notes,
            }
            for table in tables
        ],
        "figures": [
            {"title": title, "image": image}
            for figure, title in FIGURES.items()
            if (image := embedded(root / "study" / name / f"{figure}.png"))
        ],
        "inconsistencies": content["inconsistencies"],
    }
