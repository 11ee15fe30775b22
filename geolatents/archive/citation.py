"""Who made the software, read from CITATION.cff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from geolatents.errors import ArchiveError


@dataclass(frozen=True)
class Citation:
    """What CITATION.cff says.

    Attributes:
        title: Title of the software.
        version: Its version.
        licence: SPDX name of its licence.
        authors: Names of its authors.
        keywords: Keywords.
        references: Works that it builds on: title and DOI.
    """

    title: str
    version: str
    licence: str
    authors: tuple[str, ...]
    keywords: tuple[str, ...]
    references: tuple[tuple[str, str], ...]


def read_citation(file: Path) -> Citation:
    """Read a citation file.

    Raises:
        ArchiveError: It is missing, or lacks a key.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Citation(
            title=str(values["title"]),
            version=str(values["version"]),
            licence=str(values["license"]),
            authors=tuple(_name(author) for author in values["authors"]),
            keywords=tuple(values.get("keywords", ())),
            references=tuple(
                (str(one["title"]), str(one["doi"]))
                for one in values.get("references", ())
                if "doi" in one
            ),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ArchiveError(
            "the citation file cannot be read",
            where=file,
            expected="title, version, license, authors",
            found=f"{type(error).__name__}: {error}",
            fix="restore it from the repository",
        ) from None


def _name(author: Mapping[str, Any]) -> str:
    names = (author.get("given-names"), author.get("family-names"))
    return str(author.get("name") or " ".join(filter(None, names)))
