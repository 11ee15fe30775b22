"""Mapping files: which classes of a nomenclature make up a group."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from geolatents.errors import LabelError
from geolatents.files import read_rows

SHIPPED_MAPPINGS = (
    "thesis-planetscope-7",
    "thesis-orthophoto-5",
    "corine-level1",
    "corine-level2",
    "bigearthnet-19",
)
"""Mappings in ``geolatents/data/mappings``; the thesis's are inferred, see docs/decisions."""


def shipped_mapping(name: str) -> Path | None:
    """File of a mapping that we ship, or None."""
    if name not in SHIPPED_MAPPINGS:
        return None
    return Path(str(resources.files("geolatents").joinpath(f"data/mappings/{name}.csv")))


def find_mapping(name: str, root: Path) -> Path:
    """File of a mapping: shipped, else below the data folder, else below the working folder.

    Raises:
        LabelError: There is none.
    """
    shipped = shipped_mapping(name)
    if shipped is not None:
        return shipped
    for folder in (root, Path()):
        if (folder / name).is_file():
            return folder / name
    raise LabelError(
        f"label mapping {name!r} is not there",
        where=f"{root / name} and {Path(name).absolute()}",
        expected=f"a CSV file, or one of {', '.join(SHIPPED_MAPPINGS)}",
    )


def read_mapping(file: Path, codes: Iterable[str]) -> dict[str, str]:
    """Read a mapping.

    Args:
        file: CSV with columns ``code`` and ``group``; an empty group drops the class on purpose.
        codes: Codes of the nomenclature.

    Returns:
        Group by code, in the order of the file.

    Raises:
        LabelError: The file is missing or lacks a column, or a code is unknown or given twice.
    """
    known = set(codes)
    mapping: dict[str, str] = {}
    rows: dict[str, int] = {}
    for row, code, group in _mapping_rows(file):
        where = f"{file}, row {row}"
        if code not in known:
            raise LabelError(
                f"{code!r} is not a class of the nomenclature",
                where=where,
                expected=", ".join(sorted(known)),
            )
        if code in mapping:
            raise LabelError(
                f"class {code!r} is mapped twice",
                where=where,
                found=f"{mapping[code]!r} in row {rows[code]} and {group!r} in row {row}",
                fix="delete one of the two rows",
            )
        mapping[code], rows[code] = group, row
    return mapping


def _mapping_rows(file: Path) -> list[tuple[int, str, str]]:
    try:
        columns, rows = read_rows(file)
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError("label mapping cannot be read", where=file, found=error) from None
    missing = {"code", "group"} - set(columns)
    if missing:
        raise LabelError(
            f"label mapping lacks the column {sorted(missing)[0]!r}",
            where=file,
            expected="columns code,group, separated by commas",
            found=", ".join(columns) or "an empty file",
        )
    return [(n, (row["code"] or "").strip(), (row["group"] or "").strip()) for n, row in rows]
