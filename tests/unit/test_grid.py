import logging

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geolatents.errors import SceneError
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.grid import TileGrid, tile_id


def scene(width=100, height=80, left=500_000.0, top=4_000_000.0, pixel=3.0, crs="EPSG:32636"):
    return GeoBox((height, width), Affine(pixel, 0, left, 0, -pixel, top), crs)


SIDE = st.integers(1, 40)
SCENES = st.builds(
    scene,
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    left=st.integers(-4000, 4000).map(lambda n: n * 0.75),
    top=st.integers(-4000, 4000).map(lambda n: n * 0.75),
    pixel=st.sampled_from([0.2, 1.0, 3.0, 10.0]),
)
SETTINGS = st.builds(
    lambda w, h, sx, sy, edges: TileSettings(size=(w, h), stride=(sx, sy), edges=edges),
    SIDE, SIDE, SIDE, SIDE, st.sampled_from(["drop", "pad"]),
)  # fmt: skip


def brute_force(grid):
    """Every window whose lines are multiples of the stride, found by trying all."""
    _, width = grid.geobox.shape
    found = set()
    for column in range(-6000, 6000):
        x = grid.x(column)
        if (
            (x >= 0 and x + grid.size[0] <= width)
            if grid.edges == "drop"
            else (x + grid.size[0] > 0 and x < width)
        ):
            found.add(column)
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(SCENES, SETTINGS)
def test_windows_lie_inside_or_touch_the_scene(geobox, tiles):
    grid = TileGrid.over(geobox, tiles)
    height, width = geobox.shape
    windows = list(grid.windows())
    assert len(windows) == len(grid)
    for window in windows:
        if tiles.edges == "drop":
            assert window.x >= 0
            assert window.y >= 0
            assert window.x + grid.size[0] <= width
            assert window.y + grid.size[1] <= height
        else:
            assert -grid.size[0] < window.x < width
            assert -grid.size[1] < window.y < height
    ids = [tile_id("scene", w.column, w.row) for w in windows]
    assert len(set(ids)) == len(ids)
    order = [(w.row, w.column) for w in windows]
    assert order == sorted(order)


@settings(max_examples=60, deadline=None)
@given(SCENES, SIDE, SIDE, SIDE, SIDE)
def test_padded_tiles_cover_the_scene(geobox, width, height, dx, dy):
    tiles = TileSettings(
        size=(width, height), stride=(min(dx, width), min(dy, height)), edges="pad"
    )
    covered = np.zeros(geobox.shape, dtype=bool)
    grid = TileGrid.over(geobox, tiles)
    for window in grid.windows():
        covered[
            max(0, window.y) : window.y + height,
            max(0, window.x) : window.x + width,
        ] = True
    assert covered.all()


@pytest.mark.parametrize("edges", ["drop", "pad"])
@pytest.mark.parametrize(("size", "stride"), [(7, 7), (7, 3), (7, 11)])
def test_no_window_is_missing(edges, size, stride):
    grid = TileGrid.over(
        scene(53, 31, left=-60.0), TileSettings(size=size, stride=stride, edges=edges)
    )
    assert list(grid.columns) == brute_force(grid)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([0.2, 0.3, 1.0, 3.0, 10.0]),
    st.integers(-3_000_000, 3_000_000),
    st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    st.integers(-500, 500),
    SIDE,
)
def test_scenes_shifted_by_whole_pixels_share_lines(pixel, start, fraction, shift, stride):
    tiles = TileSettings(size=16, stride=stride)
    left = (start + fraction) * pixel
    first = TileGrid.over(scene(left=left, pixel=pixel), tiles)
    second = TileGrid.over(scene(left=left + shift * pixel, pixel=pixel), tiles)
    for column in range(-3, 4):
        assert first.x(column) == second.x(column) + shift


def test_lines_lie_at_multiples_of_the_stride():
    tiles = TileSettings(size=10, stride=10)
    grid = TileGrid.over(scene(left=500_013.0, top=4_000_001.0), tiles)
    bounds = grid.bounds([w.column for w in grid.windows()], [w.row for w in grid.windows()])
    np.testing.assert_allclose(bounds[:, 0] % 30, 0)
    # the top of the scene is a third of a pixel off the grid: lines move by less than a pixel
    assert np.all(np.abs((bounds[:, 3] + 15) % 30 - 15) <= 1.5)
    first = next(grid.windows())
    assert (first.column, first.x) == (16668, 9)
    assert bounds[0, 2] - bounds[0, 0] == 30
    assert bounds[0, 3] - bounds[0, 1] == 30


def test_rows_count_southwards_and_negatives_have_a_letter():
    grid = TileGrid.over(scene(left=-90.0, top=60.0), TileSettings(size=10))
    windows = list(grid.windows())
    assert (windows[0].column, windows[0].row) == (-3, -2)
    assert tile_id("s", -3, -2) == "s-m3-m2"
    assert tile_id("s", 3, 0) == "s-3-0"
    assert windows[-1].row > windows[0].row


def test_metres_become_whole_pixels_and_the_log_says_so(caplog):
    logger = logging.getLogger("geolatents")
    logger.propagate = True
    tiles = TileSettings(size=(980, 396), stride=500, unit="metres")
    with caplog.at_level(logging.INFO, logger="geolatents"):
        grid = TileGrid.over(scene(2000, 2000), tiles)
    assert grid.size == (327, 132)
    assert grid.stride == (167, 167)
    assert "rounded to 327 x 132 pixels" in caplog.text


def test_metres_in_a_crs_of_feet():
    tiles = TileSettings(size=304.8, unit="metres")
    assert TileGrid.over(scene(crs="EPSG:2225", pixel=10.0), tiles).size == (100, 100)


def test_metres_need_a_projected_crs():
    with pytest.raises(SceneError, match="projected CRS"):
        TileGrid.over(scene(crs="EPSG:4326", pixel=1e-4), TileSettings(size=100, unit="metres"))
    assert TileGrid.over(scene(crs="EPSG:4326", left=30, top=35, pixel=1e-4), TileSettings(size=10))


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (Affine(3, 0.1, 0, -0.1, -3, 0), "rotated"),
        (Affine(3, 0, 0, 0, 3, 0), "north up"),
        (Affine(-3, 0, 0, 0, -3, 0), "north up"),
    ],
)
def test_other_orientations_are_refused(transform, words):
    with pytest.raises(SceneError, match=words) as error:
        TileGrid.over(GeoBox((10, 10), transform, "EPSG:32636"), TileSettings(size=4), "scene.json")
    assert "scene.json" in str(error.value)


def test_rectangular_pixels():
    geobox = GeoBox((100, 100), Affine(2, 0, 0, 0, -4, 0), "EPSG:32636")
    grid = TileGrid.over(geobox, TileSettings(size=40, unit="metres"))
    assert grid.size == (20, 10)
    assert grid.shape == (10, 5)


def test_a_scene_smaller_than_a_tile():
    small = scene(10, 10, left=0, top=0)
    assert len(TileGrid.over(small, TileSettings(size=64))) == 0
    assert len(TileGrid.over(small, TileSettings(size=64, edges="pad"))) == 1
