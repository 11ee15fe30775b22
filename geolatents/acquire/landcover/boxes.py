"""Land cover from a CSV of boxes: ``left, top, right, bottom, class``."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

from geolatents.acquire.landcover.area import Scenes
from geolatents.acquire.landcover.codes import decode, value_text
from geolatents.acquire.landcover.polygons import Polygons, chosen_crs, no_overlap, within
from geolatents.errors import LandCoverError
from geolatents.geometry import Box
from geolatents.nomenclature import Nomenclature
from geolatents.settings.landcover import LandCover

COLUMNS = ("left", "top", "right", "bottom", "class")


def read_boxes(
    file: Path,
    settings: LandCover,
    nomenclature: Nomenclature,
    scenes: Scenes,
) -> Polygons | LandCoverError:
    """Read a CSV of boxes, with or without a header, around the scenes.

    Args:
        file: CSV with the columns left, top, right, bottom (CRS units) and class; separated by
            comma, semicolon or tab. With a header their order is free and others may stand by.
        settings: `crs`, `values`, `classes` and `unknown` are used.
        nomenclature: Whose codes are meant.
        scenes: Where land cover is wanted.

    Returns:
        The boxes, cut at the margin; or, where none is there, the error that says so.

    Raises:
        LandCoverError: A row is broken (all of them are named), or there is no CRS.
    """
    crs = chosen_crs(None, settings, file)
    rows = _rows(file)
    corners = np.array([row[0] for row in rows], dtype=np.float64).reshape(-1, 4)
    boxes = np.asarray(shapely.box(*corners.T))
    values = np.array([row[1] for row in rows], dtype=np.str_)
    area = scenes.area(crs)
    if area is None or not rows:
        return no_overlap(file, None, crs, area)
    found = within(Polygons(crs, boxes, values), area)
    if not len(found.codes):
        left, bottom, right, top = (float(value) for value in shapely.total_bounds(boxes))
        return no_overlap(file, (left, bottom, right, top), crs, area)
    meaning = decode(Counter(found.codes.tolist()), settings, nomenclature, file, unit="boxes")
    known = np.flatnonzero([value in meaning.codes for value in found.codes])
    codes = np.array([meaning.codes[value] for value in found.codes[known]], dtype=np.str_)
    return Polygons(crs, found.geometries[known], codes, {"values": meaning.reading})


def _rows(file: Path) -> list[tuple[Box, str]]:
    """Box (left, bottom, right, top) and class of every row."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LandCoverError(
            "the CSV of boxes cannot be read", where=file, expected="UTF-8 text", found=error,
            fix="check `landcover.path`",
        ) from None  # fmt: skip
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    table = [(lines.line_num, [cell.strip() for cell in row]) for row in lines]
    table = [(number, row) for number, row in table if any(row)]
    order = _column_order(table[0][1], file) if table else None
    if order is not None:
        table = table[1:]
    found: list[tuple[Box, str]] = []
    broken: list[str] = []
    for number, row in table:
        item = _box(row, order)
        if isinstance(item, str):
            broken.append(f"row {number}: {item}")
        else:
            found.append(item)
    if broken:
        raise LandCoverError(
            "the CSV of boxes has broken rows",
            where=file,
            expected=", ".join(COLUMNS) + " with left < right and bottom < top",
            found=f"{len(broken)} broken: "
            + "; ".join(broken[:5])
            + ("; ..." if broken[5:] else ""),
            fix="correct or remove these rows",
        )
    return found


def _column_order(first: Sequence[str], file: Path) -> list[int] | None:
    """Positions of the columns from a header, None where the first row is data already."""
    names = [name.lower() for name in first]
    if not set(names) & set(COLUMNS):
        return None
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise LandCoverError(
            "the CSV of boxes lacks columns",
            where=file,
            expected=", ".join(COLUMNS),
            found=", ".join(first),
            fix=f"add {', '.join(missing)}, or remove the header",
        )
    return [names.index(name) for name in COLUMNS]


def _box(row: Sequence[str], order: Sequence[int] | None) -> tuple[Box, str] | str:
    """Box and class of a row, or what is wrong with it."""
    wanted = max(order) + 1 if order else len(COLUMNS)
    if len(row) < wanted or (order is None and len(row) > wanted):
        return f"{len(row)} cells instead of {wanted}"
    cells = [row[i] for i in order] if order else list(row)
    try:
        left, top, right, bottom = (float(cell) for cell in cells[:4])
    except ValueError as error:
        return str(error)
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return "a coordinate is not finite"
    if left >= right or bottom >= top:
        return f"empty box (left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g})"
    if not cells[4]:
        return "no class"
    return (left, bottom, right, top), value_text(cells[4])
