"""A decoder that redraws a tile from its label embeddings: what of the image is still in them.

The original method (Karatsiolis and Kamilaris 2021) draws images from its latent representations. Ours is
trained after the Siamese network, which it does not change, and stands beside a decoder of the same form
from the scores alone (a rank-1 embedding z_i = p_i u_i holds no more than they do), principal components of
equal code size, and mean images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.errors import TrainingError
from geolatents.files import atomic_path, write_json
from geolatents.labels.parts import parts_of
from geolatents.learning.checkpoints import Checkpoints
from geolatents.learning.devices import scope_of
from geolatents.learning.fit import (
    Objective,
    TrainingState,
    adamw,
    fit,
    seed_everything,
    write_history,
)
from geolatents.learning.precision import chosen_precision
from geolatents.learning.prepare import (
    Indices,
    TrainingOrder,
    read_order,
    read_tiles,
    training_statistics,
)
from geolatents.logs import LOG
from geolatents.olr.classifier import save_model
from geolatents.olr.decoder_network import build_decoder, one_decoder
from geolatents.olr.redrawing import (
    MEAN,
    Components,
    Images,
    StandardTiles,
    effective_dimensions,
    errors,
    explained,
    gain_interval,
    label_set_errors,
    per_label,
    principal_components,
)
from geolatents.olr.refusals import refusal
from geolatents.olr.samples import tile_groups
from geolatents.settings.models import Decoder
from geolatents.stores import (
    new_store,
    open_store,
    read_array,
    read_strings,
    use_fast_codecs,
    write_array,
    write_strings,
)

EMBEDDINGS, SCORES = "embeddings", "scores"
"""The codes that tiles are redrawn from."""

PCA, EFFECTIVE, LABEL_SET = "pca", "pca_effective", "label_set_mean"

MONITOR = "validation_explained"

SHOWN = 8
"""Test tiles that are kept to be drawn."""

Codes = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Code:
    """Codes of labelled tiles.

    Attributes:
        tiles: The tiles, in standardised units.
        codes: Per name (tile, number) float32, in the order of the tiles.
    """

    tiles: StandardTiles
    codes: Codes

    def take(self, rows: Indices) -> Codes:
        """Codes of the given rows."""
        return {name: code[rows] for name, code in self.codes.items()}


def train_decoder(
    settings: Decoder,
    seed: int,
    *,
    stores: Sequence[Path],
    labels: Path,
    split: Path,
    order: Path,
    embeddings: Path,
    predictions: Path,
    tiles: Path | None = None,
    model: Path,
    scores_model: Path,
    history: Path,
    scores: Path,
    redrawn: Path,
    checkpoints: Checkpoints | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Train decoders from embeddings and from scores, and measure both on the test part.

    Args:
        settings: The decoder.
        seed: Seed of weights.
        stores: Tile stores of the dataset.
        labels: Label set.
        split: Split.
        order: Batch order.
        embeddings: ``embeddings.zarr`` of the Siamese network.
        predictions: Its ``predictions.zarr``, with the scores, or the reason why it was refused: then
            all outputs say so.
        tiles: Tile table of the dataset, for groups; None: single tiles are resampled.
        model: ``model.keras`` to write, from ``(tile, label * k)`` to tiles in standardised units.
        scores_model: The same from ``(tile, label)``.
        history: CSV to write: epoch, loss, explained shares of the validation part, learning_rate,
            seconds.
        scores: ``scores.json`` to write: see :func:`measured`.
        redrawn: Zarr store to write, with some test tiles (tile, y, x, band) in standardised units:
            ``original, embeddings, scores, pca, mean``.
        checkpoints: Where an interrupted training goes on; deleted when all is written.
        strategy: Devices to train on.

    Raises:
        TrainingError: Codes and tiles do not fit together, a part has no tiles, or training diverged.
        TrainingStopped: A signal asked for it; the state is saved.
    """
    refused = refusal(dict(open_store(predictions).attrs))
    if refused is not None:
        _write_refusal(refused, (model, scores_model), history, scores, redrawn)
        return
    labelled = read_tiles(stores, labels, split)
    standard = StandardTiles(labelled, *training_statistics(labelled))
    code = Code(standard, read_codes(embeddings, predictions, labelled.ids))
    for part in ("train", "validation", "test"):
        if len(labelled.of(part)) < 2:
            raise TrainingError(f"the {part} part has too few tiles for a decoder", where=split)
    mean_image = standard.mean_of(labelled.of("train"))
    with scope_of(strategy):
        decoder, state = fit_decoder(
            settings, seed, code, mean_image, read_order(order, labelled), checkpoints
        )
    for name, file in ((EMBEDDINGS, model), (SCORES, scores_model)):
        with atomic_path(file) as part_file:
            save_model(one_decoder(decoder, name), part_file)
    write_history(state.rows, history)
    groups = _groups(labelled.ids[labelled.of("test")], split, tiles)
    components, found = measured(decoder, code, mean_image, groups, seed)
    found |= {
        "bands": labelled.images.bands,
        "mean": standard.mean.tolist(),
        "std": standard.std.tolist(),
        "best_epoch": state.best_epoch,
    }
    write_json(scores, found)
    _write_redrawn(redrawn, decoder, code, mean_image, components, found["explained"])
    if checkpoints is not None:
        checkpoints.clear()


def read_codes(embeddings: Path, predictions: Path, ids: npt.NDArray[np.str_]) -> Codes:
    """Embeddings ``(tile, label * k)`` and scores ``(tile, label)`` of the given tiles.

    Raises:
        TrainingError: A tile has none.
    """
    found = {}
    for name, file in ((EMBEDDINGS, embeddings), (SCORES, predictions)):
        group = open_store(file)
        row_of = {one: row for row, one in enumerate(read_strings(group, "ids").tolist())}
        missing = [one for one in ids.tolist() if one not in row_of]
        if missing:
            raise TrainingError(
                f"{len(missing)} labelled tiles have no {name}, such as {missing[0]!r}",
                where=file,
                fix="train the Siamese network again on the present tiles",
            )
        values = read_array(group, name)[[row_of[one] for one in ids.tolist()]]
        found[name] = values.reshape(len(ids), -1).astype(np.float32)
    return found


def fit_decoder(
    settings: Decoder,
    seed: int,
    code: Code,
    mean_image: Images,
    order: TrainingOrder,
    checkpoints: Checkpoints | None = None,
) -> tuple[keras.Model, TrainingState]:
    """Train on tiles and codes that are open already.

    Args:
        settings: The decoder.
        seed: Seed of weights.
        code: Tiles and their codes.
        mean_image: Mean training image.
        order: Batches.
        checkpoints: Where an interrupted training goes on.

    Returns:
        The decoders with their best weights, and the state.
    """
    seed_everything(seed, settings.deterministic, "decoder")
    precision = chosen_precision(settings.precision)
    tiles = code.tiles.tiles
    decoder = build_decoder(settings, code.take(tiles.of("train")), mean_image, precision)
    state = fit(
        decoder,
        _objective(decoder, list(code.codes)),
        adamw(
            settings.learning_rate, settings.weight_decay, "cosine",
            order.steps(settings.epochs), precision, average=settings.average,
        ),
        partial(_batches, code, order),
        epochs=settings.epochs,
        steps_per_epoch=len(order.rows(0)),
        validate=_validation(decoder, code, mean_image),
        monitor=MONITOR,
        checkpoints=checkpoints,
        what="decoder",
    )  # fmt: skip
    return decoder, state


def measured(
    decoder: keras.Model,
    code: Code,
    mean_image: Images,
    groups: tuple[npt.NDArray[np.str_], str],
    seed: int = 0,
) -> tuple[Components, dict[str, Any]]:
    """Measure redrawings of the test part.

    Args:
        decoder: The decoders.
        code: Tiles and their codes.
        mean_image: Mean training image.
        groups: Group of each test tile, and what they are.
        seed: Seed of the interval, and of the draw of tiles for principal components.

    Returns:
        The principal components, and: ``explained``, per redrawing the share of the test tiles'
        variance around the mean training image; ``code``, how many numbers the embeddings have and how
        many count, and the components used; ``gain`` of embeddings over scores with its interval;
        ``per_label``, the shares over the tiles with each label; ``n_tiles`` per part.
    """
    tiles = code.tiles.tiles
    train, test = tiles.of("train"), tiles.of("test")
    numbers = code.codes[EMBEDDINGS].shape[1]
    effective = effective_dimensions(code.codes[EMBEDDINGS][train])
    components = principal_components(code.tiles, train, mean_image, numbers, seed)
    counts = {PCA: numbers, EFFECTIVE: max(1, round(effective))}
    found = errors(code.tiles, test, mean_image, _redrawings(decoder, code), components, counts)
    found[LABEL_SET] = label_set_errors(code.tiles, train, test, mean_image)
    shares = {name: explained(error, found[MEAN]) for name, error in found.items()}
    LOG.info("decoder: share of variance %s", {n: round(s or 0.0, 3) for n, s in shares.items()})
    values = (found[EMBEDDINGS], found[SCORES], found[MEAN])
    both = shares[EMBEDDINGS], shares[SCORES]
    return components, {
        "explained": shares,
        "code": {
            "numbers": numbers,
            "effective": effective,
            "scores": code.codes[SCORES].shape[1],
            "components": min(numbers, len(components.axes)),
            "component_tiles": components.n_tiles,
        },
        "gain": {
            "value": None if None in both else both[0] - both[1],  # type: ignore[operator]
            "interval": gain_interval(*values, groups[0], seed),
            "resampled": groups[1],
        },
        "per_label": per_label(found, tiles.labels[test], [c["code"] for c in tiles.classes]),
        "n_tiles": {part: len(tiles.of(part)) for part in ("train", "validation", "test")},
    }


def _objective(decoder: keras.Model, names: Sequence[str]) -> Objective:
    def loss(rows: Any) -> Any:
        images, *codes = rows
        drawn = decoder(dict(zip(names, codes, strict=True)), training=True)
        return tf.add_n([tf.reduce_mean(tf.square(drawn[name] - images)) for name in drawn])

    return Objective(lambda batch, step: batch, loss)


def _batches(
    code: Code, order: TrainingOrder, epoch: int, start: int
) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    for rows in order.rows(epoch)[start:]:
        yield code.tiles.take(rows), *code.take(rows).values()


def _redrawings(decoder: keras.Model, code: Code) -> dict[str, Callable[[Indices, Images], Images]]:
    """Per code what redraws tiles of the given rows."""
    return {name: _redrawing(one_decoder(decoder, name), code.codes[name]) for name in code.codes}


def _redrawing(
    model: keras.Model, codes: npt.NDArray[np.float32]
) -> Callable[[Indices, Images], Images]:
    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def draw(code: Any) -> Any:
        return model(code, training=False)

    def redraw(rows: Indices, images: Images) -> Images:
        return np.asarray(draw(tf.convert_to_tensor(codes[rows])), np.float32)

    return redraw


def _validation(
    decoder: keras.Model, code: Code, mean_image: Images
) -> Callable[[], Mapping[str, float]]:
    rows = code.tiles.tiles.of("validation")
    redrawings = _redrawings(decoder, code)
    none = Components(mean_image, np.empty((0, mean_image.size), np.float32), 0)

    def validate() -> Mapping[str, float]:
        found = errors(code.tiles, rows, mean_image, redrawings, none, {})
        shares = {name: explained(found[name], found[MEAN]) or 0.0 for name in redrawings}
        named = {f"validation_explained_{name}": share for name, share in shares.items()}
        return {**named, MONITOR: float(np.mean(list(shares.values())))}

    return validate


def _groups(
    ids: npt.NDArray[np.str_], split: Path, tiles: Path | None
) -> tuple[npt.NDArray[np.str_], str]:
    """Blocks of the split, else what the tile table knows, else single tiles."""
    _, blocks = parts_of(ids, split)
    if len(np.unique(blocks)) > 1:
        return blocks, "blocks"
    return tile_groups(tiles, ids) if tiles is not None else (ids, "tiles")


def _write_redrawn(
    path: Path,
    decoder: keras.Model,
    code: Code,
    mean_image: Images,
    components: Components,
    shares: Mapping[str, Any],
) -> None:
    tiles = code.tiles.tiles
    test = tiles.of("test")
    places = np.unique(((np.arange(SHOWN) + 0.5) * len(test) / SHOWN).astype(np.int64))
    rows = test[places]
    images = code.tiles.take(rows)
    shown = {
        "original": images,
        **{name: redraw(rows, images) for name, redraw in _redrawings(decoder, code).items()},
        PCA: components.draw(images),
        MEAN: np.broadcast_to(mean_image, images.shape),
    }
    use_fast_codecs()
    attributes = {"bands": tiles.images.bands, "explained": dict(shares)}
    with new_store(path, attributes) as group:
        write_strings(group, "ids", tiles.ids[rows], "tile")
        for name, values in shown.items():
            write_array(group, name, np.asarray(values, np.float32), ("tile", "y", "x", "band"))


def _write_refusal(
    refused: Mapping[str, str],
    models: Sequence[Path],
    history: Path,
    scores: Path,
    redrawn: Path,
) -> None:
    """Outputs without a decoder: there are no embeddings to redraw tiles from."""
    LOG.warning("refused: %s", refused["reason"])
    for model in models:
        with atomic_path(model) as part:
            part.write_text(f"refused: {refused['reason']}\n", encoding="utf-8")
    write_history([], history)
    write_json(scores, dict(refused))
    use_fast_codecs()
    with new_store(redrawn, dict(refused)) as group:
        write_strings(group, "ids", np.empty(0, np.str_), "tile")
