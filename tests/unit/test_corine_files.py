"""The official files of CORINE Land Cover for all of Europe, read around a scene by the existing sources.

Names, sizes, fields and values are those of U2018_CLC2018_V2020_20u1 (European Union, Copernicus Land
Monitoring Service 2018, European Environment Agency); the land in them is made up.
"""

import json
import struct
import subprocess
import sys
import textwrap

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from rasterio.windows import Window, from_bounds

from geolatents.acquire.landcover import raster as landcover_raster
from geolatents.acquire.landcover.read import check_landcover, landcover_files, read_landcover
from geolatents.errors import LandCoverError
from geolatents.nomenclature import corine
from geolatents.settings.landcover import LandCover

NAME = "U2018_CLC2018_V2020_20u1"
WIDTH, HEIGHT = 65_000, 46_000
TRANSFORM = Affine(100, 0, 900_000, 0, -100, 5_500_000)  # to 7 400 000, 900 000 in EPSG:3035
LEFT, TOP = 6_420_000, 1_640_000  # of the land that is drawn, in Cyprus
CELL, COLUMNS, ROWS = 1_000, 12, 10
PIXELS = CELL // 100


def land(left=LEFT, top=TOP, crs="EPSG:3035"):
    """A chequered land: fields as the files have them; parts of one polygon may lie apart."""
    generator = np.random.default_rng(7)
    codes = generator.choice(corine().codes, (ROWS, COLUMNS))
    squares = [
        shapely.box(left + c * CELL, top - (r + 1) * CELL, left + (c + 1) * CELL, top - r * CELL)
        for r in range(ROWS)
        for c in range(COLUMNS)
    ]
    frame = geopandas.GeoDataFrame({"Code_18": codes.ravel()}, geometry=squares, crs=crs)
    frame = frame.dissolve("Code_18").reset_index()
    frame["Remark"] = None
    frame["Area_Ha"] = frame.area / 1e4
    frame["ID"] = [f"EU-{i}" for i in range(len(frame))]
    return frame[["Code_18", "Remark", "Area_Ha", "ID", "geometry"]]


LAND = land()


@pytest.fixture
def scene(tmp_path):
    """A scene of 4.8 km by 4 km within the land, in UTM."""
    corner = geopandas.GeoSeries.from_xy([LEFT + 3500], [TOP - 3000], crs="EPSG:3035")
    left, top = corner.to_crs("EPSG:32636")[0].coords[0]
    return write_scene(tmp_path / "cyprus.json", "EPSG:32636", left, top)


def write_scene(path, crs, left, top):
    transform = [10.0, 0.0, left, 0.0, -10.0, top]
    record = {"scene": path.stem, "crs": crs, "transform": transform, "width": 480, "height": 400}
    path.write_text(json.dumps(record))
    return path


def outline(scene, crs="EPSG:3035"):
    """Of the scene, in the CRS of the land."""
    record = json.loads(scene.read_text())
    a, _, left, _, _, top = record["transform"]
    box = shapely.box(left, top - record["height"] * a, left + record["width"] * a, top)
    return geopandas.GeoSeries([box], crs=record["crs"]).segmentize(10).to_crs(crs)[0]


def read(tmp_path, scene, **settings):
    chosen = LandCover(**settings)
    files = landcover_files(chosen, tmp_path)
    check, output = tmp_path / "check.json", tmp_path / "out" / "landcover.parquet"
    check_landcover(chosen, files, corine(), [scene], check, 10)
    read_landcover(chosen, files, corine(), [scene], check, output, 10)
    return geopandas.read_parquet(output), json.loads(check.read_text())


def areas(frame, scene):
    """Area of each code in the scene."""
    code = "code" if "code" in frame else "Code_18"
    return frame.clip(outline(scene, frame.crs)).dissolve(code).area.to_dict()


# GeoPackage and file geodatabase


def write_layer(file, frame, layer):
    """A layer of multipolygons with the official names; a file geodatabase has them by itself."""
    gpkg = file.suffix == ".gpkg"
    pyogrio.write_dataframe(
        frame,
        file,
        layer=layer,
        driver="GPKG" if gpkg else "OpenFileGDB",
        geometry_type="MultiPolygon",
        promote_to_multi=True,
        append=file.exists(),
        layer_options={"FID": "OBJECTID", "GEOMETRY_NAME": "Shape"} if gpkg else {},
    )


@pytest.fixture(params=[f"{NAME}.gpkg", f"{NAME.lower()}.gpkg", f"{NAME}.gdb"])
def vector_file(request, tmp_path):
    """The layer of Europe with some more land far away, and two of overseas departments."""
    file = tmp_path / request.param
    layer = file.stem
    europe = geopandas.pd.concat([LAND, land(3_000_000, 3_000_000)], ignore_index=True)
    write_layer(file, europe, layer)
    write_layer(file, land(650_000, 1_800_000, "EPSG:4559"), f"{layer}_FR_GLP")
    write_layer(file, land(340_000, 7_660_000, "EPSG:2975"), f"{layer}_FR_REU")
    return file


def test_layer_of_the_scenes_is_read_around_them(tmp_path, scene, vector_file, monkeypatch):
    lengths = []
    read_dataframe = pyogrio.read_dataframe

    def counted(*arguments, **options):
        frame = read_dataframe(*arguments, **options)
        lengths.append(len(frame))
        return frame

    monkeypatch.setattr(pyogrio, "read_dataframe", counted)
    found, check = read(tmp_path, scene, source="vector", path=vector_file.name)
    assert (check["layer"], check["field"], check["crs"]) == (
        vector_file.stem, "Code_18", "EPSG:3035"
    )  # fmt: skip
    assert areas(found, scene) == pytest.approx(areas(LAND, scene), rel=1e-9)
    assert max(lengths) <= len(LAND)  # none of the land far away


def test_overseas_department_is_found_by_its_scenes(tmp_path, vector_file):
    scene = write_scene(tmp_path / "glp.json", "EPSG:32620", 653_500.0, 1_797_000.0)
    found, check = read(tmp_path, scene, source="vector", path=vector_file.name)
    assert check["layer"] == f"{vector_file.stem}_FR_GLP"
    truth = land(650_000, 1_800_000, "EPSG:4559")
    assert areas(found, scene) == pytest.approx(areas(truth, scene), rel=1e-9)


def test_layer_that_is_named_is_read(tmp_path, scene, vector_file):
    settings = {"source": "vector", "path": vector_file.name}
    found, check = read(tmp_path, scene, layer=vector_file.stem, **settings)
    assert check["layer"] == vector_file.stem
    assert areas(found, scene) == pytest.approx(areas(LAND, scene), rel=1e-9)
    with pytest.raises(LandCoverError, match="does not overlap"):
        read(tmp_path, scene, layer=f"{vector_file.stem}_FR_REU", **settings)


def test_scene_where_no_layer_is(tmp_path, vector_file):
    scene = write_scene(tmp_path / "far.json", "EPSG:32636", 500_000.0, 5_000_000.0)
    with pytest.raises(LandCoverError, match="does not overlap"):
        read(tmp_path, scene, source="vector", path=vector_file.name)


def test_two_years_in_one_place_must_be_told_apart(tmp_path, scene):
    file = tmp_path / "clc.gpkg"
    write_layer(file, LAND, NAME)
    write_layer(file, LAND.rename(columns={"Code_18": "Code_12"}), "U2018_CLC2012_V2020_20u1")
    with pytest.raises(LandCoverError, match=r"(?s)several layers.*CLC2018.*CLC2012.*landcover\.layer"):  # fmt: skip
        read(tmp_path, scene, source="vector", path="clc.gpkg")
    _, check = read(tmp_path, scene, source="vector", path="clc.gpkg", code_field="Code_12")
    assert check["layer"] == "U2018_CLC2012_V2020_20u1"


def test_code_null_is_named(tmp_path, scene):
    frame = LAND.copy()
    frame.loc[frame.intersects(outline(scene)).idxmax(), "Code_18"] = "Null"
    write_layer(tmp_path / "clc.gpkg", frame, NAME)
    with pytest.raises(LandCoverError, match="Null"):
        read(tmp_path, scene, source="vector", path="clc.gpkg")
    found, _ = read(tmp_path, scene, source="vector", path="clc.gpkg", unknown="nodata")
    assert len(found) > 0


# Raster

GRID_CODES = {item.code: item.grid_code for item in corine().classes}


def write_raster(file, dtype, nodata, background):
    """All of Europe at 100 m; only blocks with land are in the file."""
    profile = {
        "driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 1, "dtype": dtype, "nodata": nodata,
        "crs": "EPSG:3035", "transform": TRANSFORM, "tiled": True, "blockxsize": 128, "blockysize": 128,
        "compress": "lzw", "SPARSE_OK": True,
    }  # fmt: skip
    column, row = (int(value) for value in ~TRANSFORM * (LEFT, TOP))
    edge = 60  # pixels without land around it
    shape = (ROWS * PIXELS + 2 * edge, COLUMNS * PIXELS + 2 * edge)
    values = np.full(shape, background, dtype)
    transform = TRANSFORM * Affine.translation(column - edge, row - edge)
    pairs = zip(LAND.geometry, LAND["Code_18"].map(GRID_CODES), strict=True)
    rasterio.features.rasterize(pairs, out=values, transform=transform)
    with rasterio.open(file, "w", **profile) as dataset:
        dataset.write(values, 1, window=Window(column - edge, row - edge, shape[1], shape[0]))


def without_sign(file):
    """Mark the bytes of a TIFF as unsigned; its no-data text stays -128, which they cannot hold.

    Tag 339 is SampleFormat, 1 unsigned, 2 signed (TIFF 6.0, section 19).
    """
    data = bytearray(file.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for i in range(struct.unpack_from("<H", data, start)[0]):
        entry = start + 2 + 12 * i
        if struct.unpack_from("<H", data, entry)[0] == 339:
            struct.pack_into("<I", data, entry + 8, 1)
    file.write_bytes(data)
    with rasterio.open(file) as dataset:
        assert dataset.dtypes == ("uint8",)
        assert dataset.nodata is None


@pytest.mark.parametrize(
    ("dtype", "nodata", "background"),
    [
        ("uint8", 255, 255),
        ("uint8", 128, 128),
        ("int8", -128, -128),
        ("unsigned", -128, -128),
        ("uint8", None, 48),
        ("uint8", None, 0),
        ("uint8", 255, 48),
    ],
)
def test_raster_of_europe_with_any_mark_of_no_data(tmp_path, dtype, nodata, background):
    file = tmp_path / f"{NAME}.tif"
    write_raster(file, "int8" if dtype == "unsigned" else dtype, nodata, background)
    if dtype == "unsigned":
        without_sign(file)
    # At the edge of the land: half of the scene has none.
    corner = geopandas.GeoSeries.from_xy([LEFT - 2000], [TOP - 4000], crs="EPSG:3035")
    left, top = corner.to_crs("EPSG:32636")[0].coords[0]
    scene = write_scene(tmp_path / "coast.json", "EPSG:32636", left, top)
    found, check = read(tmp_path, scene, source="raster", path=file.name)
    assert (check["values"], check["crs"]) == ("grid_code", "EPSG:3035")
    assert areas(found, scene) == pytest.approx(areas(LAND, scene), rel=1e-9)
    assert found.clip(outline(scene)).area.sum() < 0.9 * outline(scene).area
    assert file.stat().st_size < 5e6


WHOLE = f"""
    import rasterio
    with rasterio.open(file) as dataset:
        limited()
        dataset.read(1)  # {WIDTH * HEIGHT / 1e9:.1f} GB
"""
AROUND = """
    from pathlib import Path
    from geolatents.acquire.landcover.area import Scenes
    from geolatents.acquire.landcover.raster import read_raster
    from geolatents.nomenclature import corine
    from geolatents.settings.landcover import LandCover
    settings = LandCover(source="raster", path="x")
    scenes = Scenes([Path(scene)], 1024)
    scenes.area(rasterio_crs)
    limited()
    found = read_raster(Path(file), settings, corine(), scenes)
    print(len(found.codes))
"""
LIMITED = """
    import resource, sys
    import pyproj, rasterio, shapely
    file, scene = sys.argv[1:]
    rasterio_crs = pyproj.CRS.from_epsg(3035)
    def limited():
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 500 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_raster_of_europe_needs_no_memory_of_europe(tmp_path, scene):
    """500 MB are enough around a scene; the whole raster does not fit, which shows that the limit works."""
    file = tmp_path / f"{NAME}.tif"
    write_raster(file, "uint8", 255, 255)

    def run(code):
        program = textwrap.dedent(LIMITED) + textwrap.dedent(code)
        command = [sys.executable, "-c", program, str(file), str(scene)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    whole = run(WHOLE)
    assert whole.returncode != 0
    assert "Unable to allocate" in whole.stderr
    around = run(AROUND)
    assert around.returncode == 0, around.stderr
    assert int(around.stdout) > 20


def test_raster_is_read_by_window(tmp_path, scene, monkeypatch):
    sizes = []
    read_window = landcover_raster._read

    def counted(dataset, window, file):
        values = read_window(dataset, window, file)
        sizes.append(values.size)
        return values

    monkeypatch.setattr(landcover_raster, "_read", counted)
    write_raster(tmp_path / "clc.tif", "uint8", 255, 255)
    read(tmp_path, scene, source="raster", path="clc.tif")
    assert (
        sum(sizes) < 100_000
    )  # values and outlines, for the check and for the table; of 3 000 million


def test_vector_and_raster_agree(tmp_path, scene):
    write_layer(tmp_path / "clc.gpkg", LAND, NAME)
    write_raster(tmp_path / "clc.tif", "uint8", 255, 255)
    vector, _ = read(tmp_path, scene, source="vector", path="clc.gpkg")
    raster, _ = read(tmp_path, scene, source="raster", path="clc.tif")
    assert areas(raster, scene) == pytest.approx(areas(vector, scene), rel=1e-9)


def test_extent_is_the_official_one(tmp_path):
    write_raster(tmp_path / "clc.tif", "uint8", 255, 255)
    with rasterio.open(tmp_path / "clc.tif") as dataset:
        assert tuple(dataset.bounds) == (900_000, 900_000, 7_400_000, 5_500_000)
        window = from_bounds(LEFT, TOP - CELL, LEFT + CELL, TOP, dataset.transform)
        (value,) = np.unique(dataset.read(1, window=window))
    first = LAND[LAND.contains(shapely.Point(LEFT + 500, TOP - 500))]["Code_18"].item()
    assert value == GRID_CODES[first]
