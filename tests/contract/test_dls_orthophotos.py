"""Orthophotos over real sockets: every protocol stitches the truth, pixel for pixel, and respects the service's limits."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import yaml
from affine import Affine
from scipy import ndimage

from geolatents.acquire.dls_orthophotos import provider
from geolatents.acquire.dls_orthophotos.requests import Matrix, tiles_of_sheet
from geolatents.acquire.fetch.fetcher import preview
from geolatents.acquire.reader import open_recorded
from geolatents.acquire.record import build_record
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import AccessError, ConfigError, FetchError
from geolatents.geometry import Box
from geolatents.settings.dls_orthophotos import DlsOrthophotosImagery
from tests.services.base import CLOSED, HTML_PAGE, Answer, LocalService, cut_after
from tests.services.maps import ArcGis, Picture, TileMatrix, Wms, Wmts

ROOT = Path(__file__).resolve().parents[2]
CYPRUS = "EPSG:6312"
SHEET = 200  # pixels
PIXEL = 0.5  # metres
GET_MAP = "/maps/wms/getmap"
EXPORT = r"/arcgis/rest/services/.*/(export|exportImage)"
TILE = r"/arcgis/.*/tile/.*"


def unique_pixels(width: int, height: int) -> np.ndarray:
    """A picture in which no window looks like another: a shift of one pixel shows."""
    row, column = np.mgrid[:height, :width]
    mixed = (row * 7919 + column * 104729 + row * column * 31) % 251
    return np.stack([column % 256, row % 256, mixed], axis=-1).astype(np.uint8)


def cyprus_picture(width: int = 400, height: int = 300) -> Picture:
    """Land near Nicosia: 2 x 1.5 sheets of 100 m, half a sheet off their grid to the north."""
    return Picture(unique_pixels(width, height), CYPRUS, Affine(PIXEL, 0, 200_000, 0, -PIXEL, 374_450))  # fmt: skip


def area_of(picture: Picture, shrink: float = 1e-7) -> list[float]:
    west, south, east, north = picture.bounds_in("EPSG:4326")
    return [west + shrink, south + shrink, east - shrink, north - shrink]


class Run:
    """The three steps of the workflow, on one service."""

    def __init__(self, service: LocalService, folder: Path, search: dict[str, Any], **more: Any) -> None:  # fmt: skip
        self.service, self.folder, self.downloads = service, folder, folder / "downloads"
        root = service.url + ("/arcgis" if isinstance(service, ArcGis) else "")
        self.imagery = DlsOrthophotosImagery.model_validate(
            {
                "provider": "dls_orthophotos",
                "search": {"sheet": SHEET, "request_size": 128} | search,
                "product": more.pop("product", {}),
                "service": {"url": root, "rate": 10_000, "attempts": 1, "workers": 1} | more,
            }
        )

    def search(self) -> list[SceneItem]:
        found = provider.search(self.imagery, self.folder, self.downloads)
        # As the list of scenes keeps them.
        return [SceneItem.model_validate(json.loads(item.model_dump_json())) for item in found]

    def download(self, item: SceneItem) -> dict[str, Path]:
        return provider.download(item, self.imagery.product, self.imagery.service, self.downloads)

    def assemble(self, item: SceneItem, files: dict[str, Path], name: str = "") -> Path:
        output = self.folder / f"{item.scene}{name}.tif"
        provider.assemble(item, files, self.imagery.product, output)
        return output

    def sheets(self) -> dict[str, Path]:
        return {item.scene: self.assemble(item, self.download(item)) for item in self.search()}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time would go to the disk (power cuts are the fetcher's subject) and to delayed packets."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    monkeypatch.setattr("socketserver.StreamRequestHandler.disable_nagle_algorithm", True)


@pytest.fixture
def started() -> Any:
    with ExitStack() as stack:
        yield lambda service: stack.enter_context(service.running())


def assert_truth(sheets: dict[str, Path], picture: Picture, n_sheets: int) -> None:
    """Every sheet shows the picture's own pixels, masked where it ends."""
    assert len(sheets) == n_sheets
    shown = 0
    for file in sheets.values():
        with rasterio.open(file) as source:
            truth = picture.render(tuple(source.bounds), source.width, source.height, str(source.crs))  # fmt: skip
            assert source.descriptions == ("red", "green", "blue")
            np.testing.assert_array_equal(source.read(), np.moveaxis(truth[..., :3], -1, 0))
            np.testing.assert_array_equal(source.dataset_mask(), truth[..., 3])
            shown += int((truth[..., 3] > 0).sum())
    assert shown == picture.rgb.shape[0] * picture.rgb.shape[1]  # nothing of the area is missing


WMS = {"protocol": "wms", "source": "maps/wms", "layer": "ortho"}
MAP = {"protocol": "arcgis_map", "source": "rest/services/Basemaps/Ortho_2014/MapServer"}
IMAGE = {"protocol": "arcgis_image", "source": "rest/services/Basemaps/Ortho_2014/ImageServer"}
TILES = {"protocol": "arcgis_tiles", "source": MAP["source"]}


# ---- the truth, by every protocol


@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
def test_wms(version: str, started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(Wms(picture, crs=(CYPRUS,)))
    run = Run(service, tmp_path, WMS | {"area": area_of(picture), "version": version})
    assert_truth(run.sheets(), picture, 4)
    code = "CRS" if version == "1.3.0" else "SRS"
    maps = service.calls_to(GET_MAP)
    assert {call.query[code] for call in maps} == {CYPRUS}
    assert {(call.query["WIDTH"], call.query["HEIGHT"]) for call in maps} == {("100", "100")}
    assert len(maps) == 4 * 4
    assert len(service.calls_to("/maps/wms")) == 1  # capabilities, once


def test_a_wms_behind_a_proxy_is_asked_where_it_answers(started: Any, tmp_path: Path) -> None:
    """Capabilities that name a host of the provider's own network are common."""
    picture = cyprus_picture()
    service = started(Wms(picture, crs=(CYPRUS,), stated_root="http://maps.internal:8080"))
    search = WMS | {"area": area_of(picture), "source": "maps/wms?map=ortho.map"}
    assert_truth(Run(service, tmp_path, search).sheets(), picture, 4)
    assert {call.query["map"] for call in service.calls_to("/maps/wms")} == {"ortho.map"}


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035"])
@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
def test_wms_in_a_crs_that_counts_north_first(
    crs: str, version: str, started: Any, tmp_path: Path
) -> None:
    pixel, corner = {"EPSG:4326": (5e-6, (33.0, 35.1)), "EPSG:3035": (0.5, (6_430_000, 1_670_000))}[crs]  # fmt: skip
    picture = Picture(unique_pixels(300, 150), crs, Affine(pixel, 0, corner[0], 0, -pixel, corner[1]))  # fmt: skip
    service = started(Wms(picture, crs=(crs,)))
    search = WMS | {"crs": crs, "resolution": pixel, "version": version}
    # Exactly the picture: corners of boxes in degrees lie within, by the bend of EPSG:3035 not all.
    shrink = 1e-9 if crs == "EPSG:4326" else -1e-4
    sheets = Run(service, tmp_path, search | {"area": area_of(picture, shrink)}).sheets()
    assert len(sheets) >= 2
    shown = 0
    for file in sheets.values():
        with rasterio.open(file) as source:
            bounds = tuple(round(v / pixel) * pixel for v in source.bounds)
            truth = picture.render(bounds, SHEET, SHEET, crs)
            np.testing.assert_array_equal(source.read(), np.moveaxis(truth[..., :3], -1, 0))
            shown += int((source.dataset_mask() > 0).sum())
    assert shown == 300 * 150


def test_a_wms_that_ignores_the_axis_order_needs_the_setting(started: Any, tmp_path: Path) -> None:
    picture = Picture(unique_pixels(200, 200), "EPSG:4326", Affine(5e-6, 0, 33.0, 0, -5e-6, 35.1))
    service = started(Wms(picture, ignores_axis_order=True))
    search = WMS | {"crs": "EPSG:4326", "resolution": 5e-6, "area": area_of(picture)}

    def share_of_truth(folder: str, **more: str) -> float:
        file = next(iter(Run(service, tmp_path / folder, search | more).sheets().values()))
        with rasterio.open(file) as source:
            truth = picture.render(tuple(source.bounds), SHEET, SHEET, "EPSG:4326")
            return float((source.read() == np.moveaxis(truth[..., :3], -1, 0)).mean())

    assert share_of_truth("standard") < 0.1  # the swapped box shows other land
    assert share_of_truth("xy", axis_order="xy") == 1.0


@pytest.mark.parametrize("search", [MAP, MAP | {"layer": "0"}, IMAGE])
def test_arcgis_export(search: dict[str, Any], started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(ArcGis(picture))
    assert_truth(Run(service, tmp_path, search | {"area": area_of(picture)}).sheets(), picture, 4)
    exports = service.calls_to(EXPORT)
    assert len(exports) == 4 * 4
    for call in exports:
        assert call.query["bboxSR"] == call.query["imageSR"] == "6312"
        assert call.query["f"] == "image"
        assert call.query.get("adjustAspectRatio") == ("false" if search is IMAGE else None)
        assert call.query.get("layers") == ("show:0" if "layer" in search else None)


@pytest.mark.parametrize("limit", [(90, 128), (128, 70)])
def test_pieces_that_are_no_squares_are_not_stretched(
    limit: tuple[int, int], started: Any, tmp_path: Path
) -> None:
    picture = cyprus_picture()
    service = started(ArcGis(picture))

    def oblong(_call: Any, true: Answer) -> Answer:
        info = json.loads(true.body) | {"maxImageWidth": limit[0], "maxImageHeight": limit[1]}
        return Answer.json(info)

    service.fault("/arcgis/.*/ImageServer", oblong)
    assert_truth(Run(service, tmp_path, IMAGE | {"area": area_of(picture)}).sheets(), picture, 4)
    sizes = {tuple(map(int, call.query["size"].split(","))) for call in service.calls_to(EXPORT)}
    assert all(width <= limit[0] and height <= limit[1] for width, height in sizes)
    assert any(width != height for width, height in sizes)


def own_grid(n_tiles: int = 7) -> list[TileMatrix]:
    """Matrices whose finest but one has the sheets' pixels, and a corner off the sheets' grid."""
    return [
        TileMatrix(str(level), resolution, 199_987.5, 374_480.5, n_tiles * 2**level, n_tiles * 2**level)
        for level, resolution in enumerate([2.0, 1.0, 0.5, 0.25])
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["KVP", "REST"])
@pytest.mark.parametrize("blank", [True, False])
def test_wmts_on_the_sheets_own_pixels(
    encoding: str, blank: bool, started: Any, tmp_path: Path
) -> None:
    picture = cyprus_picture()
    service = started(Wmts(picture, own_grid(), CYPRUS, encoding, blank))
    search = {"protocol": "wmts", "source": service.source, "layer": "ortho"}
    run = Run(service, tmp_path, search | {"area": area_of(picture)})
    sheets = run.sheets()
    tiles = [call for call in service.calls if "GetTile" in call.query.values() or "/tile/" in call.path]  # fmt: skip
    levels = {call.query.get("TILEMATRIX") or call.path.split("/")[-3] for call in tiles}
    assert levels == {"2"}  # not the finer level, which has four times as many
    if blank:  # white tiles are masked, white borders of tiles cannot be told from white roofs
        assert len(sheets) == 4
    else:
        assert_truth(sheets, picture, 4)
    before = len(service.calls)
    for item in run.search():
        run.download(item)
    assert len(service.calls) == before + 1  # the search; absent tiles are remembered, too


def test_tiles_outside_the_stated_limits_are_not_asked_for(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture(330, 230)
    service = started(Wmts(picture, own_grid(), CYPRUS, states_limits=True))
    search = {"protocol": "wmts", "source": "wmts", "layer": "ortho", "area": area_of(picture)}
    assert_truth(Run(service, tmp_path, search).sheets(), picture, 4)
    rows, columns = service.limits(own_grid()[2])
    asked = {(int(c.query["TILEROW"]), int(c.query["TILECOL"])) for c in service.calls[1:]}
    assert asked == {(row, column) for row in rows for column in columns}
    assert len(service.calls) == 1 + len(asked)  # neighbouring sheets share tiles


def test_tile_addresses_may_lead_to_another_host(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    tiles = started(Wmts(picture, own_grid(), CYPRUS, "REST"))
    service = started(Wmts(picture, own_grid(), CYPRUS, "REST", tile_root=tiles.url))
    search = {"protocol": "wmts", "source": service.source, "layer": "ortho"}
    assert_truth(Run(service, tmp_path, search | {"area": area_of(picture)}).sheets(), picture, 4)
    assert len(service.calls) == 1
    assert len(tiles.calls) > 4


@pytest.mark.parametrize("states_box", [True, False])
def test_wmts_in_degrees(states_box: bool, started: Any, tmp_path: Path) -> None:
    """The corner of a matrix stands in the axis order of its CRS; a degree is one of the equator."""
    pixel = 360 / 2**26
    left, top = -180 + 39_730_000 * pixel, 90 - 10_235_000 * pixel
    picture = Picture(unique_pixels(300, 200), "EPSG:4326", Affine(pixel, 0, left, 0, -pixel, top))
    grid = TileMatrix("world", pixel, -180.0, 90.0, 2**20, 2**19)
    service = started(Wmts(picture, [grid], "EPSG:4326", states_box=states_box))
    search = {"protocol": "wmts", "source": "wmts", "layer": "ortho", "crs": "EPSG:4326", "resolution": pixel}  # fmt: skip
    sheets = Run(service, tmp_path, search | {"area": area_of(picture, 1e-9)}).sheets()
    assert_truth(sheets, picture, len(sheets))


def smooth_picture(resolution: float) -> Picture:
    """Web mercator pixels without fine detail, so that resampling keeps them."""
    random = np.random.default_rng(5)
    rgb = ndimage.gaussian_filter(random.uniform(0, 255, (700, 900, 3)), (9, 9, 0))
    rgb = (rgb - rgb.min()) / (rgb.max() - rgb.min()) * 250
    left, top = 3_673_500.0, 4_180_000.0
    return Picture(rgb.astype(np.uint8), "EPSG:3857", Affine(resolution, 0, left, 0, -resolution, top))  # fmt: skip


def world_grid() -> list[TileMatrix]:
    half = 20037508.342789244
    return [
        TileMatrix(str(z), 2 * half / 2**z / 64, -half, half, 2**z, 2**z) for z in range(17, 22)
    ]


@pytest.mark.parametrize("protocol", ["wmts", "arcgis_tiles"])
@pytest.mark.parametrize("resampling", ["cubic", "average"])
def test_tiles_of_another_crs_are_resampled_in_place(
    protocol: str, resampling: str, started: Any, tmp_path: Path
) -> None:
    picture = smooth_picture(0.25)
    if protocol == "wmts":
        service = started(Wmts(picture, world_grid()))
        search = {"protocol": "wmts", "source": "wmts", "layer": "ortho"}
    else:
        service = started(ArcGis(picture, levels=world_grid()))
        search = TILES
    run = Run(service, tmp_path, search | {"area": area_of(picture)}, product={"resampling": resampling})  # fmt: skip
    sheets = run.sheets()
    # 0.60 m at the equator is 0.49 m here: level 20 of 64-pixel tiles (18 of 256-pixel ones).
    levels = {
        call.query.get("TILEMATRIX") or call.path.split("/")[-3] for call in service.calls[1:]
    }
    assert levels == {"20"}
    compared = 0
    for file in sheets.values():
        with rasterio.open(file) as source:
            shown = np.moveaxis(source.read(), 0, -1).astype(float)
            usable, bounds = source.dataset_mask() > 0, np.array(source.bounds)
        truth = picture.render(tuple(bounds), SHEET, SHEET, CYPRUS)
        assert (usable == (truth[..., 3] > 0)).mean() > 0.98  # but for the edge
        inside = ndimage.binary_erosion(usable, iterations=6)
        if inside.sum() < 5000:
            continue
        half = PIXEL / 2
        errors = []
        for x, y in ((0, 0), (half, 0), (-half, 0), (0, half), (0, -half)):
            fine = picture.render(tuple(np.add(bounds, [x, y, x, y])), 2 * SHEET, 2 * SHEET, CYPRUS)
            truth = fine[..., :3].reshape(SHEET, 2, SHEET, 2, 3).mean(axis=(1, 3))
            errors.append(np.abs(shown - truth)[inside].mean())
        assert errors[0] < 1  # grey value
        assert errors[0] < min(errors[1:]) / 2  # half a pixel off is worse in every direction
        compared += 1
    assert compared >= 3


def test_strips_leave_no_seams(started: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The height of a strip bounds memory; it must not show in the pixels."""
    picture = smooth_picture(0.25)
    picture.rgb = np.random.default_rng(1).integers(0, 256, picture.rgb.shape, dtype=np.uint8)
    service = started(Wmts(picture, world_grid()))
    search = {"protocol": "wmts", "source": "wmts", "layer": "ortho", "area": area_of(picture)}
    run = Run(service, tmp_path, search)
    left, bottom, right, top = picture.bounds_in(CYPRUS)
    middle = shapely.Point((left + right) / 2, (bottom + top) / 2)
    item = min(run.search(), key=lambda i: shapely.box(*i.properties["bbox"]).centroid.distance(middle))  # fmt: skip
    files = run.download(item)
    shown = []
    for name, rows in (("-whole", 512), ("-strips", 48)):
        monkeypatch.setattr("geolatents.acquire.dls_orthophotos.stitch.BLOCK", rows)
        with rasterio.open(run.assemble(item, files, name)) as source:
            shown.append((source.read().astype(int), source.dataset_mask() > 0))
    (whole, usable), (strips, also_usable) = shown
    assert (usable != also_usable).mean() < 0.002
    assert np.abs(whole - strips)[:, usable & also_usable].max() <= 2
    assert usable.mean() > 0.5


def test_tiles_cover_their_sheet_and_the_kernel() -> None:
    """A tile that is missed at the edge of a sheet would be a gap between sheets."""
    half = 20037508.342789244
    matrices = [
        Matrix(str(z), "EPSG:3857", 2 * half / 2**z / 256, -half, half, 256, 256, (0, 2**z), (0, 2**z))
        for z in range(15, 21)
    ]  # fmt: skip
    transformer = pyproj.Transformer.from_crs(CYPRUS, "EPSG:3857", always_xy=True)
    for place in range(400):
        left, bottom = 150_000 + 331.5 * place, 350_000 + 127.0 * place
        bbox = (left, bottom, left + 100, bottom + 100)
        tiles = tiles_of_sheet(bbox, CYPRUS, PIXEL, matrices, "tile", {})
        assert tiles is not None
        used = replace(matrices[int(tiles.matrix) - 15], columns=tiles.columns, rows=tiles.rows)
        west, south, east, north = transformer.transform_bounds(*bbox, densify_pts=21)
        spare = np.array([west, south, east, north]) - used.bounds
        assert min(spare[0], spare[1], -spare[2], -spare[3]) >= 3.9 * tiles.resolution


def test_arcgis_tiles_on_the_sheets_own_pixels(started: Any, tmp_path: Path) -> None:
    """The grey picture that says "not available" is not asked for: ``blankTile=false``."""
    picture = cyprus_picture()
    service = started(ArcGis(picture, levels=own_grid()))
    run = Run(service, tmp_path, TILES | {"area": area_of(picture)})
    assert_truth(run.sheets(), picture, 4)
    assert {call.query["blankTile"] for call in service.calls_to(TILE)} == {"false"}


# ---- limits, the grid, the second run


@pytest.mark.parametrize(
    ("stated", "request_size", "longest"), [(64, 2500, 50), (None, 2500, 200), (4096, 128, 100)]
)
@pytest.mark.parametrize("protocol", ["wms", "arcgis_map", "arcgis_image"])
def test_requests_respect_the_limit_that_the_service_states(
    protocol: str, stated: int | None, request_size: int, longest: int, started: Any, tmp_path: Path
) -> None:
    picture = cyprus_picture()
    if protocol == "wms":
        service = started(Wms(picture, crs=(CYPRUS,), stated_limit=stated, limit=stated or 4096))
    else:
        service = started(ArcGis(picture, stated_limit=stated, limit=stated or 4096))
    search = {"wms": WMS, "arcgis_map": MAP, "arcgis_image": IMAGE}[protocol]
    run = Run(service, tmp_path, search | {"area": area_of(picture), "request_size": request_size})
    assert_truth(run.sheets(), picture, 4)
    sizes = [
        int(call.query.get("WIDTH") or call.query["size"].split(",")[0])
        for call in service.calls
        if {"WIDTH", "size"} & set(call.query)
    ]
    assert max(sizes) == longest


def test_another_area_finds_the_same_sheets(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture(800, 800)
    service = started(Wms(picture, crs=(CYPRUS,)))
    west, south, east, north = area_of(picture)
    wide = Run(service, tmp_path, WMS | {"area": [west, south, east, north]}).search()
    middle = (west + east) / 2
    narrow = Run(service, tmp_path, WMS | {"area": [middle, south, east, north]}).search()
    assert 0 < len(narrow) < len(wide)
    found = {item.scene: item for item in wide}
    assert all(found[item.scene] == item for item in narrow)
    assert [item.scene for item in wide] == sorted(found)
    assert all(item.properties["bbox"][0] % 100 == 0 for item in wide)
    assert narrow[0].scene == "maps-ortho-e2002-n3740"  # 200 200 m east, 374 000 m north


@pytest.mark.parametrize(
    ("points", "listed"),
    [
        ([(100, 200), (190, 300), (100, 300)], {"e4002-n7484", "e4002-n7485", "e4003-n7485"}),
        ([(100, 200), (150, 200), (150, 250), (100, 250)], {"e4002-n7484"}),  # exactly one sheet
    ],
    ids=["triangle", "sheet"],
)  # fmt: skip
def test_sheets_that_only_touch_the_area_are_not_listed(
    points: list[tuple[int, int]], listed: set[str], started: Any, tmp_path: Path
) -> None:
    picture = cyprus_picture(800, 800)
    service = started(Wms(picture, crs=(CYPRUS,)))
    ring = [[200_000 + x, 374_000 + y] for x, y in [*points, points[0]]]
    area = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::6312"}},
        "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}],
    }  # fmt: skip
    (tmp_path / "area.geojson").write_text(json.dumps(area))
    items = Run(service, tmp_path, WMS | {"area": "area.geojson", "resolution": 0.25}).search()
    assert {item.scene.removeprefix("maps-ortho-") for item in items} == listed
    footprint = items[0].geometry
    assert footprint["type"] == "Polygon"
    assert all(32.9 < x < 33.1 and 34.9 < y < 35.1 for x, y in footprint["coordinates"][0])


@pytest.mark.parametrize("search", [WMS, MAP, IMAGE, TILES])
def test_a_second_run_asks_for_nothing(search: dict[str, Any], started: Any, tmp_path: Path) -> None:  # fmt: skip
    picture = cyprus_picture()
    service = started(
        Wms(picture, crs=(CYPRUS,)) if search is WMS else ArcGis(picture, levels=own_grid())
    )
    run = Run(service, tmp_path, search | {"area": area_of(picture)})
    items = run.search()
    first = {item.scene: run.download(item) for item in items}
    assert len(service.calls) > len(items)
    service.calls.clear()
    assert {item.scene: run.download(item) for item in items} == first
    assert not service.calls


def test_services_of_two_hosts_are_kept_apart_by_name(started: Any, tmp_path: Path) -> None:
    one, other = cyprus_picture(), cyprus_picture()
    other.rgb = 255 - other.rgb
    runs = []
    for picture, name in ((one, "one"), (other, "other")):
        service = started(Wms(picture, crs=(CYPRUS,)))
        runs.append(Run(service, tmp_path, WMS | {"area": area_of(picture), "name": name}))
        assert_truth(runs[-1].sheets(), picture, 4)
    for run in runs:
        items = run.search()
        run.service.calls.clear()
        assert all(run.download(item) for item in items)
        assert not run.service.calls


@pytest.mark.parametrize("search", [WMS, TILES])
def test_planned_is_what_is_fetched(search: dict[str, Any], started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(
        Wms(picture, crs=(CYPRUS,)) if search is WMS else ArcGis(picture, levels=own_grid())
    )
    run = Run(service, tmp_path, search | {"area": area_of(picture)})
    item = run.search()[-1]
    service.calls.clear()
    plan = provider.planned(item, run.imagery.product, run.imagery.service)
    expected = preview(run.downloads, plan)
    assert expected.requests == len(plan) > 3
    assert (expected.there, expected.unknown) == (0, 0)
    assert expected.bytes > 0
    assert not service.calls
    run.download(item)
    assert len(service.calls) == expected.requests
    assert preview(run.downloads, plan).requests == 0


def test_formats(started: Any, tmp_path: Path) -> None:
    """JPEG is near the truth; land that the service does not show is white, and masked by whole requests."""
    picture = smooth_picture(0.5)
    picture = Picture(picture.rgb[:300, :400], CYPRUS, cyprus_picture().transform)
    service = started(Wms(picture, crs=(CYPRUS,)))
    west, south, east, north = area_of(picture)
    run = Run(service, tmp_path, WMS | {"area": [west, south, east, north], "format": "jpeg", "request_size": 100})  # fmt: skip
    sheets = run.sheets()
    masks = []
    for file in sheets.values():
        with rasterio.open(file) as source:
            truth = picture.render(tuple(source.bounds), SHEET, SHEET, CYPRUS).astype(float)
            shown = truth[..., 3] > 0
            difference = np.moveaxis(source.read(), 0, -1)[shown] - truth[shown, :3]
            assert np.abs(difference).mean() < 3
            masks.append((source.dataset_mask() > 0) == shown)
    assert np.all(masks)  # the picture ends with a request here


# ---- faults


@pytest.mark.parametrize(
    "answer",
    [
        HTML_PAGE,
        cut_after(500),
        CLOSED,
        Answer.text("busy", 503),
        Answer.text("the renderer is out of memory"),
        Answer.text('<?xml version="1.0"?><ServiceExceptionReport version="1.3.0" xmlns="http://www.opengis.net/ogc"><ServiceException>cannot draw now</ServiceException></ServiceExceptionReport>', kind="text/xml"),
        Answer.json({"error": {"code": 500, "message": "Error exporting map", "details": []}}),
    ],
    ids=["html", "cut", "closed", "503", "plain text", "xml without a code", "json 500"],
)  # fmt: skip
@pytest.mark.parametrize("search", [WMS, TILES])
def test_passing_faults_are_repeated(
    answer: Any, search: dict[str, Any], started: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("geolatents.acquire.fetch.http._wait", lambda _state: 0.0)
    picture = cyprus_picture(200, 200)
    service = started(
        Wms(picture, crs=(CYPRUS,)) if search is WMS else ArcGis(picture, levels=own_grid())
    )
    run = Run(service, tmp_path, search | {"area": area_of(picture)}, attempts=3)
    service.fault(GET_MAP if search is WMS else TILE, answer, times=2)
    assert_truth(run.sheets(), picture, 2)


@pytest.mark.parametrize(
    ("lying", "search", "attempts", "calls", "said"),
    [
        (Wms, WMS, 2, 2, "width and height may be 1 to 64"),  # no code: it may pass
        (ArcGis, MAP, 2, 1, "error 400: Unable to complete operation.; The requested image exceeds"),
    ],
)  # fmt: skip
def test_a_limit_that_is_not_stated_is_an_error_that_says_what_to_do(
    lying: Any, search: dict[str, Any], attempts: int, calls: int, said: str,
    started: Any, tmp_path: Path, monkeypatch: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr("geolatents.acquire.fetch.http._wait", lambda _state: 0.0)
    picture = cyprus_picture()
    service = started(lying(picture, limit=64, **({"crs": (CYPRUS,)} if lying is Wms else {})))
    more = {"attempts": attempts, "workers": 1}
    run = Run(service, tmp_path, search | {"area": area_of(picture)}, **more)
    item = run.search()[0]
    service.calls.clear()
    with pytest.raises(FetchError, match=rf"(?s){said}.*lower `search.request_size`"):
        run.download(item)
    boxes = [call.query.get("BBOX") or call.query["bbox"] for call in service.calls]
    assert boxes.count(boxes[0]) == calls
    assert not [file for file in run.downloads.rglob("*.png") if not file.name.startswith(".")]


def test_a_picture_of_another_size_is_refused(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(Wms(picture, crs=(CYPRUS,)))
    run = Run(service, tmp_path, WMS | {"area": area_of(picture)})
    item = run.search()[0]
    small = Wms(picture, crs=(CYPRUS,))

    def clamped(call: Any, _true: Answer) -> Answer:
        call.query["WIDTH"] = call.query["HEIGHT"] = "64"
        return small._map(call)

    service.fault(GET_MAP, clamped)
    with pytest.raises(FetchError, match=r"(?s)another size.*100 x 100.*64 x 64"):
        run.download(item)


@pytest.mark.parametrize("answer", [Answer.text("no such tile", 404), Answer(204)])
def test_a_sheet_without_any_tile_is_an_error(answer: Answer, started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(ArcGis(picture, levels=own_grid()))
    run = Run(service, tmp_path, TILES | {"area": area_of(picture)})
    item = run.search()[0]
    service.fault(TILE, answer, times=1000)
    with pytest.raises(FetchError, match=f"(?s){item.scene}.*404 for all.*delete the sheet"):
        run.download(item)


def test_a_window_that_is_not_found_is_an_error(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(ArcGis(picture))
    run = Run(service, tmp_path, MAP | {"area": area_of(picture)})
    item = run.search()[0]
    service.fault(EXPORT, Answer.text("not found", 404), times=4)
    with pytest.raises(FetchError, match="status 404"):
        run.download(item)


# ---- what the service does not offer


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"layer": "orto"}, "no layer 'orto'; did you mean 'ortho'"),
        ({"crs": "EPSG:32636"}, "(?s)no CRS 'EPSG:32636'.*EPSG:6312"),
        ({"crs": "EPSG:999999"}, "(?s)a CRS is not known.*EPSG:999999"),
        ({"style": "natura"}, "no style 'natura'; did you mean 'natural'"),
        ({"format": "jpeg"}, "(?s)no format 'image/jpeg'.*image/png"),
        ({"area": [12.0, 41.0, 12.1, 41.1]}, r"(?s)outside.*expected: within \[33,.*found: \[12, 41, 12.1, 41.1\]"),
        ({"resolution": 1e-7}, "(?s)too many sheets.*resolution"),
    ],
)  # fmt: skip
def test_what_a_wms_does_not_offer(
    search: dict[str, Any], message: str, started: Any, tmp_path: Path
) -> None:
    picture = cyprus_picture()
    service = started(Wms(picture, crs=(CYPRUS,), formats=("image/png",)))
    run = Run(service, tmp_path, WMS | {"area": area_of(picture)} | search)
    with pytest.raises(ConfigError, match=message):
        run.search()
    assert not service.calls_to(GET_MAP)


@pytest.mark.parametrize(
    ("search", "capabilities", "message"),
    [
        (MAP | {"layer": "7"}, None, "(?s)no layer '7'.*one of 0"),
        (MAP, ("Query,Data", "Image"), "(?s)no operation 'Map'.*Query"),
        (IMAGE, ("Map", "Metadata"), "no operation 'Image'"),
        (TILES, None, "no protocol 'arcgis_tiles'"),
        (MAP | {"area": [33.9, 35.4, 34.0, 35.5]}, None, "outside"),
    ],
)
def test_what_an_arcgis_service_does_not_offer(
    search: dict[str, Any], capabilities: Any, message: str, started: Any, tmp_path: Path
) -> None:
    picture = cyprus_picture()
    more = {"capabilities": capabilities} if capabilities else {}
    service = started(ArcGis(picture, **more))
    with pytest.raises(ConfigError, match=message):
        Run(service, tmp_path, {"area": area_of(picture)} | search).search()


def test_tiles_that_are_all_too_coarse(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(Wmts(picture, own_grid()[:2], CYPRUS))
    search = {"protocol": "wmts", "source": "wmts", "layer": "ortho", "area": area_of(picture)}
    with pytest.raises(ConfigError, match=r"(?s)no tiles of this resolution.*at least 1,"):
        Run(service, tmp_path, search).search()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (HTML_PAGE, FetchError, "capabilities|no JSON"),
        (Answer.text("<a>"), FetchError, "capabilities|no JSON"),
        (Answer.json({"error": {"code": 499, "message": "Token Required", "details": []}}), AccessError, "Token Required"),
        (Answer.json({"error": {"code": 404, "message": "Service not found", "details": []}}), FetchError, "Service not found"),
        (Answer.json({"currentVersion": 10.91, "folders": []}), FetchError, "no ArcGIS service|capabilities"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("search", [WMS, MAP])
def test_services_that_do_not_describe_themselves(
    search: dict[str, Any], answer: Any, error: type[Exception], message: str, started: Any, tmp_path: Path
) -> None:  # fmt: skip
    service = started(Wms(cyprus_picture()) if search is WMS else ArcGis(cyprus_picture()))
    service.fault(".*/wms|.*/MapServer", answer)
    with pytest.raises(error, match=message):
        Run(service, tmp_path, search | {"area": [33.0, 34.9, 33.1, 35.0]}).search()


def test_a_wms_of_another_version_says_so(started: Any, tmp_path: Path) -> None:
    """A server answers with the version that it has (06-042, 6.2.4)."""
    picture = cyprus_picture()
    service = started(Wms(picture, crs=(CYPRUS,)))
    old = Answer.text(service._document(latest=False), kind="application/vnd.ogc.wms_xml")
    service.fault("/maps/wms", old)
    with pytest.raises(FetchError, match=r"(?s)capabilities.*`search.version`"):
        Run(service, tmp_path, WMS | {"area": area_of(picture)}).search()


# ---- what comes out


def test_a_sheet_is_read_as_a_scene(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(Wms(picture, crs=(CYPRUS,)))
    search = WMS | {"area": area_of(picture), "acquired": "2014-06-01", "licence": "ask DLS"}
    run = Run(service, tmp_path, search)
    item = run.search()[1]  # half of it is land
    file = run.assemble(item, run.download(item))
    output = tmp_path / "record.json"
    with rasterio.open(file) as source:
        assert source.profile["tiled"]
        assert source.profile["compress"] == "deflate"
        record = build_record(item.scene, file, source, run.imagery.assembled(), output)
    assert (record.crs, record.bands, record.dtype) == (CYPRUS, ["red", "green", "blue"], "uint8")
    assert (record.acquired, record.licence) == ("2014-06-01", "ask DLS")
    with open_recorded(record, output) as reader:
        pixels, usable = reader.read(slice(0, SHEET), slice(0, SHEET))
    truth = picture.render(tuple(item.properties["bbox"]), SHEET, SHEET, CYPRUS)
    np.testing.assert_array_equal(usable, truth[..., 3] > 0)
    np.testing.assert_array_equal(pixels, truth[..., :3])
    assert not usable.all()


@pytest.mark.parametrize("size", [200, 1300])
def test_the_same_pieces_make_the_same_bytes(size: int, started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture(900, 900)
    service = started(Wms(picture, crs=(CYPRUS,)))
    run = Run(service, tmp_path, WMS | {"area": area_of(picture), "sheet": size, "request_size": 999})  # fmt: skip
    item = run.search()[0]
    files = run.download(item)
    assert len(files) == math.ceil(size / 999) ** 2
    one, other = run.assemble(item, files, "-a"), run.assemble(item, files, "-b")
    assert one.read_bytes() == other.read_bytes()
    with rasterio.open(one) as source:
        truth = picture.render(tuple(item.properties["bbox"]), size, size, CYPRUS)
        np.testing.assert_array_equal(np.moveaxis(source.read(), 0, -1), truth[..., :3])


def test_the_manifest_names_what_was_asked(started: Any, tmp_path: Path) -> None:
    picture = cyprus_picture()
    service = started(Wms(picture, crs=(CYPRUS,)))
    run = Run(service, tmp_path, WMS | {"area": area_of(picture), "licence": "CC-BY-4.0"})
    item = run.search()[0]
    files = run.download(item)
    rows = [json.loads(line) for line in (run.downloads / "dls_orthophotos/manifest.jsonl").read_text().splitlines()]  # fmt: skip
    assert {row["path"] for row in rows} == {file.relative_to(run.downloads).as_posix() for file in files.values()}  # fmt: skip
    assert {row["licence"] for row in rows} == {"CC-BY-4.0"}
    boxes = {tuple(map(float, row["request"]["params"]["BBOX"].split(","))) for row in rows}
    covered: Box = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))  # fmt: skip
    assert list(covered) == item.properties["bbox"]


@pytest.mark.parametrize(
    ("search", "name"),
    [
        ({}, "imagery-orthophoto-2014-10cm"),
        ({"name": "cyprus-2014"}, "cyprus-2014"),
        ({"protocol": "wms", "source": "geoserver/ows", "layer": "topp:ortho 2019"}, "geoserver-topp-ortho-2019"),
        ({"protocol": "wms", "source": "cgi-bin/mapserv?map=/data/o.map", "layer": "o"}, "mapserv-o"),
    ],
)  # fmt: skip
def test_names(search: dict[str, Any], name: str) -> None:
    imagery = DlsOrthophotosImagery.model_validate(
        {"provider": "dls_orthophotos", "search": {"area": [33, 34, 34, 35]} | search}
    )
    assert (imagery.search.name or provider.default_name(imagery.search)) == name


def test_the_configuration_of_the_docs_is_valid() -> None:
    text = (ROOT / "docs/providers/dls_orthophotos.md").read_text()
    blocks = [yaml.safe_load(part.split("```")[0]) for part in text.split("```yaml")[1:]]
    assert blocks
    for block in blocks:
        for dataset in block["datasets"].values():
            DlsOrthophotosImagery.model_validate(dataset["imagery"])
