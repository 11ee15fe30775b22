"""Checks before a training, of what it is to be trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geolatents.batches.loader import check_stores
from geolatents.errors import StoreError, TrainingError
from geolatents.files import read_json, write_json
from geolatents.labels.parts import PARTS, parts_of
from geolatents.labels.sets import read_labels
from geolatents.settings.models import Classifier
from geolatents.stores import open_store, read_array, read_strings


def check_training(
    settings: Classifier,
    stores: Sequence[Path],
    manifests: Sequence[Path],
    labels: Path,
    split: Path,
    output: Path,
) -> None:
    """Refuse what cannot be trained on, before anything that exists is removed.

    Args:
        settings: The classifier.
        stores: Tile stores of the dataset.
        manifests: Their manifests, in the same order.
        labels: Label set.
        split: Split.
        output: JSON to write: tiles per part, positives of each label per part.

    Raises:
        TrainingError: A part has no tiles, a label has no positives in training, no label can be
            validated, a labelled tile is in no store, or a backbone cannot see such tiles.
        SplitError: A labelled tile is in no part.
        StoreError: A store is missing, truncated, or not what its manifest says.
    """
    check_stores([*stores, labels])
    _check_manifests(stores, manifests)
    _check_backbone(settings, stores)
    found = read_labels(labels)
    _check_positions(found.ids, stores, labels)
    part, _ = parts_of(found.ids, split)
    counts = {name: int((part == name).sum()) for name in PARTS}
    positives = {name: found.labels[part == name].sum(axis=0).astype(int) for name in PARTS}
    _check_parts(counts, split)
    _check_positives(settings, found.codes, positives, counts, labels)
    write_json(
        output,
        {
            "tiles": counts,
            "positives": {
                code: {name: int(positives[name][column]) for name in PARTS}
                for column, code in enumerate(found.codes)
            },
        },
    )


def _check_manifests(stores: Sequence[Path], manifests: Sequence[Path]) -> None:
    """Compare shapes and types with the manifests; contents are the task of `snakemake verify`."""
    for store, manifest in zip(stores, manifests, strict=True):
        group = open_store(store)
        for name, entry in read_json(manifest)["arrays"].items():
            found = list(group[name].shape) if name in group else None  # type: ignore[union-attr]
            if found != entry["shape"]:
                raise StoreError(
                    f"array {name!r} is not what the manifest says",
                    where=store,
                    expected=f"shape {entry['shape']}",
                    found=f"shape {found}" if found else "no such array",
                    fix="delete the store with its manifest and rerun the rule that makes it",
                )


def _check_backbone(settings: Classifier, stores: Sequence[Path]) -> None:
    if settings.network.name != "backbone":
        return
    from geolatents.learning.backbones import check_tiles  # TensorFlow takes seconds to load

    for store in stores:
        group = open_store(store)
        shape, bands = group["images"].shape[1:], group.attrs["bands"]  # type: ignore[union-attr]
        means = read_array(group, "mean")
        if np.isfinite(means).any():
            mean = np.nan_to_num(np.nanmean(means, axis=0))
            check_tiles(settings.network, shape, bands, mean, store)  # type: ignore[arg-type]


def _check_positions(ids: npt.NDArray[np.str_], stores: Sequence[Path], labels: Path) -> None:
    known = {name for store in stores for name in read_strings(open_store(store), "ids").tolist()}
    missing = [name for name in ids.tolist() if name not in known]
    if missing:
        raise TrainingError(
            f"{len(missing)} labelled tiles are in no tile store, such as {missing[0]!r}",
            where=labels,
            fix="rerun the label set: it belongs to other tiles",
        )


def _check_parts(counts: Mapping[str, int], split: Path) -> None:
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise TrainingError(
            f"the {empty[0]} part has no labelled tiles",
            where=split,
            found=", ".join(f"{name} {count}" for name, count in counts.items()),
            fix="choose a smaller `block`, other shares or another seed of the split, "
            "or a label set with a lower `min_labels`",
        )


def _check_positives(
    settings: Classifier,
    codes: Sequence[str],
    positives: Mapping[str, npt.NDArray[np.int64]],
    counts: Mapping[str, int],
    labels: Path,
) -> None:
    absent = [code for code, n in zip(codes, positives["train"], strict=True) if not n]
    if absent:
        raise TrainingError(
            f"no training tile has {'label' if len(absent) == 1 else 'labels'} {', '.join(absent)}",
            where=labels,
            expected="at least one positive of every label in the training part",
            found=", ".join(
                f"{code}: validation {positives['validation'][codes.index(code)]}, "
                f"test {positives['test'][codes.index(code)]}"
                for code in absent
            ),
            fix="use a `pruned` label set with a higher `min_count`, or a `combined` one, "
            f"for `labels: {settings.labels}`; or another seed or block size of the split",
        )
    found = positives["validation"]
    if not ((found > 0) & (found < counts["validation"])).any():
        raise TrainingError(
            "no label has both positives and negatives in the validation part",
            where=labels,
            fix="use a larger share of validation, or another seed of the split",
        )
