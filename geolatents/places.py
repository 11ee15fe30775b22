"""How published texts name files: by what they are, the same on every machine.

Provenance and archives leave the machine that made them, so they say ``results/demo/tiles.json`` or
``data:scene.tif`` and never where the results, the data, the checkout or a home folder lie.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from geolatents.files import content_key
from geolatents.paths import DATA_PREFIX, DOWNLOADS_PREFIX, data_root, downloads_root

RESULTS = "results"
"""How the results root is called in published texts, wherever it lies."""

CONTACT = "you@example.org"
"""What stands in published texts for the address that a user gives to services."""

ELSEWHERE = "elsewhere:"
"""What stands before the name of a file that lies in none of the known folders, with a key of its path."""

PERSONAL = {"tmp/", "~/", "environment/"}
"""Words for folders in which the names of files tell something of their user."""

_CONTACTS = re.compile(r"""(\\?"contact\\?": ?\\?")[^"\\]+""")
_HOMES = re.compile(r"(?<![\w.~-])/(?:home|Users)/[^/\s\"']+")


class Places:
    """The folders of this machine that texts may name, and what they are called in public.

    Args:
        results: Root of the results.
    """

    def __init__(self, results: Path) -> None:
        self.results = Path(results)

    def name(self, path: Path) -> str:
        """Public name of a file: ``results/...``, ``data:...``, relative to the working folder; else its bare name and a key."""
        path = Path(path)
        for spelled in (path.absolute(), path.resolve()):
            for folder, word in self._folders:
                if spelled.is_relative_to(folder):
                    if word in PERSONAL:
                        break
                    return word + spelled.relative_to(folder).as_posix()
        return f"{ELSEWHERE}{content_key(path.resolve().as_posix())[:8]}/{path.name}"

    def text(self, text: str) -> str:
        """A text in which the folders of this machine bear their public names, and a contact its stand-in."""
        words = {folder.as_posix(): word for folder, word in self._folders}
        shown = self._pattern.sub(
            lambda found: words[found[1]] if found[2] else words[found[1]].rstrip("/") or ".", text
        )
        return _CONTACTS.sub(rf"\1{CONTACT}", _HOMES.sub("~", shown))

    def private(self) -> set[bytes]:
        """Beginnings of paths that no published file should hold; a folder such as ``/tmp`` says nothing."""
        return {folder.as_posix().encode() for folder, _ in self._folders if len(folder.parts) > 2}

    @cached_property
    def _folders(self) -> list[tuple[Path, str]]:
        """Folders and the words that stand for them; the deepest first, so that it wins."""
        found = {
            folder: word
            for place, word in _places(self.results)
            for folder in (place.absolute(), place.resolve())
            if len(folder.parts) > 1  # the root of the file system is no name for anything
        }
        return sorted(found.items(), key=lambda item: len(item[0].as_posix()), reverse=True)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        spelled = "|".join(re.escape(folder.as_posix()) for folder, _ in self._folders)
        return re.compile(rf"(?<![\w.~-])({spelled})(?:(/)|(?![\w.-]))")


def _places(results: Path) -> Iterator[tuple[Path, str]]:
    """Known folders; where two are the same, the last word counts."""
    yield Path(tempfile.gettempdir()), "tmp/"
    yield Path.home(), "~/"
    yield Path(sys.prefix), "environment/"
    yield Path(__file__).resolve().parent.parent, "workflow/"
    yield Path(), ""
    yield downloads_root(), DOWNLOADS_PREFIX
    yield data_root(), DATA_PREFIX
    yield results, f"{RESULTS}/"
