"""Trained models on another dataset, whole: scores and vectors of tiles that no training has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.batches.loader import TileImages
from geolatents.errors import TrainingError
from geolatents.labels.sets import LabelClass, labels_like, read_labels
from geolatents.logs import LOG
from geolatents.olr.predict import (
    Floats,
    check_bands,
    load_model,
    predict_arrays,
    predict_scores,
    scorer,
    write_predictions,
)
from geolatents.olr.refusals import NO_LABELS, REFUSED, refusal
from geolatents.olr.siamese_network import SCORES, flat_outputs, one_output, split_outputs
from geolatents.stores import new_store, open_store, use_fast_codecs, write_array, write_strings


@dataclass(frozen=True)
class OtherTiles:
    """Tiles that models are applied to.

    Attributes:
        images: Tiles of the other dataset.
        ids: Their ids (tile,).
        targets: Presence of the model's labels (tile, label); None where nobody knows them.
        classes: The model's labels.
    """

    images: TileImages
    ids: npt.NDArray[np.str_]
    targets: npt.NDArray[np.uint8] | None
    classes: list[LabelClass]


def open_tiles(stores: Sequence[Path], covers: Sequence[Path], labels: Path) -> OtherTiles:
    """Open another dataset.

    Args:
        stores: Its tile stores.
        covers: Its cover stores; none where its tiles have no labels.
        labels: Label set that the models were trained on.

    Raises:
        LabelError: The dataset has labels, but those of the models are not among them.
    """
    images, classes = TileImages.open(stores), read_labels(labels).classes
    if not covers:
        return OtherTiles(images, images.ids, None, classes)
    ids, targets = labels_like(labels, covers)
    return OtherTiles(images, ids, targets, classes)


def apply_classifier(
    *,
    seeds: Sequence[int],
    models: Sequence[Path],
    stores: Sequence[Path],
    covers: Sequence[Path],
    labels: Path,
    predictions: Path,
    flips: bool = False,
    dataset: str = "another dataset",
    name: str = "experiment",
) -> None:
    """Score all tiles of another dataset with a classifier.

    Args:
        seeds: Seeds of the models.
        models: ``model.keras`` of each seed.
        stores: Tile stores of the other dataset.
        covers: Its cover stores; none where its tiles have no labels.
        labels: Label set that the models were trained on.
        predictions: Zarr store to write: ``ids, part, scores`` (mean over seeds), ``targets`` (absent,
            and the attribute ``labels`` is ``none``, without labels) and ``scores_by_seed (tile, seed,
            label)``, whose seeds are the attribute ``seeds``.
        flips: Average scores over flips.
        dataset: Name of the other dataset.
        name: Name of the experiment.

    Raises:
        LabelError: The other dataset has other labels.
        TrainingError: A model does not fit the tiles or the labels.
    """
    tiles = open_tiles(stores, covers, labels)
    positions = tiles.images.positions(tiles.ids)
    found = {}
    for seed, file in zip(seeds, models, strict=True):
        model = load_fitting(file, tiles)
        _check_width(model.output_shape[-1], tiles, file)
        found[seed] = predict_scores(model, tiles.images, positions, flips)
    attributes = {"dataset": dataset, "model": name, "kind": "classifier"}
    _write_scores(predictions, tiles, found, attributes)


def apply_siamese(
    *,
    seeds: Sequence[int],
    models: Sequence[Path],
    trained: Sequence[Path],
    stores: Sequence[Path],
    covers: Sequence[Path],
    labels: Path,
    predictions: Path,
    embeddings: Path,
    k: int,
    flips: bool = False,
    dataset: str = "another dataset",
    name: str = "experiment",
) -> None:
    """Embed and score all tiles of another dataset with a Siamese network.

    Args:
        seeds: Seeds of the models.
        models: ``model.keras`` of each seed.
        trained: ``predictions.zarr`` of each seed on its own dataset, which say whether it was refused.
        stores: Tile stores of the other dataset.
        covers: Its cover stores; none where its tiles have no labels.
        labels: Label set that the models were trained on.
        predictions: Zarr store to write, as of :func:`apply_classifier`; seeds that were refused are
            left out of it, and named with the reason in the attribute ``refused``. Where all were, it
            has no tiles and ``status: refused``.
        embeddings: Zarr store to write: ``ids``, ``embeddings (tile, label, k)`` float32 of the first
            trained seed, which is its attribute ``seed``.
        k: Dimensions of an embedding.
        flips: Average over flips.
        dataset: Name of the other dataset.
        name: Name of the experiment.

    Raises:
        LabelError: The other dataset has other labels.
        TrainingError: A model does not fit the tiles or the labels.
    """
    tiles = open_tiles(stores, covers, labels)
    positions = tiles.images.positions(tiles.ids)
    reasons = dict(zip(seeds, map(_reason, trained), strict=True))
    found: dict[int, Floats] = {}
    vectors = np.empty((0, len(tiles.classes), k), np.float32)
    for seed, file in zip(seeds, models, strict=True):
        if reasons[seed]:
            LOG.warning("%s, seed %d is not applied: %s", name, seed, reasons[seed])
            continue
        model = load_fitting(file, tiles)
        _check_width(model.output[SCORES].shape[-1], tiles, file)
        if found:
            found[seed] = predict_scores(one_output(model, SCORES), tiles.images, positions, flips)
        else:
            flat = predict_arrays(scorer(flat_outputs(model), flips), tiles.images, positions)
            vectors, found[seed] = split_outputs(flat, len(tiles.classes))
    refused = {str(seed): reason for seed, reason in reasons.items() if reason}
    attributes: dict[str, Any] = {"dataset": dataset, "model": name, "kind": "siamese"}
    if refused:
        attributes["refused"] = refused
    if not found:
        attributes |= {"status": REFUSED, "reason": next(iter(refused.values()))}
    _write_scores(predictions, tiles, found, attributes)
    _write_vectors(embeddings, tiles, vectors, {**attributes, "seed": next(iter(found), None)})


def load_fitting(file: Path, tiles: OtherTiles) -> Any:
    """Read a model and see that it takes tiles with these bands.

    Raises:
        TrainingError: The file is no model of ours, or the number of bands differs.
    """
    model = load_model(file)
    check_bands(model, tiles.images.bands, tiles.images.stores[0])
    return model


def _reason(trained: Path) -> str | None:
    refused = refusal(dict(open_store(trained).attrs))
    return refused["reason"] if refused else None


def _check_width(width: int, tiles: OtherTiles, model: Path) -> None:
    if width != len(tiles.classes):
        raise TrainingError(
            "the model has other labels than the label set",
            where=model,
            expected=f"{len(tiles.classes)} labels",
            found=f"{width}",
            fix="train the model again",
        )


def _write_scores(
    path: Path, tiles: OtherTiles, found: Mapping[int, Floats], attributes: Mapping[str, Any]
) -> None:
    """Write scores by seed and their mean; without a seed, a store of no tiles."""
    kept = slice(None) if found else slice(0)
    ids = tiles.ids[kept]
    by_seed = np.stack(list(found.values()), axis=1) if found else None
    write_predictions(
        path,
        ids=ids,
        part=np.full(len(ids), "test"),
        scores=np.empty((0, len(tiles.classes)), np.float32)
        if by_seed is None
        else by_seed.mean(axis=1),
        targets=None if tiles.targets is None else tiles.targets[kept],
        attributes={**attributes, "classes": tiles.classes, "seeds": list(found)},
        scores_by_seed=by_seed,
    )


def _write_vectors(
    path: Path, tiles: OtherTiles, vectors: Floats, attributes: Mapping[str, Any]
) -> None:
    use_fast_codecs()
    unlabelled = {"labels": NO_LABELS} if tiles.targets is None else {}
    with new_store(path, {**attributes, "classes": tiles.classes, **unlabelled}) as group:
        write_strings(group, "ids", tiles.ids[: len(vectors)], "tile")
        write_array(group, "embeddings", vectors, ("tile", "label", "k"))
