"""Land cover of every form ends in the same polygons; bad input is one clear error."""

import json
import logging
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image

from geolatents.acquire.landcover.area import Scenes, footprint
from geolatents.acquire.landcover.codes import looks_like_code_field, value_text
from geolatents.acquire.landcover.read import check_landcover, landcover_files, read_landcover
from geolatents.errors import LandCoverError
from geolatents.nomenclature import corine
from geolatents.settings.landcover import LandCover

UTM = "EPSG:32636"
LEFT, TOP = 500_000.0, 3_880_000.0
SIDE = 1000.0
# A two by two country: code by column and row.
COUNTRY = {(0, 0): "111", (1, 0): "211", (0, 1): "311", (1, 1): "523"}


def square(column, row, side=SIDE):
    left, top = LEFT + column * side, TOP - row * side
    return shapely.box(left, top - side, left + side, top)


def country(field="CODE_18", crs=UTM, values=None):
    codes = values or list(COUNTRY.values())
    squares = [square(*place) for place in COUNTRY]
    return geopandas.GeoDataFrame({field: codes}, geometry=squares, crs=UTM).to_crs(crs)


@pytest.fixture
def scene(tmp_path):
    """A scene of 100 x 100 pixels of 20 m that covers the country."""
    return write_scene(tmp_path / "scene.json")


def write_scene(path, crs=UTM, left=LEFT, top=TOP, pixel=20.0, size=100):
    record = {
        "scene": path.stem,
        "crs": crs,
        "transform": [pixel, 0.0, left, 0.0, -pixel, top],
        "width": size,
        "height": size,
    }
    path.write_text(json.dumps(record))
    return path


def read(tmp_path, scene, margin_pixels=10, **settings):
    """Check and read; gives the table and what the check says."""
    chosen = LandCover(**settings)
    files = landcover_files(chosen, tmp_path)
    check, output = tmp_path / "check.json", tmp_path / "out" / "landcover.parquet"
    scenes = scene if isinstance(scene, list) else [scene]
    check_landcover(chosen, files, corine(), scenes, check, margin_pixels)
    read_landcover(chosen, files, corine(), scenes, check, output, margin_pixels)
    return geopandas.read_parquet(output), json.loads(check.read_text())


def refused(tmp_path, scene, **settings):
    """The error's text; every error says where, what was expected or found, and what to do."""
    with pytest.raises(LandCoverError) as caught:
        read(tmp_path, scene, **settings)
    text = str(caught.value)
    assert "where:" in text
    assert "what to do:" in text
    return text


def areas(frame):
    return frame.to_crs(UTM).dissolve("code").area.to_dict()


def write_raster(path, values, pixel=100.0, crs=UTM, nodata=None, transform=None):
    values = np.atleast_3d(values).transpose(2, 0, 1) if values.ndim == 2 else values
    profile = {
        "driver": "PNG" if path.suffix == ".png" else "GTiff",
        "height": values.shape[1],
        "width": values.shape[2],
        "count": values.shape[0],
        "dtype": values.dtype,
        "nodata": nodata,
    }
    if path.suffix != ".png":
        profile |= {"crs": crs, "transform": transform or Affine(pixel, 0, LEFT, 0, -pixel, TOP)}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)


def raster_values(mapping, dtype, pixels=10):
    blocks = [[mapping[COUNTRY[column, row]] for column in (0, 1)] for row in (0, 1)]
    return np.kron(np.array(blocks, dtype=dtype), np.ones((pixels, pixels), dtype=dtype))


# Vector files


@pytest.mark.parametrize("name", ["c.gpkg", "c.shp", "c.gdb", "c.geojson", "c.parquet"])
@pytest.mark.parametrize("field", ["CODE_18", "Code_18", "code_12"])
def test_vector_formats_give_the_same_land(tmp_path, scene, name, field):
    frame = country(field, crs="EPSG:4326" if name.endswith("geojson") else "EPSG:3035")
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_file(tmp_path / name)
    found, check = read(tmp_path, scene, source="vector", path=name)
    assert check["field"] == field
    assert check["codes"] == dict.fromkeys(sorted(COUNTRY.values()), 1)
    assert found["code"].tolist() == sorted(COUNTRY.values())
    assert areas(found) == pytest.approx(dict.fromkeys(COUNTRY.values(), SIDE**2), rel=1e-4)


def test_parquet_with_a_bounding_box_column(tmp_path, scene):
    country().to_parquet(tmp_path / "c.parquet", write_covering_bbox=True)
    found, _ = read(tmp_path, scene, source="vector", path="c.parquet")
    assert len(found) == 4


@pytest.mark.parametrize(
    "values",
    [[111, 211, 311, 523], [111.0, 211.0, 311.0, 523.0], ["1.1.1", " 211", "3.1.1", "523 "]],
)
def test_codes_of_any_type(tmp_path, scene, values):
    country(values=values).to_file(tmp_path / "c.gpkg")
    found, _ = read(tmp_path, scene, source="vector", path="c.gpkg")
    assert found["code"].tolist() == ["111", "211", "311", "523"]


def test_layer_with_a_code_field_is_found_among_others(tmp_path, scene):
    file = tmp_path / "c.gpkg"
    country("name").to_file(file, layer="parishes")
    country().to_file(file, layer="clc")
    _, check = read(tmp_path, scene, source="vector", path="c.gpkg")
    assert check["layer"] == "clc"


def test_several_layers_with_codes_are_refused_until_one_is_named(tmp_path, scene):
    file = tmp_path / "c.gpkg"
    country().to_file(file, layer="one")
    country().to_file(file, layer="two")
    text = refused(tmp_path, scene, source="vector", path="c.gpkg")
    assert "'one', 'two'" in text
    assert "landcover.layer" in text
    read(tmp_path, scene, source="vector", path="c.gpkg", layer="two")
    assert "'three'" in refused(tmp_path, scene, source="vector", path="c.gpkg", layer="three")


def test_several_code_fields_are_refused_until_one_is_named(tmp_path, scene):
    country().assign(CODE_12="112").to_file(tmp_path / "c.gpkg")
    text = refused(tmp_path, scene, source="vector", path="c.gpkg")
    assert "'CODE_18', 'CODE_12'" in text
    found, _ = read(tmp_path, scene, source="vector", path="c.gpkg", code_field="CODE_12")
    assert set(found["code"]) == {"112"}


def test_no_code_field(tmp_path, scene):
    country("klasse").to_file(tmp_path / "c.gpkg")
    text = refused(tmp_path, scene, source="vector", path="c.gpkg")
    assert "'klasse'" in text
    assert "landcover.code_field" in text
    read(tmp_path, scene, source="vector", path="c.gpkg", code_field="klasse")


def test_wrong_code_field_names_the_nearest(tmp_path, scene):
    country().to_file(tmp_path / "c.gpkg")
    text = refused(tmp_path, scene, source="vector", path="c.gpkg", code_field="code_8")
    assert "to 'CODE_18'" in text


def test_field_names():
    assert all(map(looks_like_code_field, ["CODE_18", "Code_18", "code_12", "CLC_CODE", "clc2018"]))
    assert not any(
        map(looks_like_code_field, ["", "_", "12", "AREA_HA", "cod_mun", "postcode", "ID"])
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (float("nan"), ""), (211.0, "211"), ("4.2.1", "421"), (-128, "-128")],
)
def test_value_text(value, text):
    assert value_text(value) == text


def test_unknown_codes(tmp_path, scene):
    country(values=["111", "211", "311", "777"]).to_file(tmp_path / "c.gpkg")
    text = refused(tmp_path, scene, source="vector", path="c.gpkg")
    assert "777 (1 polygons)" in text
    assert "111 to 523" in text
    found, _ = read(tmp_path, scene, source="vector", path="c.gpkg", unknown="nodata")
    assert found["code"].tolist() == ["111", "211", "311"]


def test_empty_codes_are_unknown(tmp_path, scene):
    country(values=["111", "211", "311", None]).to_file(tmp_path / "c.gpkg")
    assert "(empty) (1 polygons)" in refused(tmp_path, scene, source="vector", path="c.gpkg")


def test_official_no_data_code_is_left_out(tmp_path, scene):
    country(values=["111", "211", "311", "999"]).to_file(tmp_path / "c.gpkg")
    found, _ = read(tmp_path, scene, source="vector", path="c.gpkg")
    assert found["code"].tolist() == ["111", "211", "311"]


def test_invalid_polygons(tmp_path, scene):
    frame = country()
    left, bottom, right, top = frame.geometry[0].bounds
    frame.loc[0, "geometry"] = shapely.Polygon(
        [(left, bottom), (right, top), (right, bottom), (left, top)]  # a bow tie
    )
    frame.to_file(tmp_path / "c.gpkg")
    text = refused(tmp_path, scene, source="vector", path="c.gpkg")
    assert "Self-intersection" in text
    assert "'111'" in text
    assert "landcover.repair" in text
    found, check = read(tmp_path, scene, source="vector", path="c.gpkg", repair=True)
    assert check["repaired"] == 1
    assert found.is_valid.all()
    assert areas(found)["111"] == pytest.approx(SIDE**2 / 2)


def test_lines_are_no_land_cover(tmp_path, scene):
    frame = country()
    frame["geometry"] = frame.boundary
    frame.to_file(tmp_path / "c.gpkg")
    assert "LineString" in refused(tmp_path, scene, source="vector", path="c.gpkg")


def test_no_crs(tmp_path, scene):
    country().to_file(tmp_path / "c.shp")
    (tmp_path / "c.prj").unlink()
    text = refused(tmp_path, scene, source="vector", path="c.shp")
    assert "no CRS" in text
    assert "landcover.crs" in text
    found, _ = read(tmp_path, scene, source="vector", path="c.shp", crs=UTM)
    assert found.crs == UTM


def test_wrong_crs_name(tmp_path, scene):
    country().to_file(tmp_path / "c.gpkg")
    assert "EPSG:99" in refused(tmp_path, scene, source="vector", path="c.gpkg", crs="EPSG:99")


def test_elsewhere(tmp_path):
    country().to_file(tmp_path / "c.gpkg")
    far = write_scene(tmp_path / "far.json", left=LEFT + 100_000)
    text = refused(tmp_path, far, source="vector", path="c.gpkg")
    assert "does not overlap" in text
    assert "33.000 to" in text  # where the land cover is, in degrees


def test_land_cover_only_in_the_margin_does_not_overlap(tmp_path):
    country().to_file(tmp_path / "c.gpkg")
    near = write_scene(tmp_path / "near.json", left=LEFT + 2 * SIDE + 100)
    assert "does not overlap" in refused(tmp_path, near, source="vector", path="c.gpkg")


def test_scene_without_land_cover_beside_one_with_it_is_a_warning(tmp_path, scene, caplog):
    country().to_file(tmp_path / "c.gpkg")
    bare = write_scene(tmp_path / "bare.json", left=LEFT + 100_000)
    with caplog.at_level(logging.WARNING, "geolatents"):
        read(tmp_path, [scene, bare], source="vector", path="c.gpkg")
    assert "no land cover in scenes bare" in caplog.text


def test_only_the_area_of_interest_is_kept(tmp_path):
    country().to_file(tmp_path / "c.gpkg")
    small = write_scene(tmp_path / "small.json", left=LEFT + 100, top=TOP - 100, size=10)
    found, check = read(tmp_path, small, margin_pixels=2, source="vector", path="c.gpkg")
    assert check["codes"] == {"111": 1}
    assert found.total_bounds == pytest.approx([LEFT + 60, TOP - 340, LEFT + 340, TOP - 60])


def test_missing_file_names_what_is_there(tmp_path):
    country().to_file(tmp_path / "clc_2018.gpkg")
    with pytest.raises(LandCoverError, match=r"clc_2018\.gpkg"):
        landcover_files(LandCover(source="vector", path="clc2018.gpkg"), tmp_path)
    with pytest.raises(LandCoverError, match="no folder"):
        landcover_files(LandCover(source="sheets", path="sheets/*.png"), tmp_path)


def test_file_that_is_no_vector_or_raster(tmp_path, scene):
    (tmp_path / "c.gpkg").write_text("nothing")
    (tmp_path / "c.tif").write_text("nothing")
    (tmp_path / "c.parquet").write_text("nothing")
    assert "vector file" in refused(tmp_path, scene, source="vector", path="c.gpkg")
    assert "vector file" in refused(tmp_path, scene, source="vector", path="c.parquet")
    assert "as a raster" in refused(tmp_path, scene, source="raster", path="c.tif")


def test_overlap_within_a_class_is_united(tmp_path, scene):
    squares = [square(0, 0), shapely.affinity.translate(square(0, 0), 400, 0), square(0, 1)]
    frame = geopandas.GeoDataFrame({"CODE_18": ["111", "111", "211"]}, geometry=squares, crs=UTM)
    frame.to_file(tmp_path / "c.gpkg")
    found, check = read(tmp_path, scene, source="vector", path="c.gpkg")
    assert check["codes"] == {"111": 1, "211": 1}
    assert areas(found)["111"] == pytest.approx(1.4 * SIDE**2)


@pytest.mark.parametrize("inner", [square(0, 0), square(0, 0).buffer(-200)])
def test_doubled_and_nested_polygons_are_found(tmp_path, scene, inner, caplog):
    frame = geopandas.GeoDataFrame(
        {"CODE_18": ["111", "111"]}, geometry=[square(0, 0), inner], crs=UTM
    )
    frame.to_file(tmp_path / "c.gpkg")
    found, _ = read(tmp_path, scene, source="vector", path="c.gpkg")
    assert found.area.sum() == pytest.approx(SIDE**2)
    frame["CODE_18"] = ["111", "112"]
    frame.to_file(tmp_path / "c.gpkg")
    with caplog.at_level(logging.WARNING, "geolatents"):
        found, _ = read(tmp_path, scene, source="vector", path="c.gpkg")
    assert "different classes overlap" in caplog.text
    assert len(found) == 2


def test_order_of_features_does_not_matter(tmp_path, scene):
    country().to_file(tmp_path / "c.gpkg")
    first, _ = read(tmp_path, scene, source="vector", path="c.gpkg")
    country().iloc[::-1].to_file(tmp_path / "c.gpkg")
    second, _ = read(tmp_path, scene, source="vector", path="c.gpkg")
    assert first.equals(second)


def test_change_after_the_check_stops_the_read(tmp_path, scene):
    country().to_file(tmp_path / "c.gpkg")
    read(tmp_path, scene, source="vector", path="c.gpkg")
    country(values=["111", "211", "311", "312"]).to_file(tmp_path / "c.gpkg")
    settings = LandCover(source="vector", path="c.gpkg")
    files = landcover_files(settings, tmp_path)
    with pytest.raises(LandCoverError, match="changed since"):
        read_landcover(
            settings, files, corine(), [scene], tmp_path / "check.json", tmp_path / "o.parquet", 10
        )
    assert not (tmp_path / "o.parquet").exists()


# Rasters

GRID_CODES = {item.code: item.grid_code for item in corine().classes}
CODES = {item.code: int(item.code) for item in corine().classes}


@pytest.mark.parametrize(
    ("mapping", "dtype", "nodata"),
    [
        (CODES, "uint16", None),
        (CODES, "uint32", 4294967295),
        (CODES, "float32", -9999),
        (GRID_CODES, "uint8", None),
        (GRID_CODES, "int8", -128),
        (GRID_CODES, "uint8", 255),
    ],
)
def test_raster_values_are_recognised(tmp_path, scene, mapping, dtype, nodata):
    write_raster(tmp_path / "c.tif", raster_values(mapping, dtype), nodata=nodata)
    found, check = read(tmp_path, scene, source="raster", path="c.tif")
    assert check["values"] == ("code" if mapping is CODES else "grid_code")
    assert areas(found) == pytest.approx(dict.fromkeys(COUNTRY.values(), SIDE**2), rel=1e-9)
    assert found.crs == UTM


@pytest.mark.parametrize("value", [0, 48, 255])
def test_raster_no_data_values(tmp_path, scene, value):
    values = raster_values(GRID_CODES, "uint8")
    values[:10, :10] = value
    write_raster(tmp_path / "c.tif", values)
    found, _ = read(tmp_path, scene, source="raster", path="c.tif")
    assert "111" not in set(found["code"])
    assert found.area.sum() == pytest.approx(3 * SIDE**2)


def test_raster_of_positions(tmp_path, scene):
    codes = list(COUNTRY.values())
    mapping = {code: i for i, code in enumerate(codes, start=1)}
    write_raster(tmp_path / "c.tif", raster_values(mapping, "uint8"))
    found, _ = read(
        tmp_path, scene, source="raster", path="c.tif", values="position", classes=codes
    )
    assert areas(found) == pytest.approx(dict.fromkeys(codes, SIDE**2))
    text = refused(
        tmp_path, scene, source="raster", path="c.tif", values="position", classes=codes[:3]
    )
    assert "4 (100 pixels)" in text
    text = refused(
        tmp_path, scene, source="raster", path="c.tif", values="position", classes=["111", "700"]
    )
    assert "700" in text


def test_raster_unknown_values(tmp_path, scene):
    values = raster_values(GRID_CODES, "uint8")
    values[0, :3] = 77
    write_raster(tmp_path / "c.tif", values)
    assert "77 (3 pixels)" in refused(tmp_path, scene, source="raster", path="c.tif")
    found, _ = read(tmp_path, scene, source="raster", path="c.tif", unknown="nodata")
    assert found.area.sum() == pytest.approx(4 * SIDE**2 - 3 * 100**2)


def test_raster_without_crs_and_elsewhere(tmp_path, scene):
    write_raster(tmp_path / "c.tif", raster_values(CODES, "uint16"), crs=None)
    assert "no CRS" in refused(tmp_path, scene, source="raster", path="c.tif")
    read(tmp_path, scene, source="raster", path="c.tif", crs=UTM)
    text = refused(tmp_path, scene, source="raster", path="c.tif", crs="EPSG:32631")
    assert "does not overlap" in text


def test_picture_of_land_cover_is_refused(tmp_path, scene):
    write_raster(tmp_path / "c.tif", np.zeros((3, 20, 20), dtype=np.uint8))
    assert "3 bands of uint8" in refused(tmp_path, scene, source="raster", path="c.tif")


def test_axis_order_of_the_crs_does_not_turn_the_map(tmp_path):
    """EPSG:3042 is EPSG:25830 with the northing first; files keep x before y."""
    place = {"left": 453_000.0, "top": 4_099_000.0}
    scene = write_scene(tmp_path / "s.json", crs="EPSG:32630", **place)
    transform = Affine(100, 0, place["left"], 0, -100, place["top"])
    for crs in ("EPSG:3042", "EPSG:25830"):
        write_raster(
            tmp_path / "c.tif", raster_values(CODES, "uint16"), crs=crs, transform=transform
        )
        found, _ = read(tmp_path, scene, source="raster", path="c.tif")
        assert found.crs == crs
        assert found.total_bounds == pytest.approx([453_000, 4_097_000, 455_000, 4_099_000])


def test_large_raster_is_read_around_scenes_only(tmp_path, scene, monkeypatch):
    """Blocks do not change the land: pixel counts times pixel area, exactly."""
    import geolatents.acquire.landcover.raster as module

    generator = np.random.default_rng(1)
    values = generator.choice([111, 112, 211], size=(40, 60)).astype(np.uint16)
    transform = Affine(100, 0, LEFT - 1000, 0, -100, TOP + 1000)
    write_raster(tmp_path / "c.tif", values, transform=transform)
    inside = values[10:30, 10:30]  # the scene without margin
    expected = {str(code): float((inside == code).sum() * 1e4) for code in (111, 112, 211)}
    for block in (2048, 7):
        monkeypatch.setattr(module, "BLOCK", block)
        found, _ = read(tmp_path, scene, margin_pixels=0, source="raster", path="c.tif")
        found = found.clip(footprint(scene).polygon)
        assert areas(found) == pytest.approx(expected, rel=1e-12)
        assert found.is_valid.all()


# Boxes

BOXES = "left,top,right,bottom,class\n" + "\n".join(
    f"{LEFT + c * SIDE},{TOP - r * SIDE},{LEFT + (c + 1) * SIDE},{TOP - (r + 1) * SIDE},{code}"
    for (c, r), code in COUNTRY.items()
)


@pytest.mark.parametrize(
    "text",
    [
        BOXES,
        BOXES.partition("\n")[2],  # no header
        BOXES.replace(",", "; ") + "\n\n",
        "\ufeff" + BOXES.replace(",", "\t"),
        BOXES.replace("left,top", "Left,Top"),
    ],
)
def test_boxes(tmp_path, scene, text):
    (tmp_path / "b.csv").write_text(text, encoding="utf-8")
    found, _ = read(tmp_path, scene, source="boxes", path="b.csv", crs=UTM)
    assert areas(found) == pytest.approx(dict.fromkeys(COUNTRY.values(), SIDE**2))


def test_broken_boxes_are_named_by_row(tmp_path, scene):
    broken = ["1,2,3", "x,4,5,1,111", "10,20,5,1,111", "0,1,1,2,111", "0,2,nan,1,111", "0,2,1,1,"]
    (tmp_path / "b.csv").write_text(BOXES + "\n" + "\n".join(broken))
    text = refused(tmp_path, scene, source="boxes", path="b.csv", crs=UTM)
    assert "6 broken" in text
    assert "row 6: 3 cells instead of 5" in text
    assert "row 7: could not convert" in text
    assert "row 8: empty box" in text
    assert "row 9: empty box" in text
    assert "row 10: a coordinate" in text


def test_boxes_without_crs_columns_or_known_class(tmp_path, scene):
    (tmp_path / "b.csv").write_text(BOXES)
    assert "no CRS" in refused(tmp_path, scene, source="boxes", path="b.csv")
    (tmp_path / "b.csv").write_text(BOXES.replace("class", "code"))
    assert "add class" in refused(tmp_path, scene, source="boxes", path="b.csv", crs=UTM)
    (tmp_path / "b.csv").write_text(BOXES.replace(",111", ",urban"))
    assert "urban (1 boxes)" in refused(tmp_path, scene, source="boxes", path="b.csv", crs=UTM)
    (tmp_path / "b.csv").write_text("")
    assert "does not overlap" in refused(tmp_path, scene, source="boxes", path="b.csv", crs=UTM)


def test_boxes_are_straight_in_their_own_crs(tmp_path):
    """A box in degrees has a curved edge in metres; the area of interest must still hold it."""
    to_degrees = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    west, south = to_degrees.transform(LEFT - 9000, TOP - 9000)
    (tmp_path / "b.csv").write_text(f"{west},{south + 0.2},{west + 0.2},{south},211")
    scene = write_scene(tmp_path / "s.json")
    found, _ = read(tmp_path, scene, source="boxes", path="b.csv", crs="EPSG:4326")
    assert Scenes([scene], 10).area(found.crs).footprints[0].within(found.union_all())


# Sheets


def write_sheet(folder, name, codes, size=20):
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {code: i for i, code in enumerate(codes, start=1)}
    Image.fromarray(raster_values(mapping, "uint8", size // 2)).save(folder / f"{name}.png")


def world_file(pixel):
    return f"{pixel}\n0\n0\n{-pixel}\n{LEFT + pixel / 2}\n{TOP - pixel / 2}\n"


@pytest.mark.parametrize(
    ("sheet", "world", "photo_size"),
    [
        ("labels/a1.png", "labels/a1.pgw", None),
        ("labels/a1.png", "labels/a1.wld", None),
        ("labels/a1.png", "photos/a1.pgw", 20),
        ("labels/a1.png", "photos/a1.wld", 200),
        ("labels/a1_labels.png", "labels/a1.pgw", 40),
    ],
)
def test_sheets(tmp_path, scene, sheet, world, photo_size):
    codes = list(COUNTRY.values())
    write_sheet((tmp_path / sheet).parent, Path(sheet).stem, codes)
    (tmp_path / world).parent.mkdir(exist_ok=True)
    (tmp_path / world).write_text(world_file(2 * SIDE / (photo_size or 20)))
    if photo_size:
        photo = np.zeros((photo_size, photo_size, 3), dtype=np.uint8)
        Image.fromarray(photo).save((tmp_path / world).with_suffix(".png"))
    found, _ = read(
        tmp_path, scene, source="sheets", path=sheet, crs=UTM, values="position", classes=codes
    )
    assert areas(found) == pytest.approx(dict.fromkeys(codes, SIDE**2))
    assert found.dissolve("code").loc["211"].geometry.bounds == pytest.approx(square(1, 0).bounds)


def test_sheet_that_does_not_touch_the_scenes_is_left_out(tmp_path, scene):
    codes = list(COUNTRY.values())
    for name, shift in (("a", 0.0), ("b", 90_000.0)):
        write_sheet(tmp_path, name, codes)
        lines = world_file(100.0).split()
        lines[4] = str(float(lines[4]) + shift)
        (tmp_path / f"{name}.pgw").write_text("\n".join(lines))
    settings = {"source": "sheets", "crs": UTM, "values": "position", "classes": codes}
    found, check = read(tmp_path, scene, path="*.png", **settings)
    assert len(found) == 4
    assert len(check["files"]) == 2
    assert "does not overlap" in refused(tmp_path, scene, path="b.png", **settings)


def test_sheet_without_place_or_crs(tmp_path, scene):
    codes = list(COUNTRY.values())
    write_sheet(tmp_path / "labels", "a", codes)
    settings = {"source": "sheets", "path": "labels/*.png", "values": "position", "classes": codes}
    assert "no georeference" in refused(tmp_path, scene, crs=UTM, **settings)
    (tmp_path / "labels" / "a.pgw").write_text(world_file(100.0))
    assert "no CRS" in refused(tmp_path, scene, **settings)


def test_files_in_different_crs(tmp_path, scene):
    country().to_file(tmp_path / "a.gpkg")
    country(crs="EPSG:3035").to_file(tmp_path / "b.gpkg")
    text = refused(tmp_path, scene, source="vector", path="*.gpkg")
    assert "EPSG:3035, EPSG:32636" in text


def test_footprint_of_a_check_and_of_a_scene_without_crs(tmp_path, scene):
    record = json.loads(scene.read_text())
    check = tmp_path / "check-scene.json"
    check.write_text(json.dumps({"record": record, "n_tiles": 3}))
    assert footprint(check).polygon.equals(footprint(scene).polygon)
    check.write_text(json.dumps({"record": record | {"crs": None}}))
    with pytest.raises(LandCoverError, match="position on Earth"):
        footprint(check)
