"""Which images an archive may hold: open licences, read from records and configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from geolatents.acquire.archives.table import archive_table
from geolatents.acquire.commons_photos.pages import licence_family
from geolatents.archive.run import Run
from geolatents.files import read_json

OPEN = ("CDLA-Permissive", "Copernicus", "MIT", "ODC-By")
"""Beginnings of open licences beside those of Creative Commons and the public domain."""

IMAGES = re.compile(
    r"^results/(?P<dataset>[^/]+)/(?:tiles/[^/]+\.zarr|scenes/[^/]+\.tif|legacy/[^/]+)$"
)
"""Artifacts that hold a scene's pixels."""

PHOTOS = re.compile(
    r"^results/[^/]+/(?:photos|maps|photos\.parquet|downloads/(?:photos|maps)/[^/]+)$"
)
"""Photos of people's accounts and maps under a service's terms: a published copy could not be taken back."""


def left_out(run: Run, images: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Artifacts that stay out of the archive, and why.

    Args:
        run: The run.
        images: ``open``, ``all`` or ``none``.
        config: The resolved configuration.
    """
    found = {}
    for name in run.makers:
        image = IMAGES.match(name)
        if PHOTOS.match(name):
            found[name] = "photos and maps are not passed on"
        elif image and images == "none":
            found[name] = "images are left out by the configuration"
        elif image and images == "open":
            closed = sorted(
                one for one in licences(run, image["dataset"], config) if not is_open(one)
            )
            if closed:
                found[name] = f"licence of the images: {'; '.join(closed)}"
    return found


def licences(run: Run, dataset: str, config: Mapping[str, Any]) -> set[str]:
    """Licences of a dataset's images: of its scenes' records, else what the configuration says."""
    folder = f"results/{dataset}/scenes/"
    records = [name for name in run.makers if name.startswith(folder) and name.endswith(".json")]
    found = {str(read_json(run.path(name)).get("licence", "unknown")) for name in records}
    return found or {_stated(config["datasets"][dataset]["imagery"])}


def is_open(licence: str) -> bool:
    """Whether a licence lets anybody pass the images on, at most with attribution and under the same terms."""
    return licence_family(licence) is not None or licence.startswith(OPEN)


def _stated(imagery: Mapping[str, Any]) -> str:
    if imagery.get("archive") and not imagery.get("images"):
        return archive_table()[imagery["archive"]].licence
    return str(imagery.get("licence") or "unknown")
