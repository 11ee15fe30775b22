"""Whether the offset of processing baseline 04.00 is still in the pixels of a scene.

See ``docs/decisions/sentinel2-offset.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling

from geolatents.acquire.reader import open_image
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import SceneError

OFFSET = -1000
"""BOA_ADD_OFFSET of all bands since baseline 04.00 (ESA, 25 January 2022)."""

FIRST_WITH_OFFSET = (4, 0)

SAMPLE = 1024
"""At most this many pixels per side are looked at."""

DARK_CLASSES = (4, 6)
"""Scene classes that are dark in at least one band: vegetation (blue, red) and water (near infrared)."""

IMPOSSIBLE = 800
"""Values below it would be reflectances below -0.02, were the offset still in them."""

MANY = 0.2
"""Share of dark ground with such values from which on the offset cannot be in the pixels."""

FEWEST = 100
"""Dark pixels below which their share says nothing."""


class Decision(NamedTuple):
    """What is added to valid values, and why.

    Attributes:
        offset: 0 or -1000.
        reason: One sentence part for log and file.
        contradicts: Whether the pixels say otherwise than the catalogue.
    """

    offset: int
    reason: str
    contradicts: bool = False


def decide_offset(
    item: SceneItem, files: Mapping[str, Path], setting: Literal["auto", 0, -1000]
) -> Decision:
    """What must be added to a scene's values so that reflectance is value / 10000.

    Args:
        item: The scene; `offset_applied` and `baseline` are what its catalogue says.
        files: Its bands by name, as they came.
        setting: `auto`, or what the user knows better.

    Raises:
        SceneError: The catalogue says neither.
    """
    if setting != "auto":
        return Decision(setting, "set by `product.offset`")
    applied, baseline = item.properties["offset_applied"], item.properties["baseline"]
    if applied:
        return Decision(0, "the catalogue says that it is applied")
    if baseline is None:
        raise SceneError(
            "nothing says whether the values of the scene have an offset",
            where=item.scene,
            expected="`s2:processing_baseline` or `earthsearch:boa_offset_applied` in the catalogue",
            fix="set `product.offset` to 0 or -1000; without offset water has values of some hundreds, with it above 1000",
        )
    if _version(baseline) < FIRST_WITH_OFFSET:
        return Decision(0, f"baseline {baseline} has none")
    stated = f"baseline {baseline} has it"
    if item.properties["catalogue"] == "planetary_computer":
        return Decision(OFFSET, stated)  # its files are ESA's, as they came
    stated += ", the catalogue says that it is not applied" if applied is False else ""
    return _checked(stated, files)


def _checked(stated: str, files: Mapping[str, Path]) -> Decision:
    """Earth Search has items whose flag is wrong: dark ground tells."""
    low, count = _low_share(files)
    if count < FEWEST:
        return Decision(OFFSET, f"{stated}; {count} dark pixels are too few to check it")
    found = f"of {count} dark pixels {low:.1%} are below {IMPOSSIBLE}"
    if low >= MANY:
        return Decision(0, f"{stated}, but {found}: it is applied", contradicts=True)
    return Decision(OFFSET, f"{stated}; {found}")


def _low_share(files: Mapping[str, Path]) -> tuple[float, int]:
    """Share of the dark pixels of a sample that are too low in their darkest band, and their number."""
    with ExitStack() as stack:
        sources = {name: stack.enter_context(open_image(file)) for name, file in files.items()}
        first = next(iter(sources.values()))
        shape = (min(first.height, SAMPLE), min(first.width, SAMPLE))
        pixels: dict[str, npt.NDArray[Any]] = {
            name: source.read(1, out_shape=shape, resampling=Resampling.nearest)
            for name, source in sources.items()
        }
    classes = pixels.pop("scl", None)
    bands = np.stack(list(pixels.values()))
    dark = (bands > 0).all(axis=0)
    if classes is not None:
        dark &= np.isin(classes, DARK_CLASSES)
    count = int(np.count_nonzero(dark))
    low = np.count_nonzero(bands.min(axis=0)[dark] < IMPOSSIBLE)
    return (float(low / count) if count else 0.0), count


def _version(baseline: str) -> tuple[int, ...]:
    """`05.09` as (5, 9)."""
    try:
        return tuple(int(part) for part in baseline.split("."))
    except ValueError:
        raise SceneError(
            "the processing baseline of the scene is none",
            expected="digits such as 05.09",
            found=repr(baseline),
            fix="set `product.offset` to 0 or -1000",
        ) from None
