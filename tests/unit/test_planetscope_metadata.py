"""PlanetScope's metadata XML."""

from __future__ import annotations

import pytest

from geolatents.acquire.planetscope.metadata import (
    is_surface_reflectance,
    metadata_file,
    read_metadata,
)
from geolatents.errors import SceneError

NAMESPACES = 'xmlns:ps="http://schemas.planet.com/ps/v1/planet_product_metadata_geocorrected_level"'


def xml(coefficients, time="2017-09-15T02:07:28+00:00"):
    bands = "".join(
        f"<ps:bandSpecificMetadata><ps:bandNumber>{number}</ps:bandNumber>"
        f"<ps:reflectanceCoefficient>{value}</ps:reflectanceCoefficient></ps:bandSpecificMetadata>"
        for number, value in coefficients.items()
    )
    return f"<r {NAMESPACES}><ps:acquisitionDateTime>{time}</ps:acquisitionDateTime>{bands}</r>"


def test_coefficients_follow_band_numbers_not_their_order(tmp_path):
    file = tmp_path / "m.xml"
    file.write_text(xml({2: 2e-5, 1: 1e-5}))
    metadata = read_metadata(file)
    assert metadata.acquired == "2017-09-15T02:07:28+00:00"
    assert metadata.scale([2, 1], file) == pytest.approx([0.2, 0.1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<r>", "cannot be read"),
        (xml({1: 1e-5}, time=""), "no acquisition time"),
        (xml({1: "nan"}), "makes no sense"),
        (xml({1: "-1e-5"}), "makes no sense"),
        (xml({1: 1e-5}), "no reflectanceCoefficient for band 2"),
        (xml({}), "no reflectanceCoefficient for band 1"),
    ],
)
def test_damaged_metadata_are_named(tmp_path, text, message):
    file = tmp_path / "m.xml"
    file.write_text(text)
    with pytest.raises(SceneError, match=message) as caught:
        read_metadata(file).scale([1, 2], file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("image", "name", "reflectance"),
    [
        ("x_AnalyticMS.tif", "x_AnalyticMS_metadata.xml", False),
        ("x_AnalyticMS_clip.tif", "x_AnalyticMS_metadata_clip.xml", False),
        ("x_AnalyticMS_SR.tif", "x_AnalyticMS_metadata.xml", True),
        ("x_AnalyticMS_SR_8b_clip.tif", "x_AnalyticMS_8b_metadata.xml", True),
    ],
)
def test_xml_is_found_by_planet_names(tmp_path, image, name, reflectance):
    with pytest.raises(SceneError, match="metadata XML is missing"):
        metadata_file(tmp_path / image)
    (tmp_path / name).write_text(xml({1: 1e-5}))
    assert metadata_file(tmp_path / image) == tmp_path / name
    assert is_surface_reflectance(tmp_path / image) is reflectance
