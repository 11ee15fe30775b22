"""Predictions of a model as arrays, and the samples that agreement is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geolatents.errors import StoreError
from geolatents.labels.parts import PARTS, parts_of
from geolatents.olr.agreement import MIN_GROUPS, Floats, Sample, Strings, unit_means
from geolatents.olr.refusals import NO_LABELS
from geolatents.stores import open_store, read_array, read_strings

BOUNDS = ["left", "bottom", "right", "top"]

GROUND_BLOCKS = 36
"""About how many square blocks of ground stand in for scenes or blocks where these are too few."""


@dataclass(frozen=True)
class Predictions:
    """Content of a ``predictions.zarr``.

    Attributes:
        ids: Tile ids (tile,).
        part: ``train``, ``validation``, ``test`` or ``buffer`` (tile,).
        scores: Probabilities (tile, label) float64.
        targets: Presence (tile, label) uint8.
        classes: ``{"code", "name", "colour", ...}`` per label.
        attributes: All attributes of the store.
    """

    ids: Strings
    part: Strings
    scores: Floats
    targets: npt.NDArray[np.uint8]
    classes: list[dict[str, Any]]
    attributes: dict[str, Any]

    @property
    def codes(self) -> list[str]:
        """Codes in label order."""
        return [str(item["code"]) for item in self.classes]


def read_predictions(store: Path) -> Predictions:
    """Read the predictions of a model.

    Raises:
        StoreError: The store is missing, its arrays do not fit together, or it has no targets.
    """
    group = open_store(store)
    attributes = dict(group.attrs)
    if attributes.get("labels") == NO_LABELS:
        raise StoreError("the predicted tiles have no labels", where=store, expected="targets")
    found = Predictions(
        ids=read_strings(group, "ids"),
        part=read_strings(group, "part"),
        scores=read_array(group, "scores").astype(np.float64),
        targets=read_array(group, "targets").astype(np.uint8),
        classes=[_as_class(item) for item in attributes.get("classes", [])],  # type: ignore[union-attr]
        attributes=attributes,
    )
    shape = (len(found.ids), len(found.classes))
    if not found.scores.shape == found.targets.shape == shape or found.part.shape != shape[:1]:
        raise StoreError(
            "arrays of the predictions do not fit together",
            where=store,
            expected=f"scores and targets {shape}",
            found=f"scores {found.scores.shape}, targets {found.targets.shape}",
            fix="rerun the training that wrote them",
        )
    return found


@dataclass(frozen=True)
class Applied:
    """What a model of several seeds says of another dataset.

    Attributes:
        ids: Tile ids (tile,).
        scores: Scores of each trained seed (tile, label) float64, by seed.
        targets: Presence (tile, label) uint8; None where the tiles have no labels.
        refused: Why a seed was not trained, by seed.
        classes: ``{"code", "name", "colour", ...}`` per label.
    """

    ids: Strings
    scores: dict[int, Floats]
    targets: npt.NDArray[np.uint8] | None
    refused: dict[int, str]
    classes: list[dict[str, Any]]


def read_applied(store: Path) -> Applied:
    """Read the predictions of a model for another dataset.

    Raises:
        StoreError: The store is missing or damaged.
    """
    group = open_store(store)
    attributes: dict[str, Any] = dict(group.attrs)
    seeds = attributes["seeds"]
    by_seed = read_array(group, "scores_by_seed").astype(np.float64) if seeds else None
    labelled = attributes.get("labels") != NO_LABELS
    return Applied(
        ids=read_strings(group, "ids"),
        scores={} if by_seed is None else {seed: by_seed[:, i] for i, seed in enumerate(seeds)},
        targets=read_array(group, "targets").astype(np.uint8) if labelled else None,
        refused={int(seed): str(why) for seed, why in attributes.get("refused", {}).items()},
        classes=[_as_class(item) for item in attributes["classes"]],
    )


def read_sample(
    predictions: Predictions, *, split: Path, tiles: Path | None = None, target: str = "test"
) -> Sample:
    """The sample of a comparison within one dataset.

    Groups are the blocks of the split, else the groups or scenes of the tiles. Where these are too
    few to leave any out, they are smaller blocks of ground, and single tiles only where tiles have
    no position.

    Args:
        predictions: Of the model, for the tiles of all parts.
        split: Parquet with ``id``, ``part`` and ``block``.
        tiles: GeoParquet of the dataset's tiles, for groups and positions; None: neither.
        target: Part to compare with, ``train``, ``test`` or ``all``.

    Raises:
        SplitError: A tile of the predictions is not in the split.
        StoreError: A tile is not in the table, or its part differs.
    """
    parts, blocks = parts_of(predictions.ids, split)
    differing = np.flatnonzero(parts != predictions.part)
    if differing.size:
        raise StoreError(
            f"{differing.size} tiles are in another part than when the model was trained",
            where=split,
            expected=f"{predictions.ids[differing[0]]} in {predictions.part[differing[0]]!r}",
            found=repr(str(parts[differing[0]])),
            fix="train the model again; splits are frozen files",
        )
    places, groups_of = _places(tiles, predictions.ids)
    units, grouping = _units(blocks, groups_of)
    train = predictions.part == "train"
    compared = np.isin(predictions.part, PARTS) if target == "all" else predictions.part == target
    means, rule = unit_means(
        predictions.targets[train].astype(np.float64),
        units[train],
        units[compared],
        None if places is None else places[train],
        None if places is None else places[compared],
    )
    groups, grouping = resampling_groups(
        units[compared],
        grouping,
        predictions.ids[compared],
        None if places is None else places[compared],
    )
    return Sample(
        codes=predictions.codes,
        train=predictions.targets[train].astype(np.float64),
        targets=predictions.targets[compared].astype(np.float64),
        scores=predictions.scores[compared],
        groups=groups,
        grouping=grouping,
        scene_means=means,
        scene_mean_rule=rule,
        given_train=target != "train",
    )


def resampling_groups(
    units: Strings, grouping: str, ids: Strings, places: Floats | None
) -> tuple[Strings, str]:
    """The units; where they are too few to draw from, blocks of ground, else single tiles.

    Neighbouring tiles are alike: intervals from single tiles are far too narrow, so that they are
    the last resort.
    """
    if len(np.unique(units)) >= MIN_GROUPS:
        return units, grouping
    if places is not None and len(places):
        blocks = ground_blocks(places)
        if len(np.unique(blocks)) >= MIN_GROUPS:
            return blocks, "blocks"
    return ids, "tiles"


def ground_blocks(places: Floats) -> Strings:
    """Square block of ground (tile,) of each centre (tile, 2), :data:`GROUND_BLOCKS` over all."""
    offset = places - places.min(axis=0)
    width, height = offset.max(axis=0)
    side = np.sqrt(width * height / GROUND_BLOCKS) or max(width, height) / GROUND_BLOCKS or 1.0
    column_row = np.floor(offset / (side * (1 + 1e-9))).astype(np.int64)  # the far edge is inside
    return np.array([f"{x}_{y}" for x, y in column_row.tolist()])


def tile_groups(tiles: Path, ids: Strings) -> tuple[Strings, str]:
    """Groups (else scenes, else blocks of ground) of tiles, and what they are."""
    places, groups = _places(tiles, ids)
    units, grouping = _units(np.full(len(ids), ""), groups)
    return resampling_groups(units, grouping, ids, places)


def tile_classes(tiles: Path, ids: Strings) -> Strings | None:
    """The groups that tiles were delivered in (tile,), such as folders of scene classes, or None."""
    rows = _rows(tiles, ids, ["group"])
    return _texts(rows["group"]) if "group" in rows else None


def _units(blocks: Strings, groups: dict[str, Strings]) -> tuple[Strings, str]:
    named = {"groups": groups.get("group"), "scenes": groups.get("scene")}
    # The blocks of a grouped split are groups or scenes.
    same = (name for name, units in named.items() if np.array_equal(blocks, units))  # type: ignore[arg-type]
    for name, units in {next(same, "blocks"): blocks, **named}.items():
        if units is not None and (units != "").any() and len(np.unique(units)) > 1:
            return units, name
    return np.full(len(blocks), "all"), "tiles"


def _places(tiles: Path | None, ids: Strings) -> tuple[Floats | None, dict[str, Strings]]:
    """Centres (tile, 2) on one plane, and the columns that can be groups."""
    if tiles is None:
        return None, {}
    rows = _rows(tiles, ids, ["group", "scene", "proj_code", "bbox", *BOUNDS])
    groups = {name: _texts(rows[name]) for name in ("group", "scene") if name in rows}
    return _centres(rows), groups


def _centres(rows: pd.DataFrame) -> Floats | None:
    """Centres on one plane: of the scenes' CRS where there is one, else from longitude-latitude."""
    placed = set(BOUNDS) <= set(rows) and not rows[BOUNDS].isna().any(axis=None)
    if placed and len(set(rows.get("proj_code", pd.Series(["one"])))) == 1:
        box = rows[BOUNDS].to_numpy(dtype=np.float64)
        return np.asarray((box[:, :2] + box[:, 2:]) / 2)
    if "bbox" not in rows or rows["bbox"].isna().any():
        return None
    return _plane(rows["bbox"])


def _plane(boxes: pd.Series[Any]) -> Floats:
    """Centres of longitude-latitude boxes in kilometres, good enough for nearest neighbours."""
    corners = np.array(
        [[b["xmin"], b["ymin"], b["xmax"], b["ymax"]] if isinstance(b, dict) else b for b in boxes],
        dtype=np.float64,
    )
    longitude, latitude = corners[:, [0, 2]].mean(axis=1), corners[:, [1, 3]].mean(axis=1)
    shrink = np.cos(np.deg2rad(latitude.mean()))
    return np.asarray(np.stack([longitude * shrink, latitude], axis=1) * 111.2)


def _rows(table: Path, ids: Strings, columns: list[str]) -> pd.DataFrame:
    """Rows of a Parquet table in the order of ``ids``, with those of the columns that exist."""
    import pyarrow.parquet as parquet

    names = parquet.read_schema(table).names
    frame: pd.DataFrame = parquet.read_table(
        table, columns=["id", *(name for name in columns if name in names)]
    ).to_pandas()
    frame = frame.assign(id=frame["id"].astype(str)).set_index("id")
    missing = ~pd.Index(ids).isin(frame.index)
    if missing.any():
        raise StoreError(
            f"{int(missing.sum())} tiles of the predictions are not in the table",
            where=table,
            found=str(ids[int(np.argmax(missing))]),
            fix="train the model again on the present tiles",
        )
    return frame.reindex(pd.Index(ids))


def _texts(column: pd.Series[Any]) -> Strings:
    return column.fillna("").astype(str).to_numpy(dtype=np.str_)


def _as_class(item: Any) -> dict[str, Any]:
    """A class entry, also from stores that name only codes."""
    return dict(item) if isinstance(item, dict) else {"code": str(item), "name": str(item)}
