"""What the report says of a dataset: size, split, tiles with labels, label sets, test ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geolatents.files import read_json
from geolatents.labels.sets import LabelClass, Labels, read_labels
from geolatents.learning.ledger import read_ledger
from geolatents.report.images import (
    embedded,
    embedded_figure,
    embedded_tiles,
)
from geolatents.report.orders import draw_orders, read_counts
from geolatents.stores import open_store, read_strings
from geolatents.tiles.display import rgb_bands

PARTS = ("train", "validation", "test", "buffer")
QUICK_LOOK_TILES = 12
QUICK_LOOK_SIDE = 160
LEDGER_ROWS = 30


def dataset_section(name: str, root: Path, used: Sequence[str] = ()) -> dict[str, Any]:
    """What the page says of one dataset.

    Args:
        name: Dataset.
        root: Root of the results.
        used: Label sets that experiments use; they come first, and the others are folded.
    """
    folder = root / name
    sets = _label_sets(folder, used)
    return {
        "name": name,
        "tiles": _json_or_empty(folder / "tiles.json"),
        "splits": {
            path.stem: read_json(path).get("counts", {})
            for path in sorted((folder / "splits").glob("*.json"))
            if not path.name.endswith(".prov.json")
        },
        "parts": PARTS,
        "quick_look": quick_look(
            sorted((folder / "tiles").glob("*.zarr")),
            folder / "labels" / f"{sets[0]}.zarr" if sets else None,
        ),
        "quick_look_labels": sets[0] if sets else None,
        "label_sets": [_label_set(folder, one, one in used) for one in sets],
        "ledger": grouped_readings(read_ledger(folder / "test-ledger.jsonl")),
        "ledger_rows": LEDGER_ROWS,
    }


def quick_look(
    stores: Sequence[Path], labels: Path | None = None, count: int = QUICK_LOOK_TILES
) -> list[dict[str, Any]]:
    """Some tiles, evenly spread over the stores.

    Args:
        stores: Tile stores.
        labels: Label set whose labels are shown with the tiles.
        count: Number of tiles.

    Returns:
        Per tile its ``id``, ``image`` (data address) and ``labels`` (classes; None where the label
        set does not have the tile).
    """
    names, tiles = [], []
    chosen = stores[:count]
    for store, wanted in zip(chosen, _shares(count, len(chosen)), strict=True):
        group = open_store(store)
        images: Any = group["images"]
        attributes: Any = group.attrs
        bands = rgb_bands([str(band) for band in attributes["bands"]])
        ids = read_strings(group, "ids")
        # not the first and last, which lie in the corners of a scene
        places = (np.arange(min(wanted, len(ids))) + 0.5) * len(ids) / min(wanted, len(ids))
        for place in places.astype(int).tolist():
            tile = np.asarray(images[place])[..., bands].astype(np.float32)
            if attributes.get("nodata") is not None:
                tile[(tile == attributes["nodata"]).all(axis=-1)] = np.nan
            names.append(str(ids[place]))
            tiles.append(tile)
    present = _present(read_labels(labels), names) if labels else {}
    return [
        {"id": name, "image": image, "labels": present.get(name)}
        for name, image in zip(names, embedded_tiles(tiles, QUICK_LOOK_SIDE), strict=True)
    ]


def grouped_readings(ledger: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Readings of a test part: their number, and one row per kind of reading, the latest first."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in ledger:
        groups.setdefault((row["what"], row["part"], row["rule"]), []).append(row["when"])
    rows = [
        {"what": what, "part": part, "rule": rule, "count": len(times), "last": max(times)}
        for (what, part, rule), times in groups.items()
    ]
    return {"count": len(ledger), "rows": sorted(rows, key=lambda row: row["last"], reverse=True)}


def _label_sets(folder: Path, used: Sequence[str]) -> list[str]:
    """Names of label sets, those that are used first."""
    names = sorted(path.stem for path in (folder / "labels").glob("*.zarr"))
    return sorted(names, key=lambda name: (name not in used, name))


def _label_set(folder: Path, name: str, used: bool) -> dict[str, Any]:
    labels = read_labels(folder / "labels" / f"{name}.zarr")
    orders = read_counts(folder / "batches", name)
    figures = sorted((folder / "labels" / name).glob("cooccurrence-*.png"))
    return {
        "name": name,
        "used": used,
        "n_labels": len(labels.classes),
        "n_tiles": len(labels.ids),
        "per_tile": float(labels.labels.sum(axis=1).mean()) if len(labels.ids) else None,
        "cooccurrence": [
            {"split": file.stem.removeprefix("cooccurrence-"), "image": embedded(file)}
            for file in figures
        ],
        "orders": [order.name for order in orders],
        "counts": embedded_figure(draw_orders(orders, labels.classes)) if orders else None,
    }


def _present(labels: Labels, names: Sequence[str]) -> dict[str, list[LabelClass]]:
    """Classes of the given tiles, as far as the label set has them."""
    wanted = set(names)
    return {
        name: [labels.classes[i] for i in np.flatnonzero(labels.labels[row])]
        for row, name in enumerate(labels.ids.tolist())
        if name in wanted
    }


def _shares(count: int, stores: int) -> list[int]:
    """``count`` tiles spread over stores, more in the first where they do not come out even."""
    return [count // stores + (i < count % stores) for i in range(stores)]


def _json_or_empty(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}
