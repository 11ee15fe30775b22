"""The plan of a configuration: what it refuses before anything runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from geolatents.errors import ConfigError, TrainingError
from geolatents.paths import DATA_VARIABLE
from geolatents.plan import Plan
from geolatents.settings.config import load_config, validate_config
from tests.makers import make_config, make_landcover, make_scene


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, "data")  # set by the plan; put back afterwards
    make_scene(tmp_path / "data" / "scene-0.tif")
    make_landcover(tmp_path / "data" / "landcover.gpkg")
    return tmp_path


def test_a_scene_to_map_is_one_of_the_dataset(folder: Path) -> None:
    known = make_config(folder, experiments={"small": {"map_scene": "scene-0"}})
    assert "results/small/experiments/small/map.tif" in Plan(load_config(known)).targets("olr")
    unknown = make_config(folder, experiments={"small": {"map_scene": "scene-9"}})
    with pytest.raises(ConfigError, match=r"no scene 'scene-9'[\s\S]*one of scene-0"):
        Plan(load_config(unknown))


def test_packed_images_are_not_mapped(folder: Path) -> None:
    (folder / "data" / "pictures").mkdir()
    (folder / "data" / "table.txt").touch()
    imagery = {"provider": "images", "images": "pictures", "table": "table.txt"}
    for key in ("files", "bands"):
        imagery[key] = None  # type: ignore[assignment]
    config = make_config(
        folder,
        datasets={"small": {"imagery": imagery, "landcover": None}},
        experiments={"small": {"map_scene": "images"}},
    )
    with pytest.raises(ConfigError, match="without position cannot be mapped"):
        Plan(load_config(config))


@pytest.mark.parametrize(
    ("archive", "images", "files"),
    [
        ("ucmerced_multilabel", "copy/UCMerced_LandUse.zip", ["copy/LandUse_Multilabeled.txt"]),
        (
            "celeba",
            "copy/img_align_celeba.zip",
            ["copy/list_attr_celeba.txt", "copy/list_eval_partition.txt"],
        ),
    ],
)
def test_tables_that_a_copy_of_an_archive_brings_along_are_its_sources(
    archive: str, images: str, files: list[str], folder: Path
) -> None:
    """A changed label table must be seen, also where no key of the configuration names it."""
    (folder / "data/copy").mkdir()
    for name in [images, *files]:
        (folder / "data" / name).touch()
    config = validate_config(
        {
            "datasets": {
                "own": {"imagery": {"provider": "images", "archive": archive, "images": images}}
            }
        }
    )
    assert Plan(config).image_sources("own") == [Path("data") / name for name in [images, *files]]


def test_a_proof_reads_every_split_and_seed_of_its_experiments(folder: Path) -> None:
    siamese = {"kind": "siamese", "teacher": "small-classifier"}
    config = make_config(
        folder,
        models={"small-classifier": {"seeds": [0, 3]}, "small-siamese": siamese},
        experiments={"small": {"siamese": "small-siamese"}},
        proofs={
            "first": {
                "title": "t",
                "experiments": ["small"],
                "primary": {"measure": "shifted_land"},
            }
        },
    )
    plan = Plan(load_config(config))
    assert plan.targets("proof") == ["results/proof/first.json"]
    files = plan.proof_files("first")
    for seed in (0, 3):
        folder_of_seed = f"results/small/models/small-siamese/seed-{seed}"
        assert f"{folder_of_seed}/embedding.json" in files
        assert f"{folder_of_seed}/embedding.png" in plan.targets("olr")
        assert f"results/small/models/small-classifier/seed-{seed}/metrics.json" in files
    assert {
        "results/small/experiments/small/agreement.json",
        "results/small/splits/chance.json",
    } <= set(files)


def test_pretrained_weights_are_a_source_by_their_content(folder: Path) -> None:
    network = {"name": "backbone", "backbone": "vgg16", "weights": "vgg16.weights.h5"}
    config = make_config(folder, models={"small-classifier": {"network": network}})
    with pytest.raises(TrainingError, match=r"missing[\s\S]*small-classifier[\s\S]*data/vgg16"):
        Plan(load_config(config))
    file = folder / "data" / "vgg16.weights.h5"
    file.write_bytes(b"some weights")
    plan = Plan(load_config(config))
    assert plan.pretrained() == ["small-classifier"]
    sources = plan.weights_sources("small-classifier")
    assert [path.resolve() for path in sources] == [file]
    before = plan.source_hash(sources)
    os.utime(file, (1, 1))
    assert plan.source_hash(sources) == before
    file.write_bytes(b"more weights")
    assert plan.source_hash(sources) != before


def test_weights_that_keras_downloads_are_no_source(folder: Path) -> None:
    network = {"name": "backbone", "backbone": "vgg16", "weights": "imagenet"}
    plan = Plan(load_config(make_config(folder, models={"small-classifier": {"network": network}})))
    assert plan.pretrained() == ["small-classifier"]
    assert plan.weights_sources("small-classifier") == []
    without = Plan(load_config(make_config(folder)))
    assert (without.pretrained(), without.weights_sources("small-classifier")) == ([], [])
