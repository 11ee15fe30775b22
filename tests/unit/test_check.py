"""Bad scenes stop before anything is cut, with one clear message."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from scene_data import TRANSFORM, imagery, pixels, write

from geolatents.errors import NoTilesError, SceneError
from geolatents.files import sha256_file
from geolatents.settings.files import FilesImagery, ValidityMask
from geolatents.settings.landcover import LandCover
from geolatents.settings.synthetic import SyntheticImagery
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.check import check_scene, check_scenes, record_scene
from tests.makers import make_scene

TILES = TileSettings(size=16)


def check(path, tiles=TILES, **settings):
    output = path.parent / f"{path.stem}.check.json"
    check_scene(path.stem, path, imagery(**settings), tiles, output)
    return output


def scenes(folder, checks, year=None, unit=None, tiles=TILES):
    output, warnings = folder / "scenes.json", folder / "warnings.json"
    landcover = LandCover(source="synthetic", year=year, minimum_unit_ha=unit or 0)
    check_scenes(checks, landcover, tiles, output, warnings)
    return json.loads(output.read_text()), json.loads(warnings.read_text())["warnings"]


def test_a_record_says_all_that_a_reader_needs(tmp_path):
    mask = write(tmp_path / "scene_scl.tif", np.full((1, 25, 35), 4, dtype=np.uint8),
                 TRANSFORM @ Affine.scale(2))  # fmt: skip
    path = write(tmp_path / "scene.tif", pixels(), nodata=0, names=("b", "g", "r"))
    values = json.loads(
        check(
            path, mask=ValidityMask(kind="scl", suffix="_scl.tif"), acquired="2018-06-05"
        ).read_text()
    )
    assert values["n_tiles"] == 8  # the grid is anchored in the CRS: lines 100/48 pixels off
    assert values["valid_share"] == 1
    assert values["record"] == {
        "scene": "scene", "path": "scene.tif", "sha256": sha256_file(path), "crs": "EPSG:32636",
        "transform": [3, 0, 500_100, 0, -3, 3_900_300], "width": 70, "height": 50,
        "dtype": "uint16", "nodata": 0,
        "bands": ["b", "g", "r"], "band_indexes": [1, 2, 3], "scale": None,
        "mask": {"kind": "scl", "file": "scene_scl.tif", "sha256": sha256_file(mask),
                 "band_index": 1, "usable": [2, 4, 5, 6, 7, 11]},
        "acquired": "2018-06-05", "licence": "unknown", "provider": "files",
    }  # fmt: skip


def test_records_do_not_depend_on_where_the_data_lie(tmp_path, monkeypatch):
    texts = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        data = folder / "data"
        data.mkdir(parents=True)
        monkeypatch.setenv("GEOLATENTS_DATA", str(data))
        path = write(data / "scene.tif", pixels())
        write(data / "scene_m.tif", np.zeros((1, 50, 70), dtype=np.uint8))
        results = folder / "results"
        mask = ValidityMask(kind="udm", suffix="_m.tif")
        check_scene("scene", path, imagery(mask=mask), TILES, results / "checks" / "scene.json")
        record_scene(results / "checks" / "scene.json", results / "scenes" / "scene.json")
        texts.append((results / "scenes" / "scene.json").read_text())
    assert texts[0] == texts[1]
    assert '"path": "data:scene.tif"' in texts[0]


def test_paths_are_rewritten_for_another_folder(tmp_path):
    (tmp_path / "scenes").mkdir()
    path = write(tmp_path / "scenes" / "scene.tif", pixels())
    check_scene("scene", path, imagery(), TILES, tmp_path / "checks" / "scene.json")
    record_scene(tmp_path / "checks" / "scene.json", tmp_path / "scenes" / "scene.json")
    assert json.loads((tmp_path / "scenes" / "scene.json").read_text())["path"] == "scene.tif"


def test_synthetic_scenes_carry_their_date_and_names(tmp_path):
    path = write(tmp_path / "A1.tif", pixels(bands=4), names=("blue", "green", "red", "nir"))
    with rasterio.open(path, "r+") as target:
        target.update_tags(ACQUIRED="2018-06-05")
    output = tmp_path / "check.json"
    check_scene("A1", path, SyntheticImagery(provider="synthetic", region="A"), TILES, output)
    record = json.loads(output.read_text())["record"]
    assert record["acquired"] == "2018-06-05"
    assert record["bands"] == ["blue", "green", "red", "nir"]
    assert record["provider"] == "synthetic"


def test_planetscope_is_scaled_by_its_xml(tmp_path):
    data = np.full((2, 40, 40), 1000, dtype=np.uint16)
    path = write(tmp_path / "x_AnalyticMS.tif", data)
    (tmp_path / "x_AnalyticMS_metadata.xml").write_text(
        "<r><acquisitionDateTime>2018-06-05T08:00:00Z</acquisitionDateTime>"
        + "".join(
            f"<bandSpecificMetadata><bandNumber>{n}</bandNumber><reflectanceCoefficient>{n}e-5"
            "</reflectanceCoefficient></bandSpecificMetadata>"
            for n in (1, 2)
        )
        + "</r>"
    )
    record = json.loads(check(path, metadata="planetscope").read_text())["record"]
    assert record["scale"] == pytest.approx([0.1, 0.2])
    assert record["acquired"] == "2018-06-05T08:00:00+00:00"
    from geolatents.acquire.reader import open_scene

    record_scene(tmp_path / "x_AnalyticMS.check.json", tmp_path / "record.json")
    with open_scene(tmp_path / "record.json") as reader:
        found, _ = reader.read(slice(0, 1), slice(0, 1))
    assert found.dtype == np.uint16
    assert found[0, 0].tolist() == [100, 200]
    surface = write(tmp_path / "x_AnalyticMS_SR.tif", data)
    assert json.loads(check(surface, metadata="planetscope").read_text())["record"]["scale"] is None


BAD = {
    "no CRS": ({"crs": None}, {}, "has no CRS"),
    "no position": ({"transform": Affine.identity()}, {}, "has no position"),
    "rotated": ({"transform": TRANSFORM @ Affine.rotation(10)}, {}, "is rotated"),
    "band count": ({}, {"bands": ["red", "green"]}, "number of bands is not"),
    "same names": ({}, {"bands": ["red", "red", "blue"]}, "occurs twice"),
    "unknown band": ({"names": ("red", "green", "b")}, {"use_bands": ["gren"]}, "mean 'green'"),
    "unknown mask band": ({}, {"mask": ValidityMask(kind="scl", band="SCL")}, "no band 'SCL'"),
    "mask file": ({}, {"mask": ValidityMask(kind="udm2")}, "mask file is missing"),
    "mask unnamed": ({}, {"mask": ValidityMask(kind="scl")}, "neither a band nor a file"),
    "no XML": ({}, {"metadata": "planetscope"}, "metadata XML is missing"),
    "CRS of the configuration": ({"crs": None}, {"crs": "EPSG:nonsense"}, "is no CRS"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("case", BAD)
def test_bad_scenes_are_named(tmp_path, case):
    raster, settings, message = BAD[case]
    path = write(tmp_path / "scene.tif", pixels(), **raster)
    with pytest.raises(SceneError, match=message) as caught:
        check(path, **settings)
    assert "scene" in str(caught.value) or "imagery" in str(caught.value)
    assert not (tmp_path / "scene.check.json").exists()


def test_complex_pixels_are_refused(tmp_path):
    path = write(tmp_path / "scene.tif", pixels().astype("complex64"))
    with pytest.raises(SceneError, match="not of one integer or float type"):
        check(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scene.tif", {"driver": "GTiff", "compress": "deflate"}),
        ("scene.png", {"driver": "PNG", "tiled": None}),
        ("scene.jpg", {"driver": "JPEG", "tiled": None}),
        ("scene.jp2", {"driver": "JP2OpenJPEG", "tiled": None, "blockxsize": 64, "blockysize": 64}),
    ],
)
def test_truncated_images_are_found(tmp_path, name, options):
    if "blockxsize" not in options and options["driver"] != "GTiff":
        options = options | {"blockxsize": None, "blockysize": None}
    path = write(tmp_path / name, pixels((256, 256), dtype="uint8"), **options)
    assert check(path).is_file()
    (tmp_path / "scene.check.json").unlink()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.6)])
    with pytest.raises(SceneError, match="cannot be decoded") as caught:
        check(path)
    assert str(path) in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(SceneError, match="cannot be decoded"):
        check(path)


def test_scenes_must_fit_together(tmp_path):
    first = check(write(tmp_path / "s1.tif", pixels()))
    more = check(write(tmp_path / "s2.tif", pixels(bands=4)))
    other = check(write(tmp_path / "s3.tif", pixels(dtype="uint8")))
    names = check(write(tmp_path / "s4.tif", pixels(), names=("r", "g", "b")))
    assert scenes(tmp_path, [first, first])[0] == {
        "bands": ["band-1", "band-2", "band-3"], "dtype": "uint16",
    }  # fmt: skip
    for wrong, message in (
        (more, "number of bands"),
        (other, "pixel type"),
        (names, "bands differ"),
    ):
        with pytest.raises(SceneError, match=f"{message}.*'s1' and"):
            scenes(tmp_path, [first, wrong])


def test_an_empty_tile_set_says_why(tmp_path, caplog):
    logging.getLogger("geolatents").propagate = True
    tiles = TileSettings(size=64)
    small = check(write(tmp_path / "s1.tif", pixels()), tiles)
    assert "hold no tile of 64 x 64" in caplog.text
    empty = check(write(tmp_path / "s2.tif", np.zeros((3, 200, 200), "uint16"), nodata=0), tiles)
    with pytest.raises(NoTilesError, match="no scene leaves a tile") as caught:
        scenes(tmp_path, [small, empty], tiles=tiles)
    assert "none of" in str(caught.value)
    whole = check(write(tmp_path / "s3.tif", pixels((200, 200))), tiles)
    assert len(scenes(tmp_path, [small, empty, whole], tiles=tiles)[1]) == 2


def test_warnings_of_years_and_minimum_unit(tmp_path):
    path = write(tmp_path / "s1.tif", pixels())
    old = check(path, acquired="2014-12-31")
    _, warnings = scenes(tmp_path, [old], 2018, 25.0)
    assert len(warnings) == 2
    assert "4 years" in warnings[0]
    assert "0.23 ha" in warnings[1]  # (16 x 3 m)^2
    near = check(path, acquired="2015-01-01")
    assert scenes(tmp_path, [near], 2018, 0.23)[1] == []
    assert scenes(tmp_path, [near], None, None)[1] == []


def test_area_of_tiles_in_degrees_and_feet(tmp_path):
    degrees = Affine(0.001, 0, 33, 0, -0.001, 60)
    path = write(tmp_path / "s1.tif", pixels(), degrees, crs="EPSG:4326")
    (text,) = scenes(tmp_path, [check(path)], None, 1e6)[1]
    assert 140 < float(text.split()[2]) < 165  # 16 x 16 pixels of 56 m x 111 m at 60 degrees north
    path = write(tmp_path / "s2.tif", pixels(), crs="EPSG:2263")
    (text,) = scenes(tmp_path, [check(path)], None, 1e6)[1]
    assert float(text.split()[2]) == pytest.approx((48 * 0.3048) ** 2 / 1e4, abs=0.006)


def test_an_unused_alpha_band_is_told(tmp_path):
    path = write(
        tmp_path / "s1.tif", pixels(bands=4, dtype="uint8"), photometric="RGB", alpha="YES"
    )
    values = json.loads(check(path, bands=["red", "green", "blue"]).read_text())
    assert values["record"]["bands"] == ["red", "green", "blue"]
    assert "alpha band" in values["warnings"][0]
    masked = check(path, mask=ValidityMask(kind="alpha"))
    assert json.loads(masked.read_text())["warnings"] == []


def test_a_local_crs_is_kept_as_wkt(tmp_path):
    crs = "+proj=laea +lat_0=35 +lon_0=33 +x_0=500000 +y_0=3900000 +ellps=GRS80 +units=m"
    path = write(tmp_path / "s1.tif", pixels(), crs=crs)
    assert "PROJC" in json.loads(Path(check(path)).read_text())["record"]["crs"]


def test_a_scene_is_compared_with_another_one(tmp_path) -> None:
    mine, broken = make_scene(tmp_path / "mine.tif"), tmp_path / "broken.tif"
    broken.write_bytes(b"no image")
    others = {"broken": broken, "other": make_scene(tmp_path / "other.tif", bands=3)}
    imagery = FilesImagery(provider="files", files=["*.tif"])
    with pytest.raises(SceneError, match="band"):
        check_scene("mine", mine, imagery, TileSettings(size=16), tmp_path / "c.json", others)
    others.pop("other")
    check_scene("mine", mine, imagery, TileSettings(size=16), tmp_path / "c.json", others)


def test_a_scene_without_tiles_needs_another_one_with_tiles(tmp_path) -> None:
    small, large = make_scene(tmp_path / "small.tif", side=64), make_scene(tmp_path / "large.tif")
    imagery = FilesImagery(provider="files", files=["*.tif"])
    settings = TileSettings(size=100)
    check_scene("small", small, imagery, settings, tmp_path / "c.json", {"large": large})
    with pytest.raises(NoTilesError, match="no scene leaves a tile"):
        check_scene("small", small, imagery, settings, tmp_path / "c.json", {"again": small})


def test_a_named_fourth_band_is_an_image_though_gdal_calls_it_alpha(tmp_path):
    path = write(tmp_path / "s1.tif", pixels(bands=4, dtype="uint8"))
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    values = json.loads(check(path, bands=["red", "green", "blue", "nir"]).read_text())
    assert values["record"]["bands"] == ["red", "green", "blue", "nir"]
    assert values["warnings"] == []
    called = json.loads(check(path, bands=["red", "green", "blue", "alpha"]).read_text())
    assert called["record"]["bands"] == ["red", "green", "blue"]
    masked = check(path, bands=["red", "green", "blue", "nir"], mask=ValidityMask(kind="alpha"))
    assert json.loads(masked.read_text())["record"]["bands"] == ["red", "green", "blue"]
