"""The registry of dataset archives: where their files come from, how they are checked, their terms.

Light, since the workflow's plan reads it whenever it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath

import yaml

from geolatents.settings.archives import ARCHIVE_LAYOUTS, ARCHIVES

TABLE = "data/archives.yaml"

DRIVE = "https://drive.google.com/uc?export=download&id={}"
"""Where Google Drive gives a file, or a page that asks whether one really wants it."""


@dataclass(frozen=True)
class ArchiveFile:
    """A file of an archive.

    Attributes:
        name: Its name.
        urls: Addresses, in the order in which they are asked; none where it comes by hand.
        drive: Its id at Google Drive.
        md5: Published checksum.
        sha256: Published checksum.
        size: Published size in bytes.
        estimate: Size in bytes that no source confirms, for the preview.
        unverified: What of this no source confirms.
    """

    name: str
    urls: tuple[str, ...] = ()
    drive: str | None = None
    md5: str | None = None
    sha256: str | None = None
    size: int | None = None
    estimate: int | None = None
    unverified: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, that at Google Drive too."""
        return (*self.urls, *([DRIVE.format(self.drive)] if self.drive else []))

    @property
    def digests(self) -> dict[str, str]:
        """Published checksums by algorithm."""
        known = {"md5": self.md5, "sha256": self.sha256}
        return {name: value for name, value in known.items() if value}


@dataclass(frozen=True)
class Archive:
    """An archive of the registry.

    Attributes:
        name: Its name in configurations.
        title: What it holds.
        page: Page for people.
        licence: Licence or terms.
        citation: What to cite.
        files: Its files.
        by_hand: How people get the files where no address leads to them.
    """

    name: str
    title: str
    page: str
    licence: str
    citation: str
    files: tuple[ArchiveFile, ...] = field(default_factory=tuple)
    by_hand: str | None = None

    @property
    def folder(self) -> str:
        """Folder of the files below the downloads folder."""
        return f"{ARCHIVES}/{ARCHIVE_LAYOUTS[self.name].folder}"


@cache
def archive_table() -> Mapping[str, Archive]:
    """All archives by name."""
    text = resources.files("geolatents").joinpath(TABLE).read_text(encoding="utf-8")
    values = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {name: _archive(name, entry) for name, entry in values.items()}


def archive_files(name: str, downloads: Path) -> dict[str, Path]:
    """Where the files of an archive lie once they are downloaded, by file name; asks nothing."""
    archive = archive_table()[name]
    return {file.name: downloads / archive.folder / file.name for file in archive.files}


def _archive(name: str, entry: dict[str, object]) -> Archive:
    values = dict(entry)
    files = tuple(_file(dict(item)) for item in values.pop("files"))  # type: ignore[attr-defined]
    return Archive(name=name, files=files, **values)  # type: ignore[arg-type]


def _file(values: dict[str, object]) -> ArchiveFile:
    for key in ("urls", "unverified"):
        values[key] = tuple(values.get(key, ()))  # type: ignore[arg-type]
    return ArchiveFile(**values)  # type: ignore[arg-type]


def table_beside(root: Path, images: str, table: str | None) -> str | None:
    """The table of an archive in the folder of images that a user has, or beside it."""
    if table is None:
        return None
    inside, beside = PurePosixPath(images) / table, PurePosixPath(images).parent / table
    return str(inside if (root / inside).is_file() else beside)
