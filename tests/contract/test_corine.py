"""CORINE polygons over real sockets, from a service that follows Esri's documentation."""

import dataclasses
import json
import threading

import geopandas
import numpy as np
import pyproj
import pytest
import requests
import shapely

from geolatents.acquire.corine.layer import MOST_CORNERS, in_laea, query_around
from geolatents.acquire.corine.provider import (
    PATIENCE,
    combine_corine,
    download_corine,
    planned_corine,
)
from geolatents.acquire.fetch.fetcher import preview
from geolatents.acquire.landcover.read import check_landcover, read_landcover
from geolatents.errors import AccessError, FetchError, LandCoverError
from geolatents.nomenclature import corine
from geolatents.settings.corine import LAYERS, CorineProduct, CorineService
from geolatents.settings.landcover import LandCover
from tests.services.arcgis_features import (
    INVALID_TOKEN,
    TOKEN_REQUIRED,
    UNAVAILABLE,
    ArcgisFeatures,
    arcgis_error,
    bad_query,
)
from tests.services.base import CLOSED, HTML_PAGE, Answer

AREA = shapely.box(33.05, 34.70, 33.35, 34.95)  # 27 km by 28 km in the south of Cyprus
TO_LAEA = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3035", always_xy=True)
LEFT, BOTTOM, SIDE = 6_408_000.0, 1_606_000.0, 46_000.0  # around it, in EPSG:3035


def country(n=260, seed=2):
    """Polygons of CLC 2018 in its official form: cells of a mosaic, lakes with islands, parts apart."""
    generator = np.random.default_rng(seed)
    points = shapely.points(generator.uniform((LEFT, BOTTOM), (LEFT + SIDE, BOTTOM + SIDE), (n, 2)))
    mosaic = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(points)))
    cells = shapely.intersection(mosaic, shapely.box(LEFT, BOTTOM, LEFT + SIDE, BOTTOM + SIDE))
    outlines = list(cells)
    for i in range(0, n - 20, 9):  # a lake in a cell, and an island in it that belongs to the cell
        lake = outlines[i].buffer(-300)
        outlines[i] = shapely.union(outlines[i] - lake, lake.buffer(-300))
        outlines[i + 1] = shapely.union(outlines[i + 1], outlines[i + 15].buffer(-200))
        outlines[i + 15] = outlines[i + 15] - outlines[i + 15].buffer(-200)
    codes = generator.choice(corine().codes, len(outlines))
    frame = geopandas.GeoDataFrame(
        {
            "Code_18": codes,
            "Remark": "",
            "Area_Ha": shapely.area(outlines) / 1e4,
            "ID": [f"EU-{i + 1}" for i in range(len(outlines))],
        },
        geometry=outlines,
        index=np.arange(1, len(outlines) + 1),
        crs="EPSG:3035",
    )
    assert {"Polygon", "MultiPolygon"} == set(frame.geom_type)
    return frame


COUNTRY = country()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Between attempts; the pace and the waits have tests of their own."""
    monkeypatch.setattr("geolatents.acquire.fetch.http._wait", lambda _state: 0.005)


def in_area(frame, area=AREA):
    """Numbers of the polygons that touch an area, independently of the client."""
    dense = shapely.segmentize(area, 0.0005)
    moved = shapely.transform(dense, TO_LAEA.transform, interleaved=False)
    return frame.index.to_numpy()[shapely.intersects(moved, frame.geometry.to_numpy())]


def settings(service, **changes):
    return CorineService(url=service.root, rate=10_000, attempts=3, timeout=10, **changes)


def downloaded(service, folder, area=AREA, **product):
    chosen = CorineProduct(**product)
    pages = download_corine(area, chosen, settings(service), folder / "downloads")
    output = folder / "corine.parquet"
    combine_corine(pages, chosen, area, output)
    return geopandas.read_parquet(output)


def check_truth(found, frame, area=AREA, tolerance=0.0):
    """What came is the truth: numbers, attributes, outlines corner by corner."""
    numbers = in_area(frame, area)
    assert 20 < len(numbers) < len(frame)
    assert found.crs == "EPSG:3035"
    assert found["objectid"].tolist() == numbers.tolist()
    truth = frame.loc[numbers].reset_index(drop=True)
    code = next(name for name in frame.columns if name.lower().startswith("code"))
    assert found["code"].tolist() == truth[code].tolist()
    assert found["area_ha"].tolist() == truth["Area_Ha"].tolist()
    assert found["id"].tolist() == truth["ID"].tolist()
    one, other = shapely.normalize(found.geometry.to_numpy()), shapely.normalize(truth.geometry.to_numpy())  # fmt: skip
    if tolerance == 0:
        assert shapely.equals_identical(one, other).all()
    else:
        apart = shapely.area(shapely.symmetric_difference(one, other))
        assert (apart <= tolerance * shapely.length(other)).all()


def offsets(service):
    return [
        int(call.form["resultOffset"])
        for call in service.calls_to(service.query_path)
        if "resultOffset" in call.form
    ]


# Pages


@pytest.mark.parametrize("cap", [1000, 25])
def test_all_polygons_of_the_area_come_whole(tmp_path, cap):
    with ArcgisFeatures(COUNTRY, cap=cap).running() as service:
        found = downloaded(service, tmp_path)
    check_truth(found, COUNTRY)
    expected = list(
        range(0, len(found) + 1, cap)
    )  # the service's limit counts, not what we ask for
    assert offsets(service) == expected
    assert found.total_bounds[0] < in_laea(AREA).bounds[0] - 100  # whole, not clipped
    assert [call.method for call in service.calls] == ["GET"] + ["POST"] * (len(expected) + 1)


def test_years_differ_in_layer_field_and_crs(tmp_path):
    """Layers in web mercator, whose numbers are called FID; corners come back as they were mapped."""
    old = COUNTRY.rename(columns={"Code_18": "Code_12"})
    mercator = old.set_geometry(
        shapely.transform(
            old.geometry.to_numpy(),
            pyproj.Transformer.from_crs("EPSG:3035", "EPSG:3857", always_xy=True).transform,
            interleaved=False,
        ),
        crs="EPSG:3857",
    )
    with ArcgisFeatures(mercator, "CLC2012_WM", object_id="FID").running() as service:
        found = downloaded(service, tmp_path, year=2012)
    check_truth(found, old, tolerance=0.002)  # metres
    assert {call.path for call in service.calls} == {service.layer_path, service.query_path}


@pytest.mark.parametrize("name", ["CODE_18", "code_18", "Code_18", "CLC_CODE"])
def test_letter_case_of_fields(tmp_path, name):
    frame = COUNTRY.rename(columns={"Code_18": name})
    with ArcgisFeatures(frame).running() as service:
        found = downloaded(service, tmp_path)
    assert found["code"].tolist() == frame[name].loc[in_area(frame)].tolist()


def test_layer_with_nothing_but_codes(tmp_path):
    """A mirror need not have the other fields, nor count from 1."""
    frame = COUNTRY[["Code_18", "geometry"]].reset_index(drop=True)
    with ArcgisFeatures(frame).running() as service:
        found = downloaded(service, tmp_path)
    assert found["objectid"].tolist() == in_area(frame).tolist()
    assert found["code"].tolist() == frame["Code_18"].loc[in_area(frame)].tolist()
    assert found[["area_ha", "id"]].isna().all().all()


@pytest.mark.parametrize("flag", ["top", "properties"])
def test_full_last_page_and_short_pages_that_say_more(tmp_path, flag):
    n = len(in_area(COUNTRY))
    with ArcgisFeatures(COUNTRY, cap=n // 2, flag=flag).running() as service:
        service.shorten = lambda offset, length: length - 7 if offset == 0 else length
        check_truth(downloaded(service, tmp_path), COUNTRY)
    assert offsets(service) == [0, n // 2 - 7, 2 * (n // 2) - 7]
    even = COUNTRY.loc[in_area(COUNTRY)[: n // 2 * 2]]
    with ArcgisFeatures(even, cap=n // 2).running() as service:
        assert len(downloaded(service, tmp_path / "even")) == len(even)
    assert offsets(service) == [0, n // 2, n // 2 * 2]  # the last is empty


def test_rows_that_are_filtered_after_paging(tmp_path):
    """A thin diagonal area: most rows of its bounds are none of its polygons, some pages have none at all."""
    area = shapely.LineString([(33.0, 34.65), (33.4, 34.98)]).buffer(0.002)
    with ArcgisFeatures(COUNTRY, cap=6, rows_first=True).running() as service:
        found = downloaded(service, tmp_path, area)
    check_truth(found, COUNTRY, area)


def test_area_of_many_corners_and_parts(tmp_path):
    generator = np.random.default_rng(3)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 3000))
    radius = generator.uniform(0.05, 0.12, 3000)
    star = shapely.Polygon(np.c_[33.2 + radius * np.cos(angles), 34.8 + radius * np.sin(angles)])
    area = shapely.union(shapely.make_valid(star), shapely.box(33.38, 34.9, 33.4, 34.92))
    product, service = CorineProduct(), CorineService()
    query = query_around(area, product, service)
    rings = json.loads(query.outline)["rings"]
    assert sum(map(len, rings)) <= MOST_CORNERS
    outline = shapely.union_all([shapely.Polygon(ring) for ring in rings if not is_hole(ring)])
    outline -= shapely.union_all([shapely.Polygon(ring) for ring in rings if is_hole(ring)])
    assert outline.covers(in_laea(area))
    with ArcgisFeatures(COUNTRY).running() as running:
        found = downloaded(running, tmp_path, area)
    check_truth(found, COUNTRY, area)


def is_hole(ring):
    """Outer rings are clockwise (Geometry objects)."""
    return bool(shapely.is_ccw(shapely.LinearRing(ring)))


def test_what_is_asked_holds_the_area_and_little_more():
    query = query_around(AREA, CorineProduct(), CorineService())
    (ring,) = json.loads(query.outline)["rings"]
    outline, area = shapely.Polygon(ring), in_laea(AREA)
    assert outline.covers(area)
    assert not is_hole(ring)
    assert outline.hausdorff_distance(area) < 30


# What is there is not asked for again


def test_second_run_asks_nothing(tmp_path):
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        first = downloaded(service, tmp_path)
        service.calls.clear()
        assert downloaded(service, tmp_path).equals(first)
        assert service.calls == []


def test_broken_run_continues_at_the_first_missing_page(tmp_path):
    n = len(in_area(COUNTRY))
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        stop_at_offset(service, 50)
        with pytest.raises(FetchError, match="complete is kept"):
            downloaded(service, tmp_path)
        service.calls.clear()
        service.faults.clear()
        check_truth(downloaded(service, tmp_path), COUNTRY)
        assert [call.path for call in service.calls] == [service.query_path] * len(offsets(service))
        assert offsets(service) == [50, 25, *range(75, n + 1, 25)]  # 25: is it as before?


def stop_at_offset(service, offset):
    service.fault(
        service.query_path,
        lambda call, true: None if call.form.get("resultOffset") == str(offset) else true,
        times=100,
    )


@pytest.mark.parametrize("change", ["fewer", "other"])
def test_service_that_changes_between_runs_is_asked_for_everything_once_more(tmp_path, change):
    n = len(in_area(COUNTRY))
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        stop_at_offset(service, 50)
        with pytest.raises(FetchError):
            downloaded(service, tmp_path)
        service.faults.clear()
        service.calls.clear()
        first = in_area(COUNTRY)[3]  # on a page that is there
        service.frame = COUNTRY.drop(index=first)
        if change == "other":  # and another one at the end: the count is as before
            new = COUNTRY.loc[[first]].rename(index={first: 9999})
            service.frame = geopandas.pd.concat([service.frame, new])
        found = downloaded(service, tmp_path)
        check_truth(found, service.frame)
        assert len(found) == n - (change == "fewer")
        counts = [call for call in service.calls if "returnCountOnly" in call.form]
        assert len(counts) == 1
        assert offsets(service)[:2] == [50, 25]  # the last page of before is looked at again
        assert offsets(service)[2:] == list(range(0, len(found) + 1, 25))


def wrong_count(service, by, times):
    def change(call, true):
        if "returnCountOnly" not in call.form:
            return true
        return Answer.json({"count": json.loads(true.body)["count"] + by})

    service.fault(service.query_path, change, times=times)


@pytest.mark.parametrize("by", [1, -1])
def test_service_that_miscounts(tmp_path, by):
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        wrong_count(service, by, times=1)  # once: everything is asked for once more, and is right
        check_truth(downloaded(service, tmp_path), COUNTRY)
        (count,) = tmp_path.rglob("count.json")
        n = json.loads(count.read_text())["count"]
        service.calls.clear()
        wrong_count(service, by, times=100)
        with pytest.raises(FetchError) as caught:
            downloaded(service, tmp_path / "twice")
    text = str(caught.value)
    assert f"expected: {n + by} polygons" in text
    assert f"found: {n} different ones" in text
    assert len([call for call in service.calls if "returnCountOnly" in call.form]) == 2
    assert not list((tmp_path / "twice").rglob("page*"))


def test_service_that_repeats_its_first_page(tmp_path):
    class Stuck(ArcgisFeatures):
        def _page(self, rows, asked):
            return rows[: self.cap], True

    with Stuck(COUNTRY, cap=25).running() as service:
        with pytest.raises(FetchError, match="another number"):
            downloaded(service, tmp_path)
        assert len(service.calls) <= 2 * (PATIENCE + 3)


def test_doubled_polygons_count_once(tmp_path):
    """Pages that overlap, as where rows are inserted while pages are asked for."""

    class Overlapping(ArcgisFeatures):
        def _page(self, rows, asked):
            start = max(0, int(asked["resultOffset"]) - 3)
            return rows[start : start + self.cap], start + self.cap < len(rows)

    with Overlapping(COUNTRY, cap=25).running() as service:
        check_truth(downloaded(service, tmp_path), COUNTRY)


def test_two_at_once_ask_no_more_than_one(tmp_path):
    def run():
        pages.append(download_corine(AREA, CorineProduct(), settings(service), tmp_path))

    pages = []
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(pages) == 3
    assert pages[0] == pages[1] == pages[2]
    assert len(service.calls) == 2 + len(pages[0])


# Errors


def code_in_200(code):
    return arcgis_error(code, "Error performing query operation")


@pytest.mark.parametrize(
    "answer", [code_in_200(500), code_in_200(-2147467259), UNAVAILABLE, HTML_PAGE, CLOSED]
)
def test_passing_troubles_are_repeated(tmp_path, answer):
    with ArcgisFeatures(COUNTRY, cap=50).running() as service:
        for path in (service.layer_path, service.query_path):
            service.fault(path, answer, times=2)
        check_truth(downloaded(service, tmp_path), COUNTRY)


@pytest.mark.parametrize("answer", [code_in_200(500), UNAVAILABLE, HTML_PAGE])
def test_lasting_troubles_leave_no_broken_page(tmp_path, answer):
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        service.fault(
            service.query_path,
            lambda call, true: answer if call.form.get("resultOffset") == "25" else true,
            times=100,
        )
        with pytest.raises(FetchError, match="try again later"):
            downloaded(service, tmp_path)
        assert offsets(service) == [0, 25, 25, 25]
    (page,) = tmp_path.rglob("page*.json")
    assert page.name == "page-0000000.json"


@pytest.mark.parametrize("answer", [TOKEN_REQUIRED, INVALID_TOKEN])
def test_service_that_wants_a_token(tmp_path, answer):
    with ArcgisFeatures(COUNTRY).running() as service:
        service.fault(service.query_path, answer, times=100)
        with pytest.raises(AccessError, match=r"error 49[89]: .*oken") as caught:
            downloaded(service, tmp_path)
        assert len(service.calls_to(service.query_path)) == 1
    assert "docs/providers/corine.md" in str(caught.value)


def test_request_that_the_service_refuses_is_not_repeated(tmp_path):
    with ArcgisFeatures(COUNTRY).running() as service:
        service.fault(service.query_path, bad_query("'geometry' parameter is invalid"), times=100)
        with pytest.raises(
            FetchError, match=r"error 400: Unable to complete operation\.; 'geometry'"
        ):
            downloaded(service, tmp_path)
        assert len(service.calls_to(service.query_path)) == 1


@pytest.mark.parametrize("change", ["crs", "geometry", "numbers", "list"])
def test_pages_that_are_not_what_was_asked_for(tmp_path, change):
    def changed(call, true):
        page = json.loads(true.body)
        if "features" not in page:
            return true
        if change == "crs":
            page["spatialReference"] = {"wkid": 102100, "latestWkid": 3857}
        elif change == "geometry":
            del page["features"][5]["geometry"]
        elif change == "numbers":
            del page["features"][5]["attributes"]["OBJECTID"]
        else:
            page = page["features"]
        return Answer.json(page)

    with ArcgisFeatures(COUNTRY).running() as service:
        service.fault(service.query_path, changed, times=100)
        with pytest.raises(FetchError, match="whole, numbered polygons in EPSG:3035"):
            downloaded(service, tmp_path)


def test_count_that_is_none(tmp_path):
    with ArcgisFeatures(COUNTRY).running() as service:
        service.fault(service.query_path, Answer.json({"objectIds": []}), times=100)
        with pytest.raises(FetchError, match="a count of polygons"):
            downloaded(service, tmp_path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"geometryType": None, "fields": None, "type": "Raster Layer"}, "Raster Layer"),
        ({"geometryType": "esriGeometryPoint"}, "esriGeometryPoint"),
        ({"advancedQueryCapabilities": {"supportsPagination": False}}, '"paging":false'),
    ],
)
def test_layer_that_is_of_no_use(tmp_path, change, text):
    with ArcgisFeatures(COUNTRY).running() as service:
        service.fault(
            service.layer_path, lambda _, true: Answer.json(json.loads(true.body) | change), 100
        )
        with pytest.raises(FetchError) as caught:
            downloaded(service, tmp_path)
        assert len(service.calls) == 1
    assert text in str(caught.value)
    assert "product.layer" in str(caught.value)


def test_layer_of_another_year(tmp_path):
    with (
        ArcgisFeatures(COUNTRY).running() as service,
        pytest.raises(FetchError, match=r"no field of the codes of 2012") as caught,
    ):
        downloaded(service, tmp_path, year=2012, layer="CLC2018_LAEA/MapServer/0")
    assert "Code_18" in str(caught.value)


def test_area_without_corine(tmp_path):
    far = shapely.box(-60.0, 10.0, -59.9, 10.1)
    with ArcgisFeatures(COUNTRY).running() as service:
        for _ in range(2):  # a count of none is not kept: it may have been a mistake
            with pytest.raises(FetchError, match="no polygons in the area"):
                downloaded(service, tmp_path, far)
        assert len(service.calls) == 4
    with pytest.raises(FetchError, match="no polygons"):
        query_around(shapely.Polygon(), CorineProduct(), CorineService())


# The layer that is made


def read_as_landcover(file, folder, **changes):
    """Through check and read of land cover, around a scene of 5 km in the area."""
    scene = folder / "scene.json"
    transform = [50.0, 0.0, 520_000.0, 0.0, -50.0, 3_855_000.0]
    scene.write_text(json.dumps({"scene": "s1", "crs": "EPSG:32636", "transform": transform, "width": 100, "height": 100}))  # fmt: skip
    chosen = LandCover(source="vector", path="corine.parquet", code_field="code", **changes)
    check, output = folder / "check.json", folder / "landcover.parquet"
    check_landcover(chosen, [file], corine(), [scene], check, 10)
    read_landcover(chosen, [file], corine(), [scene], check, output, 10)
    return geopandas.read_parquet(output)


def test_land_cover_is_read_from_it(tmp_path):
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        downloaded(service, tmp_path)
    found = read_as_landcover(tmp_path / "corine.parquet", tmp_path)
    scene = geopandas.GeoSeries(
        [shapely.box(520_000, 3_850_000, 525_000, 3_855_000)], crs="EPSG:32636"
    )
    scene = scene.segmentize(50).to_crs("EPSG:3035")[0]  # fmt: skip
    truth = COUNTRY.clip(scene).dissolve("Code_18").area
    there = found.clip(scene).dissolve("code").area
    assert there.to_dict() == pytest.approx(truth.to_dict(), rel=1e-9)


def test_codes_and_outlines_are_left_to_the_reader(tmp_path):
    frame = COUNTRY.copy()
    scene = geopandas.GeoSeries([shapely.box(521_000, 3_851_000, 524_000, 3_854_000)], crs="EPSG:32636").to_crs("EPSG:3035")[0]  # fmt: skip
    row = int(frame.index[frame.intersects(scene)][0])
    frame.loc[row, "Code_18"] = "Null"
    with ArcgisFeatures(frame).running() as service:
        found = downloaded(service, tmp_path)
    assert (found["code"] == "Null").sum() == 1
    with pytest.raises(LandCoverError, match=r"Null \(\d polygons\)"):
        read_as_landcover(tmp_path / "corine.parquet", tmp_path)
    x, y = scene.centroid.coords[0]
    bow = [(x, y), (x + 900, y + 900), (x + 900, y), (x, y + 900)]
    frame.loc[row, ["Code_18", "geometry"]] = ["111", shapely.Polygon(bow)]
    with ArcgisFeatures(frame).running() as service:
        downloaded(service, tmp_path / "bow")
    with pytest.raises(LandCoverError, match="Self-intersection"):
        read_as_landcover(tmp_path / "bow" / "corine.parquet", tmp_path)


def test_bytes_depend_on_nothing_but_the_polygons(tmp_path):
    with ArcgisFeatures(COUNTRY).running() as service:
        downloaded(service, tmp_path / "a")
    with ArcgisFeatures(COUNTRY, cap=11).running() as service:
        downloaded(service, tmp_path / "b", page_size=7)
        assert max(offsets(service)) % 7 == 0
    one, other = ((tmp_path / name / "corine.parquet").read_bytes() for name in "ab")
    assert one == other


def test_output_is_whole_or_absent(tmp_path):
    with ArcgisFeatures(COUNTRY).running() as service:
        pages = download_corine(AREA, CorineProduct(), settings(service), tmp_path)
    output = tmp_path / "corine.parquet"
    with pytest.raises(FetchError, match="codes of 2006"):
        combine_corine(pages, CorineProduct(year=2006), AREA, output)
    with pytest.raises(FetchError, match="no polygons"):
        combine_corine(pages, CorineProduct(), shapely.box(10, 50, 11, 51), output)
    assert not output.exists()


# The plan and the record


def test_plan_estimates_then_knows(tmp_path):
    product = CorineProduct(page_size=25)
    with ArcgisFeatures(COUNTRY).running() as service:
        service_settings = settings(service)
        plan = planned_corine(AREA, product, service_settings)
        assert service.calls == []
        before = preview(tmp_path, plan)
        assert (before.there, before.unknown) == (0, 0)
        assert before.requests == 3 + int(in_laea(AREA).area / 2.4e6) // 25
        pages = download_corine(AREA, product, service_settings, tmp_path)
    plan = planned_corine(AREA, product, service_settings, tmp_path)
    assert [tmp_path / item.path for item in plan[2:]] == pages
    after = preview(tmp_path, plan)
    assert (after.there, after.requests, after.bytes) == (len(pages) + 2, 0, 0)


def test_manifest_holds_request_and_licence(tmp_path):
    with ArcgisFeatures(COUNTRY, cap=25).running() as service:
        pages = download_corine(AREA, CorineProduct(), settings(service), tmp_path)
        root = service.root
    rows = list(map(json.loads, (tmp_path / "corine" / "manifest.jsonl").read_text().splitlines()))
    assert len(rows) == len(pages) + 2
    assert rows[0]["request"]["url"] == f"{root}/CLC2018_LAEA/MapServer/0"
    assert rows[-1]["request"]["form"]["resultOffset"] == str(25 * (len(pages) - 1))
    assert all("Copernicus Land Monitoring Service" in row["licence"] for row in rows)


def test_place_depends_on_what_is_asked_not_on_whom():
    here = query_around(AREA, CorineProduct(), CorineService())
    there = query_around(AREA, CorineProduct(), CorineService(url="http://mirror.example/Corine/"))
    assert here.folder == there.folder
    assert there.url == "http://mirror.example/Corine/CLC2018_LAEA/MapServer/0"
    others = [
        query_around(AREA, product, CorineService()).folder
        for product in (
            CorineProduct(year=2012),
            CorineProduct(page_size=10),
            CorineProduct(layer="CLC2018_WM/MapServer/0"),
        )
    ]
    bigger = query_around(AREA.buffer(0.01), CorineProduct(), CorineService()).folder
    assert len({here.folder, bigger, *others}) == 5


def test_settings():
    assert [CorineProduct(year=year).service_layer for year in LAYERS] == list(LAYERS.values())
    assert all(f"CLC{year}" in layer for year, layer in LAYERS.items())
    own = CorineProduct(year=2018, layer="mine/land/FeatureServer/3")
    assert own.service_layer == "mine/land/FeatureServer/3"
    assert CorineProduct.parse(own.canonical()) == own
    for wrong in ({"year": 2015}, {"layer": "CLC2018_WM"}, {"layer": "http://x/MapServer/0"}, {"page_size": 0}):  # fmt: skip
        with pytest.raises(ValueError, match="validation error"):
            CorineProduct(**wrong)


# The imitated service itself


def test_service_reads_envelopes_and_writes_geojson(tmp_path):
    with ArcgisFeatures(COUNTRY, cap=1000).running() as service:
        west, south, east, north = AREA.bounds
        asked = {
            "where": "1=1", "geometry": f"{west},{south},{east},{north}", "inSR": "4326",
            "geometryType": "esriGeometryEnvelope", "outFields": "code_18", "f": "geojson",
        }  # fmt: skip
        answer = requests.get(service.url + service.query_path, params=asked, timeout=10)
        (tmp_path / "a.geojson").write_bytes(answer.content)
        found = geopandas.read_file(tmp_path / "a.geojson")
        assert found["OBJECTID"].tolist() == in_area(COUNTRY).tolist()
        assert found.crs == "EPSG:4326"
        truth = COUNTRY.to_crs("EPSG:4326").geometry.loc[found["OBJECTID"]]
        assert found.geometry.reset_index(drop=True).geom_equals(truth.reset_index(drop=True)).all()
        ids = requests.get(service.url + service.query_path, params=asked | {"f": "json", "returnIdsOnly": "true"}, timeout=10).json()  # fmt: skip
        assert ids["objectIds"] == in_area(COUNTRY).tolist()
        page = requests.get(service.url + service.layer_path, timeout=10)
        assert page.headers["Content-Type"] == "text/html"  # without `f` ArcGIS answers in HTML
        wrong = requests.get(service.url + service.query_path, params=asked | {"orderByFields": "x", "f": "json"}, timeout=10)  # fmt: skip
        assert wrong.status_code == 200
        assert wrong.json()["error"]["code"] == 400


def test_query_is_a_value():
    query = query_around(AREA, CorineProduct(), CorineService())
    with pytest.raises(dataclasses.FrozenInstanceError):
        query.url = "x"
