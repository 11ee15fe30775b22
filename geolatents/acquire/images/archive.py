"""Where the images and tables of a dataset archive lie: downloaded, or a copy in the data folder.

Zip archives are read in place. Tar archives know no random access: they are unpacked beside, once, when
they are first read; that is work for a compute node, not for the download.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from geolatents.acquire.archives.table import table_beside
from geolatents.acquire.fetch.unpack import unpack
from geolatents.errors import FetchError
from geolatents.settings.archives import ARCHIVE_LAYOUTS, ARCHIVES, UNPACKED
from geolatents.settings.images import ImageFolder

LIMIT_BYTES = 500 * 10**9
"""Most bytes of one unpacked archive; BigEarthNet has about 120 GB."""

LIMIT_MEMBERS = 20_000_000
"""Most files of one unpacked archive; BigEarthNet has about 8 million."""


def located(imagery: ImageFolder, root: Path, downloads: Path) -> tuple[ImageFolder, Path]:
    """Settings that name images, table and layout of an archive, and the folder they are relative to.

    Without ``imagery.archive`` both come back as they are. Tar archives are unpacked if need be.

    Args:
        imagery: Settings of the images.
        root: Data folder.
        downloads: Folder of downloads.

    Raises:
        FetchError: The archive is not there yet, or cannot be unpacked.
    """
    if imagery.archive is None:
        return imagery, root
    layout = ARCHIVE_LAYOUTS[imagery.archive]
    if imagery.images:
        table = imagery.table or table_beside(root, imagery.images, layout.table)
        return imagery.model_copy(update={"layout": layout.layout, "table": table}), root
    folder = downloads / ARCHIVES / layout.folder
    for parts in layout.tars:
        _unpack_once([folder / name for name in parts])
    for name in filter(None, [layout.images, layout.table]):
        if not (folder / name).exists():
            raise _not_there(folder / name)
    update = {"layout": layout.layout, "images": layout.images, "table": layout.table}
    return imagery.model_copy(update=update), folder


def _unpack_once(parts: Sequence[Path]) -> None:
    """Unpack a tar archive into a folder of its name, unless it is there and newer than the archive."""
    folder = parts[0].parent / UNPACKED
    target = folder / re.sub(r"\.(tar|tgz).*", "", parts[0].name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{target.name}.unpacking"):
        present = [part for part in parts if part.is_file()]
        newest = max((part.stat().st_mtime_ns for part in present), default=0)
        if target.is_dir() and target.stat().st_mtime_ns >= newest:
            return
        for part in parts:
            if part not in present:
                raise _not_there(part)
        unpack(parts, target, LIMIT_BYTES, limit_members=LIMIT_MEMBERS)


def _not_there(file: Path) -> FetchError:
    return FetchError(
        "a file of the archive is not there",
        where=file,
        fix="download it first, put it there by hand, or name a copy in `imagery.images`",
    )
