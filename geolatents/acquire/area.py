"""The area of a search as a polygon."""

from __future__ import annotations

from pathlib import Path

import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from geolatents.errors import ConfigError
from geolatents.settings.services import Area


def read_area(area: Area, root: Path) -> BaseGeometry:
    """Polygon or multipolygon of an area in longitude and latitude (EPSG:4326).

    Args:
        area: ``[west, south, east, north]`` in degrees, or a vector file.
        root: Data folder that the file is relative to.

    Raises:
        ConfigError: The file is missing, has no CRS, or holds no polygon.
    """
    if not isinstance(area, str):
        return shapely.box(*area)
    file = root / area
    try:
        frame = pyogrio.read_dataframe(file)
    except (OSError, pyogrio.errors.DataSourceError) as error:
        raise ConfigError(
            "the area cannot be read",
            where=file,
            expected="a vector file with polygons, or [west, south, east, north] in degrees",
            found=error,
            fix="correct `area`",
        ) from None
    polygons = frame.geometry[frame.geometry.type.isin(["Polygon", "MultiPolygon"])]
    if polygons.empty or frame.crs is None:
        raise ConfigError(
            "the area has no CRS" if len(polygons) else "the area holds no polygon",
            where=file,
            fix="correct the file, or give [west, south, east, north] in degrees",
        )
    return shapely.union_all(polygons.to_crs("EPSG:4326").make_valid().to_numpy())
