"""Recompute the hashes of an archive; needs nothing but Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from geolatents.archive.layout import MANIFEST, METADATA
from geolatents.archive.reading import Archive, listed
from geolatents.errors import ArchiveError

WORKFLOW_RUN = "https://w3id.org/ro/wfrun/workflow/"


@dataclass(frozen=True)
class Difference:
    """A file that is not as the archive states.

    Attributes:
        kind: ``missing``, ``added``, ``differs`` or ``unreadable``.
        name: The file.
        remark: What else is known.
    """

    kind: str
    name: str
    remark: str = ""

    def __str__(self) -> str:
        """One line."""
        return f"{self.kind}: {self.name}" + (f" ({self.remark})" if self.remark else "")


def differences(archive: Archive) -> list[Difference]:
    """Files that are missing, were added, or have other bytes than the archive states; empty for a whole archive.

    Raises:
        ArchiveError: The list of hashes cannot be read.
    """
    stated = listed(archive)
    names = set(archive.names()) - {MANIFEST}
    missing = sorted(set(stated) - names)
    lost = {stated[name]: name for name in missing}
    found = [Difference("missing", name) for name in missing]
    for name in sorted(names):
        sha256 = archive.sha256(name)
        if name not in stated:
            remark = f"has the bytes of {lost[sha256]}" if sha256 in lost else ""
            found.append(Difference("added", name, remark))
        elif sha256 is None:
            found.append(Difference("unreadable", name, "the zip is damaged here"))
        elif sha256 != stated[name]:
            found.append(Difference("differs", name))
    return found or _disagreements(archive, stated)


def _disagreements(archive: Archive, stated: dict[str, str]) -> list[Difference]:
    """Files of which the crate's metadata say something else than the list of hashes.

    Raises:
        ArchiveError: The metadata are no crate of a workflow run.
    """
    found = []
    described = {entity["@id"]: entity for entity in _graph(archive)}
    root = described.get("./", {})
    profiles = [
        one.get("@id", "") for one in _as_list(root.get("conformsTo")) if isinstance(one, dict)
    ]
    if not any(profile.startswith(WORKFLOW_RUN) for profile in profiles):
        raise ArchiveError(
            "the metadata describe no workflow run",
            where=f"{archive.path}: {METADATA}",
            expected=f"a root that conforms to {WORKFLOW_RUN}",
            found=", ".join(profiles) or "no profile",
        )
    for key, entity in described.items():
        if "File" in _as_list(entity.get("@type")) and entity.get("sha256") != stated.get(
            unquote(key)
        ):
            found.append(
                Difference(
                    "differs", unquote(key), f"{METADATA} states another hash than {MANIFEST}"
                )
            )
    return found


def _graph(archive: Archive) -> list[dict[str, Any]]:
    content = archive.json(METADATA)
    graph = content.get("@graph") if isinstance(content, dict) else None
    if not isinstance(graph, list) or not all(
        isinstance(one, dict) and "@id" in one for one in graph
    ):
        raise ArchiveError(
            "the metadata are no RO-Crate",
            where=f"{archive.path}: {METADATA}",
            expected="a list `@graph` of entities with `@id`",
        )
    return graph


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
