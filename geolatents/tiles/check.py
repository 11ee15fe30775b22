"""Checks that scenes pass before anything is cut: the record, every block decoded, tiles counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from geolatents.acquire.files import (
    SCL_USABLE,
    MaskRecord,
    SceneRecord,
    mask_file,
    read_record,
    record_in,
)
from geolatents.acquire.planetscope import is_surface_reflectance, metadata_file, read_metadata
from geolatents.acquire.reader import SceneReader, gdal_options, open_image, open_recorded
from geolatents.errors import NoTilesError, SceneError
from geolatents.logs import LOG
from geolatents.paths import recorded_file, recorded_path
from geolatents.settings.imagery import FilesImagery, SyntheticImagery
from geolatents.settings.tiles import TileSettings
from geolatents.stores import read_json, sha256_file, write_json
from geolatents.tiles.cut import count_tiles

MAX_YEARS_APART = 3
"""Images and land cover further apart than this get a warning."""
