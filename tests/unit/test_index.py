import json
import math

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely

from geolatents.errors import NoTilesError, StoreError
from geolatents.files import sha256_file
from geolatents.stores import new_store, write_strings
from geolatents.tiles.index import footprints, index_tiles
from geolatents.tiles.writer import tile_writer, write_moments, write_vector


def make_store(
    folder, scene, count=4, *, crs="EPSG:32636", left=500_000.0, top=4_000_000.0, side=192.0,
    pixels=64, bands=("red", "nir"), dtype="uint16", acquired="2018-07-01", ids=None, groups=None,
):  # fmt: skip
    path = folder / "tiles" / f"{scene}.zarr"
    attributes = {
        "scene": scene, "crs": crs, "bands": list(bands), "nodata": 0, "provider": "files",
        "resolution": None if crs is None else [side / pixels] * 2, "acquired": acquired,
    }  # fmt: skip
    shape = (pixels // 8, pixels // 4, len(bands))
    with new_store(path, attributes) as group:
        with tile_writer(group, count, shape, dtype) as writer:
            writer.append(np.ones((count, *shape), dtype), np.ones((count, *shape[:2]), dtype=bool))
            moments = writer.finish()
        write_strings(group, "ids", ids or [f"{scene}-{i}-m1" for i in range(count)], "tile")
        write_moments(group, moments)
        if crs is None:
            write_strings(group, "group", groups or [""] * count, "tile")
        else:
            x = left + side * np.arange(count)
            bounds = np.stack([x, 0 * x + top - side, x + side, 0 * x + top], axis=1)
            write_vector(group, "column", np.arange(count, dtype=np.int32))
            write_vector(group, "row", np.full(count, -1, dtype=np.int32))
            write_vector(group, "bounds", bounds)
    manifest = path.with_suffix(".json")
    manifest.write_text(json.dumps({"scene": scene, "n": count}))
    return path, manifest


def run(folder, made):
    table, output = folder / "tiles.parquet", folder / "tiles.json"
    index_tiles("demo", [item[0] for item in made], [item[1] for item in made], table, output)
    return gpd.read_parquet(table), json.loads(output.read_text())


def test_table_and_summary(tmp_path):
    made = [
        make_store(tmp_path, "B2", 3, acquired="2018-07-01T08:30:00Z"),
        make_store(tmp_path, "A1", 2, crs="EPSG:32635", acquired=None),
    ]
    frame, summary = run(tmp_path, made)
    assert list(frame["scene"]) == ["B2"] * 3 + ["A1"] * 2
    assert list(frame["position"]) == [0, 1, 2, 0, 1]
    assert list(frame["id"]) == ["B2-0-m1", "B2-1-m1", "B2-2-m1", "A1-0-m1", "A1-1-m1"]
    assert list(frame["column"]) == [0, 1, 2, 0, 1]
    assert set(frame["row"]) == {-1}
    assert list(frame["proj_code"])[2:4] == ["EPSG:32636", "EPSG:32635"]
    assert list(frame["left"])[:2] == [500_000.0, 500_192.0]
    assert list(frame["valid_share"]) == [1.0] * 5
    assert frame["group"].isna().all()
    assert frame.crs == "EPSG:4326"
    assert str(frame["datetime"][0]) == "2018-07-01 08:30:00+00:00"
    assert frame["datetime"].isna().tolist() == [False] * 3 + [True] * 2
    assert frame["geometry"][0].centroid.x == pytest.approx(33.0, abs=0.01)
    assert frame["geometry"][3].centroid.x == pytest.approx(27.0, abs=0.01)
    assert summary == {
        "n_tiles": 5, "bands": ["red", "nir"], "dtype": "uint16", "size": [16, 8],
        "crs": ["EPSG:32635", "EPSG:32636"],
        "scenes": {"B2": sha256_file(made[0][1]), "A1": sha256_file(made[1][1])},
    }  # fmt: skip


def test_bounding_boxes_filter_on_reading(tmp_path):
    made = [make_store(tmp_path, "B2", 3), make_store(tmp_path, "A1", 2, crs="EPSG:32635")]
    run(tmp_path, made)
    frame = gpd.read_parquet(tmp_path / "tiles.parquet", bbox=(32, 30, 34, 40))
    assert set(frame["scene"]) == {"B2"}


def test_same_input_same_bytes(tmp_path):
    made = [make_store(tmp_path, "B2", 3)]
    run(tmp_path, made)
    first = (tmp_path / "tiles.parquet").read_bytes()
    run(tmp_path, made)
    assert (tmp_path / "tiles.parquet").read_bytes() == first


def test_stac_items(tmp_path):
    arrow = pytest.importorskip("stac_geoparquet.arrow")
    pystac = pytest.importorskip("pystac")
    import pyarrow.parquet as pq

    run(tmp_path, [make_store(tmp_path, "B2", 2)])
    items = [
        pystac.Item.from_dict(item)
        for item in arrow.stac_table_to_items(pq.read_table(tmp_path / "tiles.parquet"))
    ]
    assert [item.id for item in items] == ["B2-0-m1", "B2-1-m1"]
    assert items[0].collection_id == "demo"
    assert items[0].datetime.year == 2018
    assert items[0].assets["images"].href == "tiles/B2.zarr"
    assert items[0].bbox == pytest.approx(shapely.geometry.shape(items[0].geometry).bounds)
    assert {link.rel for link in items[0].links} == {"collection", "derived_from"}


def test_packed_images_have_no_place(tmp_path):
    made = [make_store(tmp_path, "images", 3, crs=None, acquired=None, groups=["a", "", "b"])]
    frame, summary = run(tmp_path, made)
    assert frame.geometry.isna().all()
    assert frame["left"].isna().all()
    assert frame["column"].isna().all()
    assert frame["group"].fillna("-").tolist() == ["a", "-", "b"]
    assert summary["crs"] == []


def test_empty_scenes(tmp_path):
    empty = make_store(tmp_path, "A1", 0)
    frame, summary = run(tmp_path, [empty, make_store(tmp_path, "B2", 2)])
    assert len(frame) == summary["n_tiles"] == 2
    assert set(summary["scenes"]) == {"A1", "B2"}
    with pytest.raises(NoTilesError, match="A1"):
        run(tmp_path, [empty])


def test_ids_occur_once(tmp_path):
    made = [make_store(tmp_path, "A1", 1, ids=["x-1"]), make_store(tmp_path, "B2", 1, ids=["x-1"])]
    with pytest.raises(StoreError, match="'x-1' occurs twice") as error:
        run(tmp_path, made)
    assert "A1.zarr" in str(error.value)
    assert "B2.zarr" in str(error.value)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"bands": ("red", "blue")}, "bands"),
        ({"dtype": "uint8"}, "dtype"),
        ({"pixels": 32}, "shape"),
    ],
)
def test_stores_must_be_alike(tmp_path, other, word):
    made = [make_store(tmp_path, "A1", 1), make_store(tmp_path, "B2", 1, **other)]
    with pytest.raises(StoreError, match=word) as error:
        run(tmp_path, made)
    assert "B2.zarr" in str(error.value)
    assert not (tmp_path / "tiles.parquet").exists()


def test_small_tiles_have_four_corners_and_large_ones_more():
    crs = pyproj.CRS("EPSG:3035")
    small = np.array([[4_000_000, 3_000_000, 4_000_192, 3_000_192.0]])
    large = np.array([[4_000_000, 3_000_000, 4_300_000, 3_300_000.0]])
    assert shapely.get_num_coordinates(footprints(small, crs, 1.5))[0] == 5
    polygon = footprints(large, crs, 30.0)[0]
    assert shapely.get_num_coordinates(polygon) > 16
    assert polygon.exterior.is_ccw
    # the sides in degrees lie within the tolerance of the true ones
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    dense = shapely.segmentize(polygon, 0.002)
    x, y = to_crs.transform(*np.array(dense.exterior.coords).T)
    ring = shapely.box(*large[0]).exterior
    assert shapely.distance(ring, shapely.points(x, y)).max() < 31


def test_antimeridian():
    crs = pyproj.CRS("EPSG:32660")  # zone 60, 174 to 180 degrees east
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(180.0, -17.0)
    bounds = np.array([[x - 5000, y - 5000, x + 5000, y + 5000]])
    polygon = footprints(bounds, crs, 5.0)[0]
    assert polygon.geom_type == "MultiPolygon"
    west, east = sorted(polygon.bounds[::2])
    assert (west, east) == (-180, 180)
    width = sum(part.bounds[2] - part.bounds[0] for part in polygon.geoms)
    expected = math.degrees(10_000 / (6_378_137 * math.cos(math.radians(17))))
    assert width == pytest.approx(expected, rel=0.02)
