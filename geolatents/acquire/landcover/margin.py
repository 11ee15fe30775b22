"""How far around the scenes land cover is asked for; light enough for the workflow's graph."""

from __future__ import annotations

import math

MARGIN_DEGREES = 0.1
"""Land cover is asked for about 10 km beyond the scenes' footprints, for padded tiles at their edges."""

AREA_STEP = 0.01
"""Degrees to which that area is widened, so that it rarely changes when scenes are added."""


def widened(west: float, south: float, east: float, north: float) -> list[float]:
    """Bounds with the margin for land cover, rounded outward."""
    low = (math.floor((v - MARGIN_DEGREES) / AREA_STEP) * AREA_STEP for v in (west, south))
    high = (math.ceil((v + MARGIN_DEGREES) / AREA_STEP) * AREA_STEP for v in (east, north))
    return [round(value, 2) for value in (*low, *high)]
