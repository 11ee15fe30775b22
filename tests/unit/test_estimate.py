"""The estimate of a run: work from settings and headers, costs from the table or this folder, time with cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geolatents.engine import Graph, PlannedJob
from geolatents.estimate.estimate import (
    HERE,
    TABLE,
    UNKNOWN,
    estimate,
    format_estimate,
    format_line,
)
from geolatents.estimate.networks import multiplications
from geolatents.estimate.rates import Line, Rate, shipped_rates
from geolatents.estimate.schedule import longest_chain, seconds_with
from geolatents.estimate.sizes import Size, announced_size, raster_size, tiles_in
from geolatents.estimate.work import Work
from geolatents.plan import Plan
from geolatents.settings.config import load_config
from geolatents.settings.models import Classifier, Network
from geolatents.settings.sentinel2 import Sentinel2Product
from geolatents.settings.tiles import TileSettings
from tests.makers import make_config, make_landcover, make_scene


def planned(
    rule: str, *after: int, needed: bool = True, threads: int = 1, **rest: Any
) -> PlannedJob:
    defaults = {
        "wildcards": {},
        "resources": {},
        "outputs": (),
        "benchmark": None,
        "scripted": True,
    }
    return PlannedJob(rule, needed=needed, threads=threads, after=after, **{**defaults, **rest})


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Two scenes of 256 x 256 pixels with four bands, tiles of 16 pixels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOLATENTS_DATA", "data")
    for column in range(2):
        make_scene(tmp_path / f"data/scene-{column}.tif", column=column)
    make_landcover(tmp_path / "data/landcover.gpkg")
    return Plan(load_config(make_config(tmp_path)))


# ---- work


def test_work_of_scenes_comes_from_their_headers(plan: Plan) -> None:
    work = Work(plan)
    scene = {"dataset": "small", "scene": "scene-0"}
    assert work.of("scene", scene) == pytest.approx(256 * 256 * 4 / 1e6)
    assert work.of("dataset", scene) == pytest.approx(2 * 256 * 256 * 4 / 1e6)
    assert work.of("tiles", scene) == pytest.approx(2 * 16 * 16 / 1000)
    assert work.of("order", {**scene, "order": "randomized"}) == pytest.approx(2 * 2 * 0.256)
    assert work.of("job", {}) == 1


def test_an_index_of_tiles_is_believed(plan: Plan) -> None:
    (plan.root / "small").mkdir(parents=True)
    (plan.root / "small/tiles.json").write_text('{"n_tiles": 40}')
    assert Work(plan).of("tiles", {"dataset": "small"}) == pytest.approx(0.04)


def test_what_is_not_known_is_none(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "data/scene-1.tif").write_bytes(b"no raster")
    work = Work(plan)
    assert work.of("scene", {"dataset": "small", "scene": "scene-1"}) is None
    assert work.of("dataset", {"dataset": "small"}) is None
    assert work.of("training", {"dataset": "small", "model": "small-classifier"}) is None


def test_training_grows_with_tiles_epochs_and_network(plan: Plan) -> None:
    wildcards = {"dataset": "small", "model": "small-classifier"}
    model = plan.config.models["small-classifier"]
    each = multiplications(model, 16 * 16, 4)
    assert Work(plan).of("training", wildcards) == pytest.approx(512 * 2 * each / 1e12)


def test_multiplications_are_those_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the weights of the built network: each is used once per pixel of its layer's map."""
    from geolatents.estimate import networks
    from geolatents.learning.networks import build_network

    monkeypatch.setattr(networks, "processor_has_bfloat16", lambda: True)

    for network in (Network(widths=[8, 16, 24], blocks=2), Network(name="olr_cnn")):
        built = build_network(network, (64, 64, 4), 3, [0.0] * 4, [1.0] * 4)
        counted = 0
        for layer in built.layers:
            if type(layer).__name__ == "Conv2D":
                _, height, width, _ = layer.compute_output_shape((1, *_map_of(built, layer)))
                counted += height * width * layer.kernel.shape.num_elements()
        settings = Classifier(kind="classifier", dataset="data", network=network)
        assert multiplications(settings, 64 * 64, 4) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "vgg16"])
def test_multiplications_of_a_backbone_are_those_of_what_it_sees(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from geolatents.estimate import networks
    from geolatents.learning.backbones import _built, cut

    monkeypatch.setattr(networks, "processor_has_bfloat16", lambda: True)
    trunk = cut(_built(name))
    counted, side = 0, 64
    for layer in trunk.layers:
        side //= max(getattr(layer, "strides", None) or [1])
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            counted += side**2 * layer.kernel.shape.num_elements()
    settings = Classifier(
        kind="classifier", dataset="data", network=Network(name="backbone", backbone=name, side=64)
    )
    assert multiplications(settings, 16 * 16, 3) == pytest.approx(counted, rel=0.01)


def _map_of(model: Any, layer: Any) -> tuple[int, ...]:
    """Height, width and channels that reach a layer for tiles of 64 pixels."""
    import keras
    import numpy as np

    probe = keras.Model(model.input, layer.input)
    return tuple(probe(np.zeros((1, 64, 64, 4), "float32")).shape[1:])


def test_sizes(tmp_path: Path) -> None:
    file = make_scene(tmp_path / "scene.tif", side=128, bands=3)
    assert raster_size(file) == Size(128, 128, 3, 3.0)
    square = {"type": "Polygon", "coordinates": [[[0, 0], [0, 0.1], [0.1, 0.1], [0.1, 0], [0, 0]]]}
    found = announced_size(square, Sentinel2Product())
    assert found is not None
    assert found.width == pytest.approx(1113.2, abs=1)
    assert found.bands == 4
    assert announced_size(square, None) is None


@pytest.mark.parametrize(
    ("settings", "tiles"),
    [
        (TileSettings(size=64), 16),
        (TileSettings(size=64, stride=32), 49),
        (TileSettings(size=192, unit="metres"), 16),
        (TileSettings(size=64, resolution=6), 4),
        (TileSettings(size=300), 0),
    ],
)
def test_tiles_of_a_scene(settings: TileSettings, tiles: int) -> None:
    assert tiles_in(Size(256, 256, 4, 3.0), settings) == tiles


# ---- time


def test_jobs_share_cores_and_wait_for_each_other() -> None:
    jobs = [planned("a"), planned("a"), planned("b", 0, 1, threads=2), planned("c", 2)]
    seconds = [10.0, 20.0, 5.0, 1.0]
    assert longest_chain(jobs, seconds) == 26
    assert seconds_with(jobs, seconds, 2, {}) == 26
    assert seconds_with(jobs, seconds, 1, {}) == 36


def test_memory_and_finished_jobs_count() -> None:
    jobs = [planned("a", resources={"mem_mb": 3}), planned("a", resources={"mem_mb": 3})]
    assert seconds_with(jobs, [10, 10], 8, {"mem_mb": 6}) == 10
    assert seconds_with(jobs, [10, 10], 8, {"mem_mb": 5}) == 20
    greedy = [planned("a", resources={"mem_mb": 99})]
    assert seconds_with(greedy, [10], 8, {"mem_mb": 5}) == 10, "it takes all there is"
    done = [planned("a", needed=False), planned("b", 0)]
    assert seconds_with(done, [0, 7], 2, {}) == 7


# ---- the whole

RATES = {"cut_tiles": Rate("scene", Line(1.0, 10.0), Line(0.0, 4.0), Line(20.0, 0.0))}
SCENE = 256 * 256 * 4 / 1e6


def cut(scene: str, *, needed: bool = True, benchmark: Path | None = None) -> PlannedJob:
    wildcards = {"dataset": "small", "scene": scene}
    return planned("cut_tiles", needed=needed, wildcards=wildcards, benchmark=benchmark)


def test_the_table_is_scaled_by_the_work(plan: Plan) -> None:
    found = estimate(Graph([cut("scene-0"), cut("scene-1")], plan, 1, {}), RATES)
    assert found.seconds == pytest.approx(2 * (1 + 10 * SCENE))
    assert found.wall == found.seconds
    assert found.megabytes == pytest.approx(2 * 4 * SCENE)
    assert found.files == 40
    assert [row.source for row in found.rules] == [TABLE]
    assert "expect a factor of two" in format_estimate(found)


def test_what_was_measured_here_counts_more_than_the_table(plan: Plan, tmp_path: Path) -> None:
    benchmark = tmp_path / "cut.tsv"
    benchmark.write_text(f"s\n{3 * (1 + 10 * SCENE)}\n")
    graph = Graph([cut("scene-0", needed=False, benchmark=benchmark), cut("scene-1")], plan, 2, {})
    found = estimate(graph, RATES)
    assert found.jobs == 1
    assert found.seconds == pytest.approx(3 * (1 + 10 * SCENE))
    assert [row.source for row in found.rules] == [HERE]


def test_what_is_not_known_is_said(plan: Plan) -> None:
    jobs = [planned("download_scene"), planned("download_scene"), cut("scene-0")]
    found = estimate(Graph([*jobs, planned("all", 2, scripted=False)], plan, 2, {}), RATES)
    assert found.jobs == 3
    assert [(row.rule, row.unknown, row.source) for row in found.unknown] == [
        ("download_scene", 2, UNKNOWN)
    ]
    text = format_estimate(found)
    assert "Not estimated: 2 jobs of download_scene." in text
    assert format_line(found).startswith("Estimate: 3 jobs, about ")
    assert format_line(found).endswith("; 2 jobs not estimated")
    assert format_estimate(estimate(Graph([], plan, 2, {}), RATES)) == "Nothing to be done."


def test_on_a_cluster_the_longest_chain_is_told(plan: Plan) -> None:
    found = estimate(Graph([cut("scene-0"), cut("scene-1")], plan, None, {}), RATES)
    assert found.wall is None
    assert "or more on a cluster" in format_line(found)


def test_the_shipped_table_names_rules_and_known_units(plan: Plan) -> None:
    root = Path(__file__).resolve().parents[2]
    rules = "".join(file.read_text() for file in (root / "rules").glob("*.smk"))
    rates = shipped_rates()
    assert len(rates) >= 25
    for rule, rate in rates.items():
        assert f"rule {rule}:" in rules, rule
        assert rate.unit in Work(plan).units, rule
        assert rate.seconds.at(1) > 0, rule
        assert rate.files.at(1) >= 3, rule
