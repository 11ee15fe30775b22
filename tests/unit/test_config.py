"""Configuration: typos are errors that name the nearest key; canonical text leaves defaults out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from geolatents.errors import ConfigError
from geolatents.settings.base import NO_SECTION
from geolatents.settings.config import load_config, validate_config
from geolatents.settings.images import ImageFolder
from geolatents.settings.landcover import parse_landcover
from geolatents.settings.tiles import TileSettings

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]


def minimal() -> dict:
    return {
        "datasets": {
            "demo": {
                "imagery": {"provider": "synthetic", "region": "A"},
                "landcover": {"source": "synthetic"},
                "splits": {"blocks": {"kind": "spatial", "block": 900}},
                "batches": {"randomized": {"split": "blocks"}},
            }
        },
        "models": {"demo-classifier": {"kind": "classifier", "dataset": "demo"}},
        "experiments": {"first": {"classifier": "demo-classifier"}},
    }


@pytest.mark.parametrize("file", CONFIGS, ids=lambda p: p.name)
def test_shipped_configurations_are_valid(file: Path) -> None:
    config = load_config(file)
    assert config.datasets or config.photos


@pytest.mark.parametrize(
    ("place", "wrong", "meant"),
    [
        (("datasets", "demo", "imagery"), "regoin", "region"),
        (("datasets", "demo", "splits", "blocks"), "bufer", "buffer"),
        (("models", "demo-classifier"), "learning_rat", "learning_rate"),
        ((), "experiment", "experiments"),
    ],
)
def test_a_typo_names_the_nearest_key(place: tuple[str, ...], wrong: str, meant: str) -> None:
    values = minimal()
    section = values
    for key in place:
        section = section[key]
    section[wrong] = 1
    with pytest.raises(ConfigError, match=f"{wrong}: unknown key; did you mean '{meant}'"):
        validate_config(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"models": {"demo-net": {"kind": "classifier", "dataset": "demo"}}},
            "must end in '-classifier'",
        ),
        (
            {"models": {"demo-classifier": {"kind": "classifier", "dataset": "dmeo"}}},
            "did you mean 'demo'",
        ),
        (
            {"experiments": {"first": {"classifier": "demo-clasifier"}}},
            "did you mean 'demo-classifier'",
        ),
        ({"experiments": {"train": {"classifier": "demo-classifier"}}}, "reserved word"),
        ({"experiments": {"a/b": {"classifier": "demo-classifier"}}}, "pattern"),
        ({"version": 2}, "version"),
    ],
)
def test_wrong_references_and_names(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_config(minimal() | change)


FILES = {"provider": "files", "files": ["a.tif"]}


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("datasets/demo/imagery", FILES | {"bands": "blue"},
         "datasets.demo.imagery.bands: Input should be a valid list (found 'blue')"),
        ("datasets/demo/imagery", FILES | {"mask": {"kind": "values", "band": "cloud"}},
         "datasets.demo.imagery.mask: `usable` is needed for `kind: values`"),
        ("datasets/demo/imagery", FILES | {"files": [1]},
         "datasets.demo.imagery.files.0: Input should be a valid string (found 1)"),
        ("datasets/demo/tiles", {"size": "big"},
         "datasets.demo.tiles.size: Input should be a valid integer; or Input should be a valid number;"
         " or Input should be a valid tuple (found 'big')"),
        ("datasets/demo/tiles", {"size": [48, 20.5]},
         "datasets.demo.tiles: `size` must be whole pixels, not (48.0, 20.5); for metres set `unit: metres`"),
        ("datasets/demo/labels", {"standard": {"kind": "standard", "min_cover": 2}},
         "datasets.demo.labels.standard.min_cover: Input should be less than or equal to 1 (found 2)"),
        ("datasets/tiles", {"imagery": FILES, "labels": {}},
         "datasets.tiles: 'tiles' is a reserved word; choose another name (found 'tiles')"),
        ("dataset", {}, "dataset: unknown key; did you mean 'datasets'?"),
        ("datasets/demo/tiles", {"xyz": 1},
         "datasets.demo.tiles.xyz: unknown key; it may be one of edges, min_valid, resolution, size, stride, unit"),
        ("datasets/demo/imagery", FILES,
         "datasets.demo: `source: synthetic` is the land cover of `provider: synthetic`, and of no other imagery"),
        ("models/demo-classifier/seeds", [-1],
         "models.demo-classifier.seeds.0: Input should be greater than or equal to 0 (found -1)"),
        ("models/demo-classifier/seeds", [0, 0],
         "models.demo-classifier: `seeds` names a seed twice: [0, 0]"),
        ("models/demo-classifier/network", {"widths": [0]},
         "models.demo-classifier.network.widths.0: Input should be greater than or equal to 1 (found 0)"),
        ("experiments/first/threshold", 1.5,
         "experiments.first.threshold: Input should be less than or equal to 1; or Input should be 'tuned' (found 1.5)"),
        ("experiments/first/apply_to", ["demo"],
         "experiments.first.apply_to: 'demo' holds the training tiles of 'demo-classifier'; name other datasets"),
    ],
)  # fmt: skip
def test_a_message_names_the_keys_that_the_user_wrote(path: str, value: object, line: str) -> None:
    values = minimal()
    *parents, last = path.split("/")
    section: dict = values
    for key in parents:
        section = section[key]
    section[last] = value
    with pytest.raises(ConfigError) as error:
        validate_config(values)
    assert any(text.startswith(f"  - {line}") for text in str(error.value).splitlines()), (
        error.value
    )


def test_spatial_split_without_positions_is_an_error() -> None:
    values = minimal()
    values["datasets"]["demo"]["imagery"] = {
        "provider": "images",
        "images": "x.zip",
        "table": "x.txt",
    }
    del values["datasets"]["demo"]["landcover"]
    with pytest.raises(ConfigError, match="cannot be split by `spatial` blocks"):
        validate_config(values)


def without_landcover(**changes: object) -> dict:
    values = minimal()
    del values["datasets"]["demo"]["landcover"]
    values["datasets"]["demo"] |= changes
    return values


def test_labels_of_scenes_need_a_land_cover() -> None:
    with pytest.raises(ConfigError, match="labels of scenes need a `landcover`"):
        validate_config(without_landcover())


def test_scenes_without_land_cover_are_only_cut() -> None:
    values = without_landcover(labels={}) | {"models": {}, "experiments": {}}
    dataset = validate_config(values).datasets["demo"]
    assert not dataset.has_cover
    assert dataset.batches


def test_models_are_applied_to_scenes_without_land_cover_too() -> None:
    values = minimal()
    values["datasets"] |= {"bare": without_landcover(labels={})["datasets"]["demo"]}
    values["experiments"]["first"]["apply_to"] = ["bare"]
    config = validate_config(values)
    assert config.experiments["first"].others == ["bare"]
    assert not config.datasets["bare"].has_cover


def of_images(*apply_to: object, **imagery: object) -> dict[str, Any]:
    """A configuration whose models were trained on images."""
    values = minimal()
    own = {"provider": "images", "images": "ucm.zip", "table": "ucm.txt", "size": 32}
    values["datasets"]["demo"] = {
        "imagery": own | imagery,
        "splits": {"chance": {"kind": "random"}},
        "batches": {"randomized": {"split": "chance"}},
    }
    values["experiments"]["first"]["apply_to"] = list(apply_to)
    return values


def test_new_images_become_a_dataset_read_like_the_models_own() -> None:
    folders = [{"images": "new/My tiles (2).zip", "table": "new/labels.txt"}, {"images": "bare.v2"}]
    config = validate_config(of_images(*folders, groups="folder", bands=["red"]))
    assert config.experiments["first"].others == ["My-tiles-2", "bare.v2"]
    labelled, bare = (config.datasets[name] for name in config.experiments["first"].others)
    for dataset in (labelled, bare):
        assert (dataset.imagery.size, dataset.imagery.bands) == (32, ["red"])  # type: ignore[union-attr]
        assert dataset.imagery.licence == "unknown"
        assert dataset.labels == {}
    assert labelled.has_cover
    assert labelled.imagery.groups == "folder"  # type: ignore[union-attr]
    assert not bare.has_cover
    again = validate_config(config.model_dump(mode="json"))
    assert again == config, "a configuration that was written down is read again"


def test_new_images_of_other_layouts() -> None:
    folders = validate_config(
        of_images(
            {"images": "new"},
            {"images": "flat", "layout": "plain"},
            archive="eurosat_rgb",
            table=None,
        )
    ).datasets
    assert (folders["new"].imagery.layout, folders["new"].has_cover) == ("folders", True)  # type: ignore[union-attr]
    assert not folders["flat"].has_cover


def test_experiments_share_a_folder() -> None:
    values = of_images({"images": "new"})
    values["experiments"]["second"] = values["experiments"]["first"]
    assert list(validate_config(values).datasets) == ["demo", "new"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ({"images": "x/demo"}, "apply_to.0: there is a dataset 'demo' already; state another `name`"),
        ({"images": "x/tiles"}, "gives no name for a dataset \\('tiles'\\); state `name`"),
        ({"images": "x/ü.zip"}, "gives no name for a dataset"),
        ({"images": "x", "tables": "y"}, "apply_to.0.tables: unknown key; did you mean 'table'"),
        ({"images": "new", "groups": "part"}, "has no official parts"),
    ],
)  # fmt: skip
def test_new_images_that_cannot_be_a_dataset(folder: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_config(of_images(folder))


def test_two_folders_of_one_name_and_a_stated_name() -> None:
    one, other = {"images": "a/new", "table": "a.txt"}, {"images": "b/new", "table": "b.txt"}
    with pytest.raises(ConfigError, match=r"apply_to\.1: there is a dataset 'new' already"):
        validate_config(of_images(one, other))
    config = validate_config(of_images(one, other | {"name": "newer"}))
    assert config.experiments["first"].others == ["new", "newer"]


def test_new_images_are_not_for_models_of_scenes() -> None:
    values = minimal()
    values["experiments"]["first"]["apply_to"] = [{"images": "new"}]
    with pytest.raises(ConfigError, match="was trained on scenes"):
        validate_config(values)
    values["models"]["demo-classifier"]["dataset"] = "dem"
    with pytest.raises(
        ConfigError, match="dataset of the classifier 'demo-classifier' is not known"
    ):
        validate_config(values)


def test_a_forgotten_table_is_said() -> None:
    values = of_images(table=None)
    with pytest.raises(ConfigError, match=r"need a label table, `imagery\.table`; .*`labels: {}`"):
        validate_config(values)


def test_a_section_that_is_left_out_parses_back() -> None:
    landcover = validate_config(minimal()).datasets["demo"].landcover
    assert landcover is not None
    assert parse_landcover(landcover.canonical()) == landcover
    assert parse_landcover(NO_SECTION) is None


def test_canonical_text_is_sorted_without_defaults_and_parses_back() -> None:
    settings = TileSettings(size=(327, 132), min_valid=0.95)
    assert settings.canonical() == '{"schema":1,"size":[327.0,132.0]}'
    assert TileSettings.parse(settings.canonical()) == settings


def test_files_override_key_by_key(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(yaml.safe_dump(minimal()))
    second.write_text("datasets: {demo: {tiles: {size: 99}}}")
    dataset = load_config(first, second).datasets["demo"]
    assert dataset.tiles.size == 99
    assert dataset.imagery.provider == "synthetic"


def test_no_yaml_is_an_error_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("datasets: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_config(file)


@pytest.mark.parametrize(
    ("section", "address"),
    [
        ("service", {"url": "https://me:hidden-word@example.org"}),
        ("service", {"url": "https://example.org/stac?apikey=hidden-word"}),
        ("service", {"token_url": "https://example.org/?sig=hidden-word"}),
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_shown(
    section: str, address: dict[str, str]
) -> None:
    search = {"area": [33, 34, 34, 35], "dates": ["2023-06-01", "2023-06-02"]}
    imagery = {"provider": "sentinel2", "search": search, section: address}
    with pytest.raises(ConfigError, match="netrc") as error:
        validate_config({"datasets": {"cyprus": {"imagery": imagery, "labels": {}}}})
    assert "hidden-word" not in str(error.value)


def test_params_hold_all_values_and_lists_hold_what_was_stated() -> None:
    settings = TileSettings(size=32)
    assert '"min_valid":0.95' in settings.complete()
    assert "min_valid" not in settings.complete(leave_out=["min_valid"])
    assert "min_valid" not in settings.canonical()
    assert TileSettings.parse(settings.complete()) == settings


def test_an_archive_says_its_layout_once() -> None:
    imagery = ImageFolder(provider="images", archive="eurosat_rgb")
    assert ImageFolder.parse(imagery.complete(["service"])) == imagery
