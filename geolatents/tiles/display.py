"""Which bands of a tile are shown."""

from __future__ import annotations

from collections.abc import Sequence

RGB_NAMES = (("red", "green", "blue"), ("b04", "b03", "b02"))


def rgb_bands(bands: Sequence[str]) -> list[int]:
    """Positions of red, green and blue; the first three bands, or one, where they have no names."""
    names = [band.lower() for band in bands]
    for wanted in RGB_NAMES:
        if set(wanted) <= set(names):
            return [names.index(name) for name in wanted]
    return [0, 1, 2] if len(names) >= 3 else [0, 0, 0]
