"""Scores of a trained network: for the tiles it was trained on, or for another dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.batches.loader import TileImages
from geolatents.errors import TrainingError
from geolatents.learning.fit import as_tensor, read_ahead
from geolatents.learning.networks import standardisation
from geolatents.logs import LOG, progress
from geolatents.olr.refusals import NO_LABELS
from geolatents.stores import new_store, use_fast_codecs, write_array, write_strings

Floats = npt.NDArray[np.float32]

BATCH_PIXELS = 2**20
"""Pixels of one prediction batch: 256 tiles of 64 px, one of 1000 px."""


class Images(Protocol):
    """What is needed of a tile store: see :class:`geolatents.batches.loader.TileImages`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(y, x, band)``."""

    def take(self, positions: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        """Tiles at the given positions, ``(tile, y, x, band)``."""


def load_model(model: Path) -> keras.Model:
    """Read a saved model of ours.

    Raises:
        TrainingError: The file is missing or no model of ours.
    """
    try:
        loaded = keras.saving.load_model(model, compile=False)
        standardisation(loaded)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(
            "the model cannot be read", where=model, found=error, fix="delete it and rerun"
        ) from None
    return loaded


def check_bands(model: keras.Model, bands: Sequence[str], where: object) -> None:
    """Compare a model's bands with those of the tiles that it is to be applied to.

    Raises:
        TrainingError: The numbers differ. Other names at the same number are only logged.
    """
    layer = standardisation(model)
    if len(layer.mean) != len(bands):
        raise TrainingError(
            "the model and the tiles have different numbers of bands",
            where=str(where),
            expected=f"{len(layer.mean)} ({', '.join(layer.bands) or 'unnamed'})",
            found=f"{len(bands)} ({', '.join(bands)})",
            fix="choose the same bands for this dataset, or train a model on it",
        )
    if layer.bands and list(layer.bands) != list(bands):
        LOG.warning("model trained on bands %s, applied to %s", layer.bands, list(bands))


def predict_scores(
    model: keras.Model,
    images: Images,
    positions: npt.NDArray[np.integer[Any]],
    flips: bool = False,
    what: str = "predicting",
) -> Floats:
    """Probabilities of tiles.

    Args:
        model: A saved model, which ends in probabilities.
        images: Tiles.
        positions: Positions of the wanted tiles, ``(tile,)``.
        flips: Average over the tile and its three flips.
        what: Name for the progress bar; empty for none.

    Returns:
        ``(tile, label)`` float32 in 0..1.
    """
    return predict_arrays(scorer(model, flips), images, positions, what)


def predict_arrays(
    function: Callable[[Any], Any],
    images: Images,
    positions: npt.NDArray[np.integer[Any]],
    what: str = "predicting",
) -> Floats:
    """Apply a function to tiles, batch by batch.

    Args:
        function: From raw tiles ``(tile, y, x, band)`` to ``(tile, ...)``.
        images: Tiles.
        positions: Positions of the wanted tiles, ``(tile,)``.
        what: Name for the progress bar; empty for none.

    Returns:
        ``(tile, ...)`` float32.
    """
    height, width, _ = images.shape
    size = max(1, BATCH_PIXELS // (height * width))
    starts = range(0, len(positions), size)
    shown: Iterator[npt.NDArray[Any]] = read_ahead(
        images.take(positions[start : start + size]) for start in starts
    )
    if what:
        shown = progress(shown, total=len(starts), what=what, unit="batch")
    found = [np.asarray(function(as_tensor(batch)), np.float32) for batch in shown]
    if not found:
        raise TrainingError("there is no tile to predict", where=what or None)
    return np.concatenate(found)


def scorer(model: keras.Model, flips: bool = False) -> Callable[[Any], Any]:
    """A compiled function from raw tiles ``(tile, y, x, band)`` to the output ``(tile, ...)``."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def score(tiles: Any) -> Any:
        tiles = tf.cast(tiles, tf.float32)
        if not flips:
            return model(tiles, training=False)
        views = [tiles, tiles[:, ::-1], tiles[:, :, ::-1], tiles[:, ::-1, ::-1]]
        if tiles.shape[1] is not None and tiles.shape[1] == tiles.shape[2]:
            views += [tf.transpose(view, [0, 2, 1, 3]) for view in views]
        return tf.add_n([model(view, training=False) for view in views]) / len(views)

    return score  # type: ignore[no-any-return, unused-ignore]


def apply_model(
    model: Path, stores: Sequence[Path], ids: Sequence[str], flips: bool = False
) -> Floats:
    """Scores of a saved model for tiles of any dataset with as many bands.

    Args:
        model: ``model.keras``.
        stores: Tile stores of the dataset.
        ids: Wanted tiles, in the order of the result.
        flips: Average over flips.

    Returns:
        ``(tile, label)`` float32; probabilities of a classifier.

    Raises:
        TrainingError: The number of bands differs, or the model cannot be read.
    """
    images = TileImages.open(stores)
    loaded = load_model(model)
    check_bands(loaded, images.bands, stores[0])
    return predict_scores(loaded, images, images.positions(ids), flips)


def write_predictions(
    path: Path,
    *,
    ids: npt.ArrayLike,
    part: npt.ArrayLike,
    scores: Floats,
    targets: npt.NDArray[np.uint8] | None,
    attributes: dict[str, Any],
    scores_by_seed: Floats | None = None,
) -> None:
    """Write ``predictions.zarr``, from which anyone can recompute every figure.

    Args:
        path: Store.
        ids: Tile ids ``(tile,)``.
        part: Part of each tile ``(tile,)``.
        scores: ``(tile, label)`` in 0..1.
        targets: Presence ``(tile, label)``; None where the tiles have no labels: then the attribute
            ``labels`` is ``none``.
        attributes: At least classes, dataset, model and kind.
        scores_by_seed: ``(tile, seed, label)`` where ``scores`` are a mean over seeds.
    """
    use_fast_codecs()
    unlabelled = {"labels": NO_LABELS} if targets is None else {}
    with new_store(path, {**attributes, **unlabelled}) as group:
        write_strings(group, "ids", ids, "tile")
        write_strings(group, "part", part, "tile")
        write_array(group, "scores", np.asarray(scores, np.float32), ("tile", "label"))
        if targets is not None:
            write_array(group, "targets", np.asarray(targets, np.uint8), ("tile", "label"))
        if scores_by_seed is not None:
            write_array(group, "scores_by_seed", scores_by_seed, ("tile", "seed", "label"))
