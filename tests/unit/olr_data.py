"""Generated predictions, stores and tables for tests of evaluation and report."""

from pathlib import Path

import numpy as np
import pandas as pd

from geolatents.stores import create_array, new_store, write_strings

CODES = ["111", "112", "211", "231", "311", "324", "411", "512"]
COLOURS = ["#e6004d", "#ff0000", "#ffffa8", "#e6e64d", "#80ff00", "#a6f200", "#a6a6ff", "#80f2e6"]


def classes(n=8):
    return [
        {
            "code": CODES[i] if i < 8 else f"6{i:02d}",
            "name": f"Class with a rather long name {i}",
            "colour": COLOURS[i % 8],
            "members": [],
        }
        for i in range(n)
    ]


def world(seed=0, blocks=24, per_block=25, n=8, blur=0.5):
    """Labels with relations that differ between blocks, and scores of a model that sees them."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(7).standard_normal((4, n))
    shared = np.repeat(rng.standard_normal((blocks, 4)), per_block, axis=0)
    factors = shared + 0.7 * rng.standard_normal(shared.shape)
    latent = 0.6 * factors @ loadings + rng.standard_normal((len(factors), n))
    targets = (latent > np.linspace(0.2, 1.6, n)).astype(np.uint8)
    seen = latent + blur * rng.standard_normal(latent.shape)
    scores = 1 / (1 + np.exp(-2 * (seen - np.linspace(0.2, 1.6, n))))
    names = np.repeat([f"{i // 6}_{i % 6}" for i in range(blocks)], per_block)
    return targets, scores.astype(np.float32), names


def parts_of_blocks(blocks):
    names = sorted(set(blocks.tolist()))
    part = {
        name: "train" if i % 5 < 2 else "validation" if i % 5 == 2 else "test"
        for i, name in enumerate(names)
    }
    return np.array([part[b] for b in blocks.tolist()])


def write_vectors(group, name, values, dimensions):
    array = create_array(group, name, values.shape, values.dtype, dimensions=dimensions)
    array[...] = np.ascontiguousarray(values)


def write_predictions(path: Path, targets, scores, part, ids, n=8, **attributes):
    with new_store(
        path,
        {"classes": classes(n), "dataset": "demo", "model": "demo-classifier", "kind": "classifier"}
        | attributes,
    ) as group:
        write_strings(group, "ids", ids, "tile")
        write_strings(group, "part", part, "tile")
        write_vectors(group, "scores", np.asarray(scores, np.float32), ("tile", "label"))
        write_vectors(group, "targets", np.asarray(targets, np.uint8), ("tile", "label"))


def write_tiles(
    path: Path, ids, statistics, columns, rows, crs="EPSG:3035", side=640.0, step=640.0
):
    """A tile store whose images are noise around the given statistics (tile, band)."""
    left = 4_000_000 + columns * step
    top = 3_000_000 - rows * step
    bounds = np.stack([left, top - side, left + side, top], axis=1).astype(np.float64)
    rng = np.random.default_rng(0)
    images = np.clip(
        statistics[:, None, None, :] + rng.normal(0, 20, (len(ids), 8, 8, statistics.shape[1])),
        1,
        4000,
    ).astype(np.uint16)
    attributes = {
        "scene": path.stem,
        "crs": crs,
        "bands": ["blue", "green", "red", "nir"][: statistics.shape[1]],
        "resolution": [80.0, 80.0],
        "nodata": 0,
        "acquired": "2018-07-01",
        "provider": "test",
    }
    with new_store(path, attributes) as group:
        write_strings(group, "ids", ids, "tile")
        write_vectors(group, "images", images, ("tile", "y", "x", "band"))
        write_vectors(group, "column", columns.astype(np.int32), ("tile",))
        write_vectors(group, "row", rows.astype(np.int32), ("tile",))
        write_vectors(group, "bounds", bounds, ("tile", "edge"))
        write_vectors(group, "mean", images.mean((1, 2), dtype=np.float32), ("tile", "band"))
        write_vectors(group, "std", images.std((1, 2), dtype=np.float32), ("tile", "band"))


def write_split(path: Path, ids, part, blocks):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"id": ids, "part": part, "block": blocks}).to_parquet(path, index=False)


def tile_table(path: Path, ids, columns, rows, group="", scene="north"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(
        {
            "id": ids,
            "scene": scene,
            "group": group,
            "proj_code": "EPSG:3035",
            "left": columns * 640.0,
            "right": columns * 640.0 + 640,
            "bottom": -rows * 640.0 - 640,
            "top": -rows * 640.0,
        }
    ).to_parquet(path, index=False)


def build_results(root: Path):
    """A results folder with one experiment, two seeds, a Siamese network and another dataset."""
    from geolatents.files import read_json, write_json
    from geolatents.olr.elsewhere import label_relations
    from geolatents.olr.evaluate import evaluate_model
    from geolatents.olr.experiment import run_experiment
    from geolatents.olr.maps import tile_raster, write_map
    from geolatents.olr.samples import read_predictions
    from geolatents.provenance import recorded
    from geolatents.report.entries import ExperimentEntry
    from geolatents.settings.experiments import Agreement, Experiment

    data = root / "demo"
    targets, scores, blocks = world()
    part = parts_of_blocks(blocks)
    place = np.arange(len(targets))
    ids = [f"north-{i % 25}-{i // 25}" for i in place]
    write_tiles(
        data / "tiles" / "north.zarr", ids, 500 + 300.0 * targets[:, :4], place % 25, place // 25
    )
    write_split(data / "splits" / "blocks.parquet", ids, part, blocks)
    counts = {name: int((part == name).sum()) for name in ("train", "validation", "test", "buffer")}
    write_json(data / "splits" / "blocks.json", {"counts": counts})
    tile_table(data / "tiles.parquet", ids, place % 25, place // 25)
    write_json(
        data / "tiles.json",
        {
            "n_tiles": 600,
            "bands": ["blue", "green", "red", "nir"],
            "size": [8, 8],
            "scenes": {"north": "x"},
        },
    )
    stores = {"classifier": [], "siamese": []}
    for seed in (0, 1):
        for power, kind in enumerate(stores, start=1):
            folder = data / "models" / f"demo-{kind}" / f"seed-{seed}"
            noise = 0.05 * np.random.default_rng(seed).random(scores.shape)
            store = folder / "predictions.zarr"
            attributes = {"kind": kind, "model": f"demo-{kind}"}
            if kind == "siamese":
                attributes["pairs"] = {"mse": 0.01, "r2": 0.7}
            values = np.clip(scores**power + noise, 0, 1)
            write_predictions(store, targets, values, part, ids, **attributes)
            history = pd.DataFrame(
                {"epoch": [1, 2], "loss": [0.5, 0.4], "validation_macro_ap": [0.3, 0.6]}
            )
            history.to_csv(folder / "history.csv", index=False)
            evaluate_model(
                predictions=store, stores=[], history=folder / "history.csv",
                output=folder / "metrics.json", card=folder / "model_card.md",
                ledger=data / "test-ledger.jsonl", seed=seed,
            )  # fmt: skip
            stores[kind].append(store)
    entry = ExperimentEntry(
        name="demo", dataset="demo", labels="standard", split="blocks",
        classifier="demo-classifier", siamese="demo-siamese", seeds=[0, 1], apply_to=["other", "bare"],
        map_scene="north", decoder=True,
    )  # fmt: skip
    folder = entry.folder(root)
    settings = Experiment(
        classifier="demo-classifier",
        siamese="demo-siamese",
        agreement=Agreement(permutations=99, folds=20),
    )
    with recorded([folder / "agreement.json"]):
        run_experiment(
            settings, seeds=[0, 1], **stores, split=data / "splits" / "blocks.parquet",
            tiles=data / "tiles.parquet", output=folder / "agreement.json",
            per_label=folder / "per-label.csv", name="demo",
            ledger=data / "test-ledger.jsonl",
        )  # fmt: skip
    raster = tile_raster(data / "tiles" / "north.zarr")
    write_map(scores, raster, classes(), folder / "map.tif", folder / "map-probabilities.tif")
    elsewhere = read_json(folder / "agreement.json")
    scorers = ("classifier", "siamese")
    for found in (one for scorer in scorers for one in elsewhere[scorer].values()):
        found["quality"]["prevalence_macro_ap"] = 0.25
    content = {scorer: elsewhere[scorer] for scorer in scorers}
    write_json(folder / "on-other" / "agreement.json", content)
    trained = read_predictions(stores["classifier"][0])
    relations = label_relations(trained.scores, trained, settings.agreement)
    unlabelled = {"status": "no labels", "reason": "the tiles of bare have no labels"}
    content = {**unlabelled, **{scorer: {"0": relations, "1": relations} for scorer in scorers}}
    write_json(folder / "on-bare" / "agreement.json", content)
    write_decoders(entry, root)
    return entry


def write_decoders(entry, root: Path):
    """Scores of a decoder of each seed."""
    from geolatents.files import write_json

    for seed in entry.seeds:
        shares = {"mean": 0.0, "embeddings": 0.21 + 0.01 * seed, "scores": 0.15, "pca": 0.8,
                  "pca_effective": 0.6, "label_set_mean": 0.12}  # fmt: skip
        content = {
            "explained": shares,
            "code": {"numbers": 128, "effective": 11.5, "scores": 8},
            "gain": {"value": 0.06, "interval": [0.05, 0.07], "resampled": "blocks"},
        }
        folder = entry.model_folder(root, entry.siamese, seed)
        write_json(folder / "decoder" / "scores.json", content)
