"""CORINE of Lanjaron as vector and as raster, and the official raster of Guadeloupe."""

import json

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import zarr

from geolatents.acquire.landcover.read import check_landcover, landcover_files, read_landcover
from geolatents.labels.cover import exact_cover, measure_cover
from geolatents.nomenclature import corine
from geolatents.settings.landcover import LandCover
from geolatents.stores import create_array, open_store, read_array, write_strings

pytestmark = pytest.mark.real_data

SIZE = 8
"""Tiles of 8 x 8 Landsat pixels of 60 m: 480 m, 38 rows of 24."""

FORMS = {
    "vector": LandCover(source="vector", path="lanjaron/clc2018.gpkg"),
    "raster": LandCover(source="raster", path="lanjaron/clc2018_25m.tif"),
}


def scene_record(raster, path):
    with rasterio.open(raster) as dataset:
        crs = f"EPSG:{dataset.crs.to_epsg()}"
        transform, size = dataset.transform, (dataset.width, dataset.height)
    record = {"scene": path.stem, "crs": crs, "transform": list(transform)[:6]}
    path.write_text(json.dumps(record | {"width": size[0], "height": size[1]}))
    return path, transform, size


def read(settings, data_folder, scene, folder, name):
    files = landcover_files(settings, data_folder)
    check, output = folder / f"{name}-check.json", folder / f"{name}.parquet"
    check_landcover(settings, files, corine(), [scene], check)
    read_landcover(settings, files, corine(), [scene], check, output)
    return json.loads(check.read_text()), output


@pytest.fixture(scope="module")
def lanjaron(data_folder, tmp_path_factory):
    """Checks, tables, covers and masks of both forms, and the bounds of the tiles."""
    folder = tmp_path_factory.mktemp("lanjaron")
    scene, transform, (width, height) = scene_record(
        data_folder / "lanjaron" / "landsat8_60m.tif", folder / "landsat.json"
    )
    column, row = np.meshgrid(np.arange(width // SIZE), np.arange(height // SIZE))
    side = SIZE * transform.a
    left, top = transform.c + column.ravel() * side, transform.f - row.ravel() * side
    bounds = np.stack([left, top - side, left + side, top], axis=1)
    tiles = folder / "tiles.zarr"
    group = zarr.open_group(tiles, mode="w", zarr_format=3, attributes={"crs": "EPSG:32630"})
    shape = (len(bounds), SIZE, SIZE, 1)
    create_array(group, "images", shape, np.uint8, dimensions=("tile", "y", "x", "band"))
    array = create_array(group, "bounds", bounds.shape, np.float64, dimensions=("tile", "edge"))
    array[:] = bounds
    write_strings(group, "ids", [f"tile-{i}" for i in range(len(bounds))], "tile")
    found = {"bounds": bounds}
    for name, settings in FORMS.items():
        check, table = read(settings, data_folder, scene, folder, name)
        store = folder / f"{name}.zarr"
        measure_cover(tiles, table, corine(), store, folder / f"{name}-cover.json")
        group = open_store(store)
        found[name] = {
            "check": check,
            "table": geopandas.read_parquet(table),
            "cover": read_array(group, "cover"),
            "mask": read_array(group, "mask"),
        }
    return found


@pytest.fixture(scope="module")
def moved_layer(data_folder):
    """The vector layer in the scene's CRS, by GeoPandas, edges densified to 5 m."""
    layer = geopandas.read_file(data_folder / "lanjaron" / "clc2018.gpkg", layer="clc")
    return layer.set_geometry(layer.segmentize(5.0)).to_crs("EPSG:32630")


def test_layer_field_and_crs_are_found(lanjaron):
    vector, raster = lanjaron["vector"]["check"], lanjaron["raster"]["check"]
    assert (vector["layer"], vector["field"], vector["crs"]) == ("clc", "CODE_18", "EPSG:25830")
    assert (raster["values"], raster["crs"]) == ("code", "EPSG:3042")
    assert list(vector["codes"]) == list(raster["codes"])
    assert len(vector["codes"]) == 20


def test_cover_equals_an_independent_exact_computation(lanjaron, moved_layer):
    bounds, cover = lanjaron["bounds"], lanjaron["vector"]["cover"]
    tiles = shapely.box(*bounds.T)
    expected = np.zeros(cover.shape)
    for code, part in moved_layer.groupby("CODE_18"):
        union = shapely.union_all(part.geometry.values)
        areas = shapely.area(shapely.intersection(tiles, union))
        expected[:, corine().index(code)] = areas / shapely.area(tiles)
    difference = np.abs(cover - expected).max()
    print(f"largest difference of {cover.size} covers: {difference:.1e}")
    assert difference <= 1e-6
    assert expected.max() == pytest.approx(1)
    assert np.abs(cover.sum(axis=1) - 1).max() <= 1e-6  # the layer covers the scene


def test_exactextract_agrees(lanjaron, moved_layer, tmp_path):
    """A second opinion: tiles as cells of a grid, covered by dissolved classes."""
    exactextract = pytest.importorskip("exactextract")
    bounds, cover = lanjaron["bounds"], lanjaron["vector"]["cover"]
    columns = len(np.unique(bounds[:, 0]))
    rows = len(bounds) // columns
    grid = exactextract.raster.NumPyRasterSource(
        np.arange(len(bounds), dtype=np.float64).reshape(rows, columns),
        xmin=bounds[:, 0].min(), ymin=bounds[:, 1].min(),
        xmax=bounds[:, 2].max(), ymax=bounds[:, 3].max(),
        srs_wkt=moved_layer.crs.to_wkt(),
    )  # fmt: skip
    classes = moved_layer.dissolve("CODE_18").reset_index()[["CODE_18", "geometry"]]
    found = exactextract.exact_extract(
        grid, classes, ["cell_id", "coverage"], include_cols=["CODE_18"], output="pandas"
    )
    expected = np.zeros(cover.shape)
    for code, cells, shares in zip(
        found["CODE_18"], found["cell_id"], found["coverage"], strict=True
    ):
        expected[cells.astype(int), corine().index(code)] = shares
    assert np.abs(cover - expected).max() <= 1e-6


def test_vector_and_raster_agree_as_resolution_allows(lanjaron):
    """25 m pixels move a boundary by half a pixel at most, to either side: 1 % of a 480 m tile."""
    vector, raster = lanjaron["vector"]["cover"], lanjaron["raster"]["cover"]
    held = (vector > 0) | (raster > 0)
    difference = np.abs(vector - raster)
    masks = lanjaron["vector"]["mask"] == lanjaron["raster"]["mask"]
    present = ((vector >= 0.01) == (raster >= 0.01)).mean()
    print(
        f"mean difference {difference[held].mean():.4f}, largest {difference.max():.4f}, "
        f"presence equal {present:.4f}, mask pixels equal {masks.mean():.4f}"
    )
    assert difference[held].mean() < 0.005
    assert difference.max() < 0.05
    assert present > 0.999
    assert masks.mean() > 0.97


def test_raster_cover_is_its_pixels(lanjaron, data_folder):
    """Cover of the raster form over a whole pixel block is the counted share."""
    with rasterio.open(data_folder / "lanjaron" / "clc2018_25m.tif") as dataset:
        values = dataset.read(1, window=rasterio.windows.Window(100, 200, 40, 30))
        left, top = dataset.xy(200, 100, offset="ul")
    box = [left, top - 30 * 25, left + 40 * 25, top]
    found = exact_cover(lanjaron["raster"]["table"], [box], corine())[0]
    counted = [(values == int(code)).mean() for code in corine().codes]
    assert np.abs(found - counted).max() < 1e-12


def test_grid_codes_of_guadeloupe(data_folder, tmp_path):
    """The official raster: grid codes, 0 around it, a datum of its own; a scene in WGS 84."""
    file = data_folder / "clc_rasters/guadeloupe/U2018_CLC2018_V2020_20u1_FR_GLP.tif"
    with rasterio.open(file) as dataset:
        left, top = dataset.xy(300, 400, offset="ul")
        values = dataset.read(1, window=rasterio.windows.Window(400, 300, 100, 100))
    to_wgs = pyproj.Transformer.from_crs("EPSG:4559", "EPSG:32620", always_xy=True)
    x, y = to_wgs.transform(left, top)
    record = {"scene": "glp", "crs": "EPSG:32620", "transform": [10.0, 0, x, 0, -10.0, y]}
    scene = tmp_path / "glp.json"
    scene.write_text(json.dumps(record | {"width": 1000, "height": 1000}))
    settings = LandCover(source="raster", path=str(file))
    check, output = read(settings, data_folder, scene, tmp_path, "glp")
    table = geopandas.read_parquet(output)
    assert (check["values"], check["crs"]) == ("grid_code", "EPSG:4559")
    found = exact_cover(table, [[left, top - 10_000, left + 10_000, top]], corine())[0]
    counted = [(values == item.grid_code).mean() for item in corine().classes]
    assert np.abs(found - counted).max() < 1e-12
    assert sum(counted) > 0.5
