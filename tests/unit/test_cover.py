"""Cover is exact, masks follow pixel centres, and neither depends on the number of workers."""

import logging

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from geolatents.errors import LandCoverError, StoreError
from geolatents.geometry import reproject, same_crs, segment_length
from geolatents.labels.areas import class_areas
from geolatents.labels.cover import exact_cover, measure_cover
from geolatents.nomenclature import corine
from geolatents.stores import create_array, open_store, read_array, read_strings, write_strings

UTM = "EPSG:32636"
CODES = corine().codes


def coverage(seed, n, size=16.0, wobble=0.0):
    """A gapless country of n curved polygons over a square, codes at random."""
    generator = np.random.default_rng(seed)
    points = shapely.multipoints(generator.uniform(0, size, (n, 2)))
    frame = shapely.box(0, 0, size, size)
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=frame))
    cells = shapely.intersection(cells, frame)
    if wobble:
        cells = shapely.transform(
            shapely.segmentize(cells, size / 40),
            lambda xy: xy + wobble * np.sin(xy[:, ::-1] * (80 / size) + [0, 1]),
        )
    return geopandas.GeoDataFrame({"code": generator.choice(CODES, len(cells))}, geometry=cells)


def intersection_cover(polygons, boxes):
    """The same by topology: union per class, intersection, area."""
    shares = np.zeros((len(boxes), len(CODES)))
    tiles = shapely.box(*np.asarray(boxes, dtype=float).T)
    for code, part in polygons.groupby("code"):
        union = shapely.union_all(part.geometry.values)
        shares[:, CODES.index(code)] = shapely.area(shapely.intersection(tiles, union))
    return shares / shapely.area(tiles)[:, None]


def lattice(side, step, size):
    starts = np.arange(0, side - size + 1e-9, step)
    left, top = (part.ravel() for part in np.meshgrid(starts, side - starts))
    return np.stack([left, top - size, left + size, top], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 40),
    wobble=st.sampled_from([0.0, 0.01]),
    step=st.sampled_from([1.0, 1.5, 2.0]),
)
def test_cover_equals_intersection(seed, n, wobble, step):
    polygons, boxes = coverage(seed, n, wobble=wobble), lattice(16.0, step, 2.0)
    found = exact_cover(polygons, boxes, corine())
    assert np.abs(found - intersection_cover(polygons, boxes)).max() < 1e-9
    inner = (boxes.min(axis=1) > 0.1) & (boxes.max(axis=1) < 15.9)
    assert np.abs(found[inner].sum(axis=1) - 1).max() < 1e-9


@settings(max_examples=60, deadline=None)
@given(
    triangles=st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    ),
    holes=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=3),
)
def test_vertices_on_tile_edges(triangles, holes):
    """Whole-number corners touch whole-number tiles in every way there is, holes included."""
    shapes = [shapely.Polygon(t) for t in triangles]
    union = shapely.union_all([s for s in shapes if s.area > 0])
    union = union.difference(shapely.union_all([shapely.box(x, y, x + 1, y + 1) for x, y in holes]))
    parts = [part for part in shapely.get_parts(union) if part.geom_type == "Polygon"]
    boxes = np.concatenate([lattice(9.0, 1.0, 3.0), lattice(9.0, 3.0, 1.0)])
    areas = class_areas(np.array(parts, dtype=object), np.arange(len(parts)), boxes, len(parts))
    expected = shapely.area(shapely.intersection(shapely.box(*boxes.T)[:, None], np.array(parts)))
    assert areas.shape == (len(boxes), len(parts))
    assert np.abs(areas - expected.reshape(areas.shape)).max(initial=0) < 1e-9


def test_polygon_that_clip_by_rect_gets_wrong():
    """GEOS 3.14 clips this to an area of 0.05 instead of 5.95: a vertex lies on the box's edge."""
    star = shapely.from_wkt(
        "POLYGON ((4 0, 3.4545454545454546 2, 1 2, 1 7, 2.090909090909091 7, 1 11, "
        "3.344827586206897 8.362068965517242, 3.3529411764705883 8.382352941176471, 3 9, 4 11, "
        "4.35 9.95, 6 9.714285714285714, 6 7, 11 7, 11 0, 4 0))"
    )
    box = np.array([[3.0, 6.0, 5.0, 9.0]])
    found = class_areas(np.array([star], dtype=object), np.array([0]), box, 1)
    assert found[0, 0] == pytest.approx(star.intersection(shapely.box(*box[0])).area, rel=1e-12)
    assert found[0, 0] > 5.9


def test_unordered_boxes_on_no_common_grid():
    generator = np.random.default_rng(3)
    polygons = coverage(5, 30, size=100.0, wobble=0.2)
    corners = generator.uniform(0, 90, (500, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0.1, 9, (500, 2))], axis=1)
    found = exact_cover(polygons, boxes, corine())
    assert np.abs(found - intersection_cover(polygons, boxes)).max() < 1e-9


def test_far_from_the_origin():
    """UTM northings leave nine digits less; shares still sum to 1 and absent classes are 0."""
    polygons = coverage(7, 20, size=6400.0)
    polygons["geometry"] = polygons.translate(500_000, 9_000_000)
    boxes = lattice(6400.0, 640.0, 640.0) + [500_000, 9_000_000] * 2
    found = exact_cover(polygons, boxes, corine())
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-9
    absent = ~np.isin(CODES, polygons["code"])
    assert (found[:, absent] == 0).all()


def test_touching_is_no_cover():
    """A neighbour that shares an edge or a corner with a tile has exactly none of it."""
    polygons = geopandas.GeoDataFrame(
        {"code": ["111", "112", "121"]},
        geometry=[
            shapely.box(0, 0, 0.1, 1),
            shapely.box(0.1, 0, 0.3, 1),
            shapely.box(0.3, 1, 1, 2),
        ],
    )
    found = exact_cover(polygons, [[0.1, 0, 0.3, 1]], corine())
    assert found[0, :3].tolist() == [0, 1, 0]


def test_no_polygons_no_boxes():
    empty = coverage(1, 5).iloc[:0]
    assert exact_cover(empty, [[0, 0, 1, 1]], corine()).tolist() == [[0.0] * 44]
    assert exact_cover(coverage(1, 5), np.zeros((0, 4)), corine()).shape == (0, 44)


def test_unknown_code():
    polygons = coverage(1, 3).assign(code="700")
    with pytest.raises(LandCoverError, match="700"):
        exact_cover(polygons, [[0, 0, 1, 1]], corine())


# Reprojection


@pytest.mark.parametrize(
    ("source", "target", "bounds"),
    [
        ("EPSG:3035", "EPSG:32636", (6_400_000, 1_600_000, 6_424_000, 1_624_000)),
        ("EPSG:4326", "EPSG:32636", (32.9, 34.6, 33.9, 35.2)),
        ("EPSG:32636", "EPSG:3857", (500_000, 3_800_000, 600_000, 3_900_000)),
    ],
)
def test_densified_edges_follow_the_true_curve(source, target, bounds):
    """Against a densification a hundred times finer: nothing is off by more than the tolerance."""
    tolerance = 0.003
    here, there = pyproj.CRS(source), pyproj.CRS(target)
    generator = np.random.default_rng(2)
    spread = generator.uniform(bounds[:2], bounds[2:], (40, 2))
    lines = np.array([shapely.LineString(pair) for pair in spread.reshape(20, 2, 2)], dtype=object)
    moved = reproject(lines, here, there, tolerance)
    transformer = pyproj.Transformer.from_crs(here, there, always_xy=True)
    length = segment_length(tuple(shapely.total_bounds(lines)), transformer, tolerance)
    assert length < shapely.length(lines).max()
    fine = shapely.transform(
        shapely.segmentize(lines, length / 10), transformer.transform, interleaved=False
    )
    points = shapely.points(shapely.get_coordinates(fine))
    owner = shapely.get_coordinates(fine, return_index=True)[1]
    assert shapely.distance(points, moved[owner]).max() < tolerance
    # Ends alone would have been wrong.
    bare = shapely.transform(lines, transformer.transform, interleaved=False)
    assert shapely.distance(points, bare[owner]).max() > 10 * tolerance


def test_axis_order_moves_nothing():
    """EPSG:3042 is EPSG:25830 with the northing first; files keep x before y in both."""
    square = np.array([shapely.box(453_000, 4_080_000, 463_000, 4_090_000)], dtype=object)
    moved = reproject(square, pyproj.CRS("EPSG:3042"), pyproj.CRS("EPSG:25830"), 0.001)
    assert shapely.equals_exact(moved[0], square[0], 1e-6)
    assert same_crs(pyproj.CRS("EPSG:4326"), pyproj.CRS("OGC:CRS84"))
    assert not same_crs(pyproj.CRS("EPSG:25830"), pyproj.CRS("EPSG:32630"))


# Stores

PIXEL = 10.0


def tile_store(path, columns, rows, size=8, crs=UTM, stride=None, left=500_000.0, top=3_880_000.0):
    """A tile store with only what cover needs, most of a scene, row by row."""
    step = (stride or size) * PIXEL
    column, row = (p.ravel() for p in np.meshgrid(np.arange(columns), np.arange(rows)))
    x, y = left + column * step, top - row * step
    bounds = np.stack([x, y - size * PIXEL, x + size * PIXEL, y], axis=1)
    kept = (column + row) % 7 != 3
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes={"crs": crs})
    shape = (int(kept.sum()), size, size, 1)
    create_array(group, "images", shape, np.uint8, dimensions=("tile", "y", "x", "band"))
    array = create_array(group, "bounds", (shape[0], 4), np.float64, dimensions=("tile", "edge"))
    array[:] = bounds[kept]
    ids = [f"s-{c}-{r}" for c, r in zip(column[kept], row[kept], strict=True)]
    write_strings(group, "ids", ids, "tile")
    return path, bounds[kept]


def land(path, crs=UTM, to="EPSG:3035", seed=4):
    """Land cover over the store's area, its edges straight in the CRS that it is written in."""
    polygons = coverage(seed, 60, size=4000.0, wobble=20.0).set_crs(crs)
    polygons["geometry"] = polygons.translate(499_500, 3_876_500)
    polygons = polygons.to_crs(to)
    polygons.to_parquet(path)
    return polygons


def measured(tmp_path, name="cover", **options):
    store, manifest = tmp_path / f"{name}.zarr", tmp_path / f"{name}.json"
    measure_cover(
        tmp_path / "tiles.zarr", tmp_path / "land.parquet", corine(), store, manifest, **options
    )
    return open_store(store), manifest.read_text()


def test_store_of_reprojected_land_cover(tmp_path):
    _, bounds = tile_store(tmp_path / "tiles.zarr", 30, 20)
    polygons = land(tmp_path / "land.parquet")
    group, _ = measured(tmp_path)
    cover, mask = read_array(group, "cover"), read_array(group, "mask")
    fine = polygons.assign(geometry=polygons.segmentize(1.0)).to_crs(UTM)
    assert cover.dtype == np.float32
    assert np.abs(cover - intersection_cover(fine, bounds)).max() < 1e-6
    assert np.abs(cover.sum(axis=1) - 1).max() < 1e-6
    assert read_strings(group, "ids")[:2].tolist() == ["s-0-0", "s-1-0"]
    assert [item["code"] for item in group.attrs["classes"]] == CODES
    assert group.attrs["nomenclature"] == "corine"
    # Counted pixels agree with exact shares as 64 pixels allow, and centres decide.
    counted = np.stack([(mask == i + 1).mean(axis=(1, 2)) for i in range(len(CODES))], axis=1)
    assert np.abs(counted - cover).max() < 0.15
    expected = centres(fine, bounds[100], 8)
    assert mask[100].tolist() == expected.tolist()


def centres(polygons, bounds, size):
    left, _, _, top = bounds
    steps = (np.arange(size) + 0.5) * PIXEL
    x, y = np.meshgrid(left + steps, top - steps)
    found = np.zeros((size, size), dtype=np.uint8)
    for code, geometry in zip(polygons["code"], polygons.geometry, strict=True):
        found[shapely.contains_xy(geometry, x, y)] = CODES.index(code) + 1
    return found


def test_workers_change_nothing(tmp_path, monkeypatch):
    import geolatents.labels.cover as module

    tile_store(tmp_path / "tiles.zarr", 30, 20, stride=6)
    land(tmp_path / "land.parquet")
    monkeypatch.setattr(module, "CHUNK", 50)
    _, one = measured(tmp_path, "one", workers=1)
    _, three = measured(tmp_path, "three", workers=3)
    assert one == three


def test_chunks_change_only_rounding(tmp_path, monkeypatch):
    import geolatents.labels.cover as module

    tile_store(tmp_path / "tiles.zarr", 30, 20, stride=6)
    land(tmp_path / "land.parquet")
    whole, _ = measured(tmp_path, "whole")
    monkeypatch.setattr(module, "CHUNK", 64)
    monkeypatch.setattr(module, "CHUNK_PIXELS", 1000)
    parts, _ = measured(tmp_path, "parts")
    assert np.allclose(read_array(whole, "cover"), read_array(parts, "cover"), atol=1e-7, rtol=0)
    assert (read_array(whole, "mask") == read_array(parts, "mask")).all()


def test_tiles_beyond_the_land_have_no_data(tmp_path):
    _, bounds = tile_store(tmp_path / "tiles.zarr", 4, 4)
    geopandas.GeoDataFrame(
        {"code": ["111"]}, geometry=[shapely.box(*bounds[0])], crs=UTM
    ).to_parquet(tmp_path / "land.parquet")
    group, _ = measured(tmp_path)
    cover, mask = read_array(group, "cover"), read_array(group, "mask")
    assert cover[0, 0] == 1
    assert (mask[0] == 1).all()
    assert not cover[1:].any()
    assert not mask[1:].any()


def test_overlapping_classes_are_warned_of(tmp_path, caplog):
    _, bounds = tile_store(tmp_path / "tiles.zarr", 2, 2)
    square = shapely.box(*bounds[0])
    geopandas.GeoDataFrame({"code": ["111", "112"]}, geometry=[square, square], crs=UTM).to_parquet(
        tmp_path / "land.parquet"
    )
    with caplog.at_level(logging.WARNING, "geolatents"):
        group, _ = measured(tmp_path)
    assert "to 2.0000 in s-0-0" in caplog.text
    assert read_array(group, "cover")[0, :2].tolist() == [1, 1]


def test_store_without_positions(tmp_path):
    tile_store(tmp_path / "tiles.zarr", 2, 2)
    group = zarr.open_group(tmp_path / "tiles.zarr", mode="a")
    group.attrs["crs"] = None
    land(tmp_path / "land.parquet")
    with pytest.raises(StoreError, match="no positions"):
        measured(tmp_path)


def test_unknown_code_in_the_table(tmp_path):
    tile_store(tmp_path / "tiles.zarr", 2, 2)
    land(tmp_path / "land.parquet").assign(code="999").to_parquet(tmp_path / "land.parquet")
    with pytest.raises(LandCoverError, match="999"):
        measured(tmp_path)
    assert not (tmp_path / "cover.zarr").exists()
