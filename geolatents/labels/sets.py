"""Label sets: which classes are present in which tile.

A class is present where it covers at least ``min_cover`` of the tile. Label sets differ in which
classes they keep: all that occur, those that occur often enough, or groups from a mapping file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from geolatents.errors import LabelError
from geolatents.files import write_json
from geolatents.labels.mappings import find_mapping, read_mapping
from geolatents.logs import LOG
from geolatents.nomenclature import corine
from geolatents.settings.labels import CombinedLabels, LabelSet, PrunedLabels
from geolatents.stores import (
    content_manifest,
    new_store,
    open_store,
    read_array,
    read_strings,
    use_fast_codecs,
    write_array,
    write_strings,
)

COVER_TOLERANCE = 1e-6
"""Relative rounding of float32 cover: full cover may be stored as 0.9999999."""


class LabelClass(TypedDict):
    """One column of a label set.

    Attributes:
        code: Official code, or the group's name.
        name: Official name, or the group's name.
        colour: ``#rrggbb``; of a group, that of its first member.
        members: Codes of the nomenclature that make up the column.
    """

    code: str
    name: str
    colour: str
    members: list[str]


@dataclass(frozen=True)
class Labels:
    """A label set.

    Attributes:
        ids: Tile ids, shape (tile,).
        labels: Presence, 0 or 1, shape (tile, class), uint8.
        classes: Columns, in the order of the nomenclature (groups: of their first member).
    """

    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.uint8]
    classes: list[LabelClass]

    @property
    def codes(self) -> list[str]:
        """Codes in column order."""
        return [item["code"] for item in self.classes]


@dataclass(frozen=True)
class Cover:
    """Cover of all tiles of a dataset.

    Attributes:
        ids: Tile ids, shape (tile,).
        cover: Share of the full tile, 0..1, shape (tile, class), float32.
        classes: ``{code, name, colour}`` of each column, in the order of the nomenclature.
    """

    ids: npt.NDArray[np.str_]
    cover: npt.NDArray[np.float32]
    classes: list[dict[str, str]]

    @property
    def codes(self) -> list[str]:
        """Codes in column order."""
        return [item["code"] for item in self.classes]


def make_label_set(
    settings: LabelSet,
    covers: Sequence[Path],
    mapping: Path | None,
    store: Path,
    manifest: Path,
) -> None:
    """Derive a label set from cover.

    ``min_labels`` counts classes of the nomenclature, before classes are pruned or combined, so
    that label sets with the same ``min_cover`` and ``min_labels`` hold the same tiles.
    ``min_count`` counts the tiles that are left.

    Args:
        settings: Kind and thresholds.
        covers: Cover stores of the dataset, in the order that the tiles shall have.
        mapping: CSV of ``code,group`` for combined labels; None looks for a shipped one.
        store: Zarr store to write: ``labels`` (tile, class) uint8 and ``ids``.
        manifest: JSON to write: canonical content of the store.

    Raises:
        LabelError: Cover stores do not fit together, the mapping is wrong, or nothing is left.
    """
    _write_labels(derive_labels(settings, covers, mapping), settings, store)
    write_json(manifest, content_manifest(store))


def check_label_set(
    settings: LabelSet, covers: Sequence[Path], mapping: Path | None, output: Path
) -> None:
    """Raise what :func:`make_label_set` would raise, before anything is built.

    Args:
        settings: Kind and thresholds.
        covers: Cover stores of the dataset.
        mapping: CSV of ``code,group`` for combined labels; None looks for a shipped one.
        output: JSON to write: tiles and support of each class.

    Raises:
        LabelError: Cover stores do not fit together, the mapping is wrong, or nothing is left.
    """
    labels = derive_labels(settings, covers, mapping)
    support = dict(zip(labels.codes, labels.labels.sum(axis=0, dtype=int).tolist(), strict=True))
    write_json(output, {"kind": settings.kind, "n_tiles": len(labels.ids), "support": support})


def derive_labels(settings: LabelSet, covers: Sequence[Path], mapping: Path | None) -> Labels:
    """The label set in memory; see :func:`make_label_set`.

    Raises:
        LabelError: Cover stores do not fit together, the mapping is wrong, or nothing is left.
    """
    data = read_covers(covers)
    candidates = _candidate_classes(settings, data, mapping)
    labels = member_presence(data, candidates, settings.min_cover)
    kept = _tiles_with_enough_labels(settings, data)
    count = labels[kept].sum(axis=0)
    wanted = np.flatnonzero(
        count >= (settings.min_count if isinstance(settings, PrunedLabels) else 1)
    )
    if not wanted.size:
        raise _nothing_left(settings, candidates, count)
    selected = np.ascontiguousarray(labels[kept][:, wanted])
    return Labels(data.ids[kept], selected, [candidates[column] for column in wanted])


def read_labels(store: Path) -> Labels:
    """Read a label set.

    Raises:
        StoreError: The store is missing or damaged.
    """
    group = open_store(store)
    classes: list[LabelClass] = list(group.attrs["classes"])  # type: ignore[arg-type]
    return Labels(read_strings(group, "ids"), read_array(group, "labels").astype(np.uint8), classes)


def labels_like(
    labels_store: Path, covers: Sequence[Path]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.uint8]]:
    """Labels of another dataset with the classes and ``min_cover`` of a label set.

    All tiles are kept, also those below ``min_labels``: what a model is applied to is not selected.

    Args:
        labels_store: Label set whose columns are wanted.
        covers: Cover stores of the other dataset.

    Returns:
        Ids (tile,) and presence (tile, class) uint8; a class unknown to the other dataset is all 0.

    Raises:
        LabelError: The other dataset knows none of the classes, or has others of its own in their
            place; a class of CORINE that does not occur there is no such case.
    """
    group = open_store(labels_store)
    classes: list[LabelClass] = list(group.attrs["classes"])  # type: ignore[arg-type]
    data = read_covers(covers)
    _require_same_names(classes, data.codes, covers[0])
    return data.ids, member_presence(data, classes, float(group.attrs["min_cover"]))  # type: ignore[arg-type]


def _require_same_names(classes: Sequence[LabelClass], codes: Sequence[str], cover: Path) -> None:
    """See that columns of a label set are known elsewhere; names of one's own are easily misspelt."""
    missing = [item["code"] for item in classes if not set(codes).intersection(item["members"])]
    members = {code for item in classes for code in item["members"]}
    strange = [code for code in codes if code not in members]
    if len(missing) == len(classes):
        raise LabelError(
            "the other dataset knows none of the label set's classes",
            where=cover,
            expected=", ".join(item["code"] for item in classes),
            found=", ".join(codes),
            fix="apply the model to a dataset with the same nomenclature",
        )
    official = open_store(cover).attrs.get("nomenclature") == corine().name
    if missing and strange and not official:
        raise LabelError(
            "the other dataset has other labels than the model",
            where=cover,
            expected=f"{', '.join(missing)} too",
            found=f"{', '.join(strange)} instead",
            fix="give the same labels the same names, or remove those that the model does not know",
        )
    if missing:
        LOG.warning("%s: no tile has %s: not known there", cover, ", ".join(missing))


def presence(cover: npt.NDArray[np.floating], min_cover: float) -> npt.NDArray[np.bool_]:
    """Where cover is large enough; with ``min_cover`` 0, wherever there is any.

    Args:
        cover: Share of the full tile, any shape.
        min_cover: Smallest share.
    """
    if min_cover == 0:
        return cover > 0
    return cover.astype(np.float64) >= min_cover * (1 - COVER_TOLERANCE)


def member_presence(
    data: Cover, classes: Sequence[LabelClass], min_cover: float
) -> npt.NDArray[np.uint8]:
    """Presence of each class by the summed cover of its members.

    Returns:
        Presence (tile, class) uint8; members that ``data`` does not know count as 0.
    """
    index = {code: position for position, code in enumerate(data.codes)}
    membership = np.zeros((len(index), len(classes)))
    for column, item in enumerate(classes):
        for code in item["members"]:
            if code in index:
                membership[index[code], column] = 1
    # Packed images have 0/1 cover, which sums to more than the whole tile.
    total = np.minimum(data.cover.astype(np.float64) @ membership, 1.0)
    return presence(total, min_cover).astype(np.uint8)


def read_covers(covers: Sequence[Path]) -> Cover:
    """Read the cover of all tiles of a dataset, store after store.

    Raises:
        LabelError: Stores have different nomenclatures or share tile ids, or there are no tiles.
        StoreError: A store is missing or damaged.
    """
    ids, parts, classes = [], [], None
    for path in covers:
        group = open_store(path)
        found = [dict(item) for item in group.attrs["classes"]]  # type: ignore[union-attr, arg-type]
        if classes is not None and found != classes:
            raise LabelError(
                "cover stores have different classes",
                where=path,
                expected=f"those of {covers[0]}",
                fix="rerun the rule that measures cover for all scenes",
            )
        classes = found
        ids.append(read_strings(group, "ids"))
        parts.append(read_array(group, "cover").astype(np.float32))
    if classes is None or not sum(map(len, ids)):
        raise LabelError("there are no tiles to label", found=f"{len(covers)} cover stores")
    all_ids = np.concatenate(ids)
    _refuse_repeats(all_ids, "tile id", "cover stores")
    return Cover(all_ids, np.concatenate(parts), classes)


def _candidate_classes(settings: LabelSet, data: Cover, mapping: Path | None) -> list[LabelClass]:
    if not isinstance(settings, CombinedLabels):
        return [
            LabelClass(
                code=item["code"], name=item["name"], colour=item["colour"], members=[item["code"]]
            )
            for item in data.classes
        ]
    file = mapping or find_mapping(settings.mapping, Path())
    groups = read_mapping(file, data.codes)
    _refuse_unmapped(file, groups, data)
    return _group_classes(groups, data)


def _tiles_with_enough_labels(settings: LabelSet, data: Cover) -> npt.NDArray[np.bool_]:
    count = presence(data.cover, settings.min_cover).sum(axis=1)
    kept: npt.NDArray[np.bool_] = count >= settings.min_labels
    if not kept.any():
        raise LabelError(
            "no tile has enough labels",
            where="labels",
            expected=f"at least {settings.min_labels} classes (`min_labels`) that cover at least "
            f"{settings.min_cover:g} (`min_cover`) of a tile",
            found=f"at most {int(count.max())} in {len(data.ids)} tiles",
            fix="lower `min_labels` or `min_cover`",
        )
    return kept


def _refuse_unmapped(file: Path, groups: Mapping[str, str], data: Cover) -> None:
    occurs = np.asarray((data.cover > 0).any(axis=0))
    missing = [
        f"{item['code']} ({item['name']})"
        for item, here in zip(data.classes, occurs.tolist(), strict=True)
        if here and item["code"] not in groups
    ]
    if missing:
        raise LabelError(
            "classes that occur in the data are not mapped: " + ", ".join(missing),
            where=file,
            fix="add a row for each; an empty group drops the class on purpose",
        )


def _group_classes(groups: Mapping[str, str], data: Cover) -> list[LabelClass]:
    """Groups in the order of their first member's official code, with its colour."""
    result: dict[str, LabelClass] = {}
    for item in data.classes:
        group = groups.get(item["code"], "")
        if not group:
            continue
        fresh = LabelClass(code=group, name=group, colour=item["colour"], members=[])
        result.setdefault(group, fresh)["members"].append(item["code"])
    return list(result.values())


def _nothing_left(
    settings: LabelSet, candidates: Sequence[LabelClass], count: npt.NDArray[np.integer]
) -> LabelError:
    if not candidates:
        return LabelError("the label mapping drops every class", where="labels")
    best = int(np.argmax(count))
    if isinstance(settings, PrunedLabels):
        return LabelError(
            "no class occurs often enough",
            where="labels",
            expected=f"at least {settings.min_count} tiles (`min_count`)",
            found=f"at most {int(count[best])}, of class {candidates[best]['code']}",
            fix="lower `min_count` or `min_cover`, or cut more tiles",
        )
    return LabelError(
        "no class is present in any tile",
        where="labels",
        expected=f"cover of at least {settings.min_cover:g} (`min_cover`) in some tile",
        fix="lower `min_cover`, or check that land cover and scenes overlap",
    )


def _write_labels(labels: Labels, settings: LabelSet, store: Path) -> None:
    use_fast_codecs()
    attributes = {
        "kind": settings.kind,
        "min_cover": settings.min_cover,
        "min_labels": settings.min_labels,
        "classes": labels.classes,
    }
    with new_store(store, attributes) as group:
        write_array(group, "labels", labels.labels, ("tile", "class"))
        write_strings(group, "ids", labels.ids, "tile")


def _refuse_repeats(ids: npt.NDArray[np.str_], what: str, where: str) -> None:
    if len(np.unique(ids)) == len(ids):
        return
    repeated = [name for name, n in Counter(ids.tolist()).items() if n > 1]
    raise LabelError(
        f"{len(repeated)} {what}s occur more than once", where=where, found=", ".join(repeated[:5])
    )
