"""Nothing secret and nothing that names this machine leaves with an archive."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from geolatents.acquire.fetch.secrets import SHORTEST, redacted, remember
from geolatents.errors import ArchiveError
from geolatents.logs import LOG
from geolatents.places import Places

_SECRET = re.compile(r"(?i)(?:^|_)(?:key|token|secret|password|passwd|credentials?)(?:_|$)")
"""Environment variables whose values are secret by their names."""


def publishable(text: str, places: Places) -> str:
    """A log or provenance record as it may leave this machine: public names of folders, no secrets."""
    return redacted(places.text(text))


class Inspector:
    """Looks into every file of an archive for secrets, which stop it, and for folders of this machine, which it notes.

    Args:
        places: Folders of this machine.
        environment: Environment variables, which hold the secrets to look for.
    """

    def __init__(self, places: Places, environment: Mapping[str, str] = os.environ) -> None:
        secrets = {
            variable: value
            for variable, value in environment.items()
            if _SECRET.search(variable) and len(value) >= 2 * SHORTEST and not Path(value).exists()
        }
        self._secrets = {name: remember(value).encode() for name, value in secrets.items()}
        self._folders = places.private()
        self.naming: set[str] = set()

    def __call__(self, name: str, piece: bytes) -> None:
        """Look into a piece of a file.

        Raises:
            ArchiveError: It holds the value of a secret environment variable.
        """
        for variable, value in self._secrets.items():
            if value in piece:
                raise ArchiveError(
                    f"a file holds the value of {variable}",
                    where=name,
                    fix="find out how it got there, remove it, and make a new key before anything is published",
                )
        if any(folder in piece for folder in self._folders):
            self.naming.add(name)

    def tell(self) -> None:
        """Name the files that name folders of this machine."""
        for name in sorted(self.naming):
            LOG.warning("%s names a folder of this machine", name)
