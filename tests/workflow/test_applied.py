"""Models of an image folder are applied to new images, with labels and without, and redraw their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from geolatents.files import read_json
from geolatents.stores import open_store, read_array, read_strings
from tests.workflow.conftest import Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

LABELS = ("bright", "striped", "green")


def draw_images(folder: Path, count: int, side: int, seed: int) -> list[str]:
    """Pictures of known labels; returns the rows of their table."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = ["IMAGE\t" + "\t".join(LABELS)]
    for number in range(count):
        bright, striped, green = labels = draw.integers(0, 2, 3)
        pixels = draw.integers(0, 60, (side, side, 3)) + 120 * bright
        pixels[:: max(2, side // 8)] += 70 * striped
        pixels[..., 1] += 60 * green
        name = f"{folder.name}{number:02d}"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{name}.png")
        rows.append(name + "".join(f"\t{value}" for value in labels))
    return rows


def configuration() -> dict[str, object]:
    return {
        "results": "results",
        "data": "data",
        "datasets": {
            "own": {
                "imagery": {
                    "provider": "images", "images": "own", "table": "own.txt", "size": 16,
                },
                "splits": {"chance": {"kind": "random"}},
                "batches": {"randomized": {"split": "chance", "batch_size": 16, "epochs": 1}},
            }
        },
        "models": {
            "own-classifier": {
                "kind": "classifier", "dataset": "own", "epochs": 1, "precision": "float32",
                "network": {"name": "residual", "widths": [8], "blocks": 1, "stem_stride": 1},
            },
            "own-siamese": {
                "kind": "siamese", "teacher": "own-classifier", "epochs": 1, "k": 3,
                "weak_teacher": "use", "precision": "float32",
            },
        },
        "decoders": {"own-siamese": {"epochs": 1, "widths": [4, 4], "precision": "float32"}},
        "experiments": {
            "own": {
                "classifier": "own-classifier",
                "siamese": "own-siamese",
                "agreement": {"permutations": 99, "folds": 5, "min_positives": 2},
                "apply_to": [
                    {"images": "later.zip", "table": "later.txt"},
                    {"images": "bare"},
                ],
            }
        },
    }  # fmt: skip


def test_new_images_with_and_without_labels_and_a_decoder(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    for name, count, side in (("own", 60, 16), ("later", 40, 20), ("bare", 9, 33)):
        rows = draw_images(space.data / name, count, side, seed=count)
        (space.data / f"{name}.txt").write_text("\n".join(rows) + "\n")
    shutil.make_archive(str(space.data / "later"), "zip", space.data / "later")
    (space.folder / "config.yaml").write_text(yaml.safe_dump(configuration()))

    run = space.run()

    assert run.code == 0, run.output
    folder = space.results / "own/experiments/own"
    own = read_json(folder / "agreement.json")
    later = read_json(folder / "on-later/agreement.json")
    assert set(later) == {"classifier", "siamese"}
    for scorer in later:
        assert set(own[scorer]["0"]) - {"target"} <= set(later[scorer]["0"])
        assert later[scorer]["0"]["n_tiles"] == 40
    bare = read_json(folder / "on-bare/agreement.json")
    assert bare["status"] == "no labels"
    assert set(bare["siamese"]) == {"0"}
    for name, count in (("later", 40), ("bare", 9)):
        vectors = open_store(folder / f"on-{name}/embeddings.zarr")
        assert read_array(vectors, "embeddings").shape == (count, 3, 3)
        scores = open_store(folder / f"on-{name}/siamese-predictions.zarr")
        assert read_strings(scores, "ids").tolist() == [f"{name}{i:02d}" for i in range(count)]
        assert ("targets" in scores) == (name == "later")
        assert (folder / f"on-{name}/agreement.png").is_file()
    redrawn = read_json(space.results / "own/models/own-siamese/seed-0/decoder/scores.json")
    assert set(redrawn["per_label"]) == set(LABELS)
    page = (space.results / "report/index.html").read_text()
    assert "Applied to bare" in page
    assert "These tiles have no labels" in page
    assert "Siamese on later" in page
    assert "Tiles redrawn from their label embeddings" in page
    assert "siamese_on_later_mantel_r" in (space.results / "summary.csv").read_text()
    assert space.run("--dry-run").jobs == {}
