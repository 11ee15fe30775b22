"""Splits: which tiles train, which select, which test.

A split is made once per dataset, on all of its tiles and independently of label sets, so that every
experiment is measured on one test part. Nothing here depends on the order of rows: parts come from
hashes of blocks, groups or tile ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geolatents.errors import SplitError
from geolatents.files import Json, atomic_path, read_rows, write_json
from geolatents.labels.parts import BUFFER, PARTS
from geolatents.labels.sets import presence, read_covers
from geolatents.logs import LOG
from geolatents.seeds import derived_seed
from geolatents.settings.splits import (
    GroupedSplit,
    ListedSplit,
    RandomSplit,
    SpatialSplit,
    Split,
)

SUPPORT_MIN_COVER = 0.01
"""Cover from which a class counts in the summary's support, whatever the label sets say."""

BOUNDS = ["left", "bottom", "right", "top"]
TABLE_COLUMNS = ["id", "scene", "group", "proj_code", *BOUNDS]
_TOLERANCE = 1e-6  # metres; rounding of coordinates that were transformed
_EDGE_POINTS = 5  # per side of a footprint that is transformed
_TRIED_SEEDS = 30

Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Assignment:
    """Part of every tile, in the order of the tile table.

    Attributes:
        ids: Tile ids, shape (tile,).
        parts: train, validation, test or buffer, shape (tile,).
        blocks: Block (``x_y``) or group, empty where the split knows none, shape (tile,).
        details: What the summary says beside counts.
    """

    ids: Strings
    parts: Strings
    blocks: Strings
    details: dict[str, Json] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Tiles per part."""
        return {part: int((self.parts == part).sum()) for part in (*PARTS, BUFFER)}


def make_split(
    settings: Split,
    table: Path,
    root: Path,
    output: Path,
    summary: Path,
    covers: Sequence[Path] = (),
) -> None:
    """Assign every tile of a dataset to a part.

    Args:
        settings: Kind, shares and seed.
        table: Tile table of the dataset (``tiles.parquet``).
        root: Data folder, for listed splits.
        output: Parquet file to write: ``id``, ``part``, ``block``; rows as in the table.
        summary: JSON file to write: counts, sha256 of the assignment, and what the kind knows.
        covers: Cover stores of the dataset; with them the summary has the support of each class.

    Raises:
        SplitError: The data do not allow this split, or a part would be empty.
    """
    split = assign_parts(settings, table, root)
    columns = {"id": split.ids, "part": split.parts, "block": split.blocks}
    with atomic_path(output) as part:
        pq.write_table(pa.table({name: values.tolist() for name, values in columns.items()}), part)
    write_json(summary, _summary(settings, split, covers))
    LOG.info("split: %s", ", ".join(f"{n} {part}" for part, n in split.counts().items()))


def check_split(settings: Split, table: Path, root: Path, output: Path) -> None:
    """Raise what :func:`make_split` would raise, before anything is built, and write the counts.

    Raises:
        SplitError: The data do not allow this split, or a part would be empty.
    """
    split = assign_parts(settings, table, root)
    write_json(output, _summary(settings, split, ()))


def assign_parts(settings: Split, table: Path, root: Path) -> Assignment:
    """Part of every tile.

    Raises:
        SplitError: The data do not allow this split, or a part would be empty.
    """
    tiles = _read_tiles(table)
    split = _assign(settings, tiles, root)
    empty = [part for part in PARTS if part not in split.parts]
    if empty:
        raise SplitError(
            f"the part {empty[0]!r} would be empty",
            where=f"{settings.kind} split of {table}",
            found=", ".join(f"{n} {part}" for part, n in split.counts().items()),
            fix=_how_to_fill(settings, tiles, root),
        )
    return split


def _assign(settings: Split, tiles: pd.DataFrame, root: Path) -> Assignment:
    if isinstance(settings, SpatialSplit):
        return _spatial(settings, tiles)
    if isinstance(settings, GroupedSplit):
        return _grouped(settings, tiles)
    if isinstance(settings, ListedSplit):
        return _listed(settings, tiles, root)
    return _random(settings, tiles)


def _read_tiles(table: Path) -> pd.DataFrame:
    """Tile table without its geometry; missing optional columns are filled with NaN."""
    try:
        known = set(pq.read_schema(table).names)
        columns = [name for name in TABLE_COLUMNS if name in known]
        tiles: pd.DataFrame = pq.read_table(table, columns=columns).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise SplitError("tile table cannot be read", where=table, found=error) from None
    return tiles.reindex(columns=TABLE_COLUMNS)


def _uniform(seed: int, *names: object) -> float:
    """A number in [0, 1) that is a pure function of the seed and the names."""
    return derived_seed(seed, "split", *names) / 2**63


def _part_of(uniform: float, settings: SpatialSplit | RandomSplit) -> str:
    if uniform < settings.test:
        return "test"
    return "validation" if uniform < settings.test + settings.validation else "train"


# -- spatial ------------------------------------------------------------------------------------


def _spatial(settings: SpatialSplit, tiles: pd.DataFrame) -> Assignment:
    """Parts by blocks of ground.

    The plane of the split's CRS is an endless grid of square blocks, anchored at its origin; the
    part of a block is a hash of its position, so that the part of a tile depends on no other tile.
    A tile takes the part of the block that its centre lies in, unless it

    * lies nearer than ``buffer`` to a block of higher rank (test > validation > train), or
    * overlaps a block of lower rank,

    in which case it belongs to no part (``buffer``). Test tiles thus lie inside test blocks, and
    validation tiles inside validation blocks, so that the footprints of two tiles of different
    parts are at least ``buffer`` apart. Distances are between bounding boxes of footprints in the
    split's CRS.
    """
    bounds, crs, diagonal = _footprints(settings, tiles)
    buffer = _buffer(settings, diagonal)
    centre = (bounds[:, :2] + bounds[:, 2:]) / 2
    own = np.floor(centre / settings.block).astype(np.int64)
    ranks = _BlockRanks(settings)
    rank = ranks(own[:, 0], own[:, 1])
    lost = _too_near(bounds, rank, ranks, settings.block, buffer)
    parts = np.where(lost, BUFFER, np.asarray(PARTS)[rank])
    blocks = np.asarray([f"{x}_{y}" for x, y in own.tolist()])
    details = {"crs": crs, "block_m": settings.block, "buffer_m": buffer}
    return Assignment(_ids(tiles), parts, blocks, details)


class _BlockRanks:
    """Rank of blocks: 0 train, 1 validation, 2 test; each block is hashed once."""

    def __init__(self, settings: SpatialSplit) -> None:
        self._settings = settings
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        unique, inverse = np.unique(np.column_stack([x, y]), axis=0, return_inverse=True)
        ranks = [self._rank(int(i), int(j)) for i, j in unique]
        return np.asarray(ranks, dtype=np.int64)[inverse.reshape(-1)]

    def _rank(self, x: int, y: int) -> int:
        if (x, y) not in self._known:
            uniform = _uniform(self._settings.seed, x, y)
            self._known[x, y] = PARTS.index(_part_of(uniform, self._settings))
        return self._known[x, y]


def _too_near(
    bounds: Floats,
    rank: npt.NDArray[np.int64],
    ranks: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.int64]],
    block: float,
    buffer: float,
) -> npt.NDArray[np.bool_]:
    """Tiles nearer than ``buffer`` to a block of higher rank, or over one of lower rank."""
    first = np.floor((bounds[:, :2] - buffer) / block).astype(np.int64)
    last = np.floor((bounds[:, 2:] + buffer) / block).astype(np.int64)
    steps = (last - first).max(axis=0) + 1
    lost = np.zeros(len(bounds), dtype=bool)
    for offset in np.ndindex(*steps.tolist()):
        index = first + np.asarray(offset)
        low, high = index * block, (index + 1) * block
        # Positive: gap along that axis; negative: depth of the overlap.
        gap = np.maximum(low - bounds[:, 2:], bounds[:, :2] - high)
        distance = np.hypot(*np.maximum(gap, 0).T)
        overlaps = (gap < -_TOLERANCE).all(axis=1)
        other = ranks(index[:, 0], index[:, 1])
        lost |= (other > rank) & (distance < buffer - _TOLERANCE)
        lost |= (other < rank) & overlaps
    return lost


def _footprints(settings: SpatialSplit, tiles: pd.DataFrame) -> tuple[Floats, str, float]:
    """Bounding boxes (tile, 4) of footprints in the split's CRS, that CRS, the tile diagonal."""
    if tiles[["proj_code", *BOUNDS]].isna().any(axis=None):
        raise SplitError(
            "a spatial split needs tiles with positions",
            found=f"{int(tiles['left'].isna().sum())} of {len(tiles)} tiles have none",
            fix="use a `listed`, `grouped` or `random` split for images without georeference",
        )
    crs = settings.crs or str(tiles["proj_code"].iloc[0])
    _refuse_degrees(crs, tiles)
    bounds = np.empty((len(tiles), 4))
    diagonal = 0.0
    for code, rows in tiles.groupby("proj_code", sort=False).indices.items():
        source = tiles[BOUNDS].to_numpy(dtype=np.float64)[rows]
        bounds[rows] = _transform_bounds(source, str(code), crs)
        # In the scene's own CRS where that is metric: there every tile of a grid has one size.
        sized = source if _is_metric(str(code)) else bounds[rows]
        diagonal = max(diagonal, float(np.hypot(*(sized[:, 2:] - sized[:, :2]).T).max()))
    return bounds, crs, diagonal


def _transform_bounds(bounds: Floats, source: str, target: str) -> Floats:
    """Bounding boxes (tile, 4) of boxes in another CRS, with points along each side."""
    from pyproj import CRS, Transformer

    if CRS.from_user_input(source) == CRS.from_user_input(target):
        return bounds
    share = np.linspace(0, 1, _EDGE_POINTS)
    along, across = np.meshgrid(share, share)
    edge = (along % 1 == 0) | (across % 1 == 0)
    x = bounds[:, :1] + (bounds[:, 2:3] - bounds[:, :1]) * along[edge]
    y = bounds[:, 1:2] + (bounds[:, 3:] - bounds[:, 1:2]) * across[edge]
    x, y = Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    result = np.column_stack([x.min(1), y.min(1), x.max(1), y.max(1)])
    if not np.isfinite(result).all():
        raise SplitError(
            "tiles cannot be placed in the CRS of the split",
            expected=f"positions within the area of {target}",
            found=f"tiles in {source}",
            fix="set `crs` to one that covers all scenes",
        )
    return result


def _is_metric(crs: str) -> bool:
    from pyproj import CRS

    found = CRS.from_user_input(crs)
    return found.is_projected and all(axis.unit_name == "metre" for axis in found.axis_info[:2])


def _refuse_degrees(crs: str, tiles: pd.DataFrame) -> None:
    from pyproj.exceptions import CRSError

    try:
        metric = _is_metric(crs)
    except CRSError as error:
        raise SplitError("the split's `crs` is not known", where="crs", found=error) from None
    if not metric:
        raise SplitError(
            "blocks need a CRS in metres",
            where="crs",
            expected="a projected CRS in metres",
            found=crs,
            fix=f"set `crs` of the split, such as `crs: {_suggest_crs(tiles)}`",
        )


def _suggest_crs(tiles: pd.DataFrame) -> str:
    """UTM zone of the first tile."""
    row = tiles.iloc[[0]]
    source = str(row["proj_code"].iloc[0])
    box = _transform_bounds(row[BOUNDS].to_numpy(dtype=np.float64), source, "EPSG:4326")[0]
    zone = int(((box[0] + box[2]) / 2 + 180) % 360) // 6 + 1
    return f"EPSG:{32600 + zone if box[1] >= 0 else 32700 + zone}"


def _buffer(settings: SpatialSplit, diagonal: float) -> float:
    smallest = round(diagonal, 6)  # rounding of coordinates gives no scene a buffer of its own
    buffer = smallest if settings.buffer is None else settings.buffer
    if buffer < diagonal - _TOLERANCE:
        raise SplitError(
            "the buffer is smaller than a tile's diagonal",
            where="buffer",
            expected=f"at least {smallest:g} m, or no `buffer` at all",
            found=f"{buffer:g} m",
        )
    if settings.block < buffer:
        raise SplitError(
            "blocks are smaller than the buffer between parts",
            where="block",
            expected=f"several times the buffer, which is {buffer:g} m",
            found=f"{settings.block:g} m",
            fix="use larger blocks",
        )
    return buffer


# -- grouped, listed, random --------------------------------------------------------------------


def _grouped(settings: GroupedSplit, tiles: pd.DataFrame) -> Assignment:
    """Whole groups: in the order of their hashes, the first ones test, the next ones validation.

    Shares are of groups, rounded, at least one group each. Another group may therefore move one
    that stands at the border between two parts. Groups named ``train``, ``validation`` and ``test``
    are the official parts of a collection, and stay what they are.
    """
    groups = tiles[settings.by].fillna("").astype(str).to_numpy(dtype=str)
    names = sorted(set(groups.tolist()), key=lambda name: (_uniform(settings.seed, name), name))
    if "" in names:
        raise SplitError(
            f"tiles have no {settings.by}",
            where="by",
            found=f"{int((groups == '').sum())} of {len(groups)} tiles without",
            fix="use `by: scene`" if settings.by == "group" else "use another split",
        )
    if len(names) < len(PARTS):
        raise SplitError(
            "too few groups for three parts",
            where=f"by: {settings.by}",
            expected=f"at least {len(PARTS)} groups",
            found=f"{len(names)}: {', '.join(sorted(names))}",
            fix="use another kind of split",
        )
    if set(names) == set(PARTS):
        return Assignment(_ids(tiles), groups, groups, {"by": "official parts"})
    validation = max(1, int(settings.validation * len(names) + 0.5))
    test = max(1, int(settings.test * len(names) + 0.5))
    while validation + test >= len(names):
        validation, test = (validation - 1, test) if validation >= test else (validation, test - 1)
    part = dict.fromkeys(names, "train")
    part.update(dict.fromkeys(names[:test], "test"))
    part.update(dict.fromkeys(names[test : test + validation], "validation"))
    return Assignment(
        _ids(tiles),
        np.asarray([part[name] for name in groups.tolist()]),
        groups,
        {"by": settings.by},
    )


def _listed(settings: ListedSplit, tiles: pd.DataFrame, root: Path) -> Assignment:
    file = root / settings.file
    listed = _read_list(settings, file)
    ids = _ids(tiles)
    known = set(ids.tolist())
    unknown = [name for name in listed if name not in known]
    missing = [name for name in ids.tolist() if name not in listed]
    for names, problem in (
        (unknown, "tiles of the list are not in the dataset"),
        (missing, "tiles of the dataset are not in the list"),
    ):
        if names:
            raise SplitError(
                f"{len(names)} {problem}",
                where=file,
                expected=f"the dataset's {len(ids)} tile ids in the column {settings.id_column!r}",
                found=", ".join(names[:5]) + (", ..." if len(names) > 5 else ""),
                fix="make the list and the images agree",
            )
    parts = np.asarray([listed[name] for name in ids.tolist()])
    return Assignment(ids, parts, np.full(len(ids), ""), {"file": settings.file})


def _read_list(settings: ListedSplit, file: Path) -> dict[str, str]:
    """Part by tile id."""
    try:
        columns, rows = read_rows(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SplitError("list of parts cannot be read", where=file, found=error) from None
    for column in (settings.id_column, settings.part_column):
        if column not in columns:
            raise SplitError(
                f"list of parts lacks the column {column!r}",
                where=file,
                found=", ".join(columns) or "an empty file",
                fix="set `id_column` and `part_column`",
            )
    listed: dict[str, str] = {}
    for line, row in rows:
        name, part = ((row[c] or "").strip() for c in (settings.id_column, settings.part_column))
        part = {"val": "validation"}.get(part, part)
        if part not in PARTS:
            raise SplitError(
                "unknown part",
                where=f"{file}, row {line}",
                expected="train, validation (or val) or test",
                found=repr(part),
            )
        if name in listed:
            raise SplitError("tile is listed twice", where=f"{file}, row {line}", found=name)
        listed[name] = part
    return listed


def _random(settings: RandomSplit, tiles: pd.DataFrame) -> Assignment:
    ids = _ids(tiles)
    none = np.full(len(ids), "")
    if settings.stratify == "group":
        return Assignment(ids, _stratified(settings, tiles), none, {"stratify": "group"})
    parts = np.asarray([_part_of(_uniform(settings.seed, name), settings) for name in ids.tolist()])
    return Assignment(ids, parts, none)


def _stratified(settings: RandomSplit, tiles: pd.DataFrame) -> Strings:
    """Within each group in the order of hashes: the first tiles test, the next ones validation.

    Shares are rounded to tiles. Another tile may move one that stands at the border of two parts.
    """
    groups = tiles["group"].fillna("").astype(str)
    if (groups == "").any():
        raise SplitError(
            "tiles have no group to stratify by",
            where="stratify",
            found=f"{int((groups == '').sum())} of {len(groups)} tiles without",
            fix="remove `stratify`, or give the images groups (`groups: folder`)",
        )
    order = [(_uniform(settings.seed, name), name) for name in _ids(tiles).tolist()]
    parts = np.full(len(tiles), "train", dtype="<U10")
    for group in sorted(set(groups)):
        rows = np.flatnonzero(groups == group)
        ranked = sorted(rows.tolist(), key=lambda row: order[row])
        test = int(settings.test * len(ranked) + 0.5)
        validation = int(settings.validation * len(ranked) + 0.5)
        parts[ranked[:test]] = "test"
        parts[ranked[test : test + validation]] = "validation"
    return parts


# -- summary ------------------------------------------------------------------------------------


def _summary(settings: Split, split: Assignment, covers: Sequence[Path]) -> dict[str, Json]:
    summary: dict[str, Json] = {
        "kind": settings.kind,
        "n_tiles": len(split.ids),
        "counts": split.counts(),
        "sha256": _content_hash(split),
        **split.details,
    }
    if (split.blocks != "").any():
        kept = {part: split.blocks[split.parts == part] for part in PARTS}
        summary["n_blocks"] = {part: len(np.unique(blocks)) for part, blocks in kept.items()}
    if covers:
        summary["support"] = _support(split, covers)
        summary["support_min_cover"] = SUPPORT_MIN_COVER
    return summary


def _content_hash(split: Assignment) -> str:
    rows = zip(split.ids.tolist(), split.parts.tolist(), split.blocks.tolist(), strict=True)
    return hashlib.sha256("".join("\x1f".join(row) + "\n" for row in rows).encode()).hexdigest()


def _support(split: Assignment, covers: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Tiles of each class that occurs, per part."""
    data = read_covers(covers)
    part = dict(zip(split.ids.tolist(), split.parts.tolist(), strict=True))
    parts = np.asarray([part.get(name, "") for name in data.ids.tolist()])
    present = presence(data.cover, SUPPORT_MIN_COVER)
    count = {name: present[parts == name].sum(axis=0) for name in (*PARTS, BUFFER)}
    return {
        code: {name: int(values[column]) for name, values in count.items()}
        for column, code in enumerate(data.codes)
        if present[:, column].any()
    }


def _how_to_fill(settings: Split, tiles: pd.DataFrame, root: Path) -> str:
    if isinstance(settings, ListedSplit):
        return "list tiles of every part"
    advice = "set another `seed`"
    if isinstance(settings, SpatialSplit):
        advice += " or smaller blocks (`block`), or cover more ground"
    if len(tiles) > 20_000:
        return advice
    for seed in range(_TRIED_SEEDS):
        other = settings.model_copy(update={"seed": seed})
        if set(PARTS) <= set(_assign(other, tiles, root).parts.tolist()):
            return f"{advice}; `seed: {seed}` leaves no part empty"
    return f"{advice}; none of the seeds 0 to {_TRIED_SEEDS - 1} helps"


def _ids(tiles: pd.DataFrame) -> Strings:
    return tiles["id"].to_numpy(dtype=str)
