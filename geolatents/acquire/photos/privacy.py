"""Keyed hashes in place of personal ids, and the list of accounts and photos that nobody may collect.

A plain hash of an account number is no protection: there are few numbers, and hashing them all takes
minutes. HMAC-SHA256 (RFC 2104) with a secret salt can be undone only by who has the salt.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from filelock import FileLock

from geolatents.acquire.fetch.secrets import remember
from geolatents.errors import ConfigError

SALT_VARIABLE = "GEOLATENTS_SALT"
SALT_FILE = "photos.salt"
SHORTEST_SALT = 16
"""Characters."""

LENGTH = 24
"""Hexadecimal digits of a hash: 96 bits, so that a billion photos collide with probability 1e-11."""


class Pseudonyms:
    """Names that say nothing, the same for the same account or photo as long as the salt is.

    Args:
        salt: The secret.
    """

    def __init__(self, salt: str) -> None:
        self._salt = salt.encode()

    def owner(self, provider: str, owner: str | int) -> str:
        """Name of an account: 24 hexadecimal digits."""
        return self._hash("owner", provider, str(owner))

    def photo(self, provider: str, owner: str | int, photo: str | int) -> str:
        """Name of a photo: 24 hexadecimal digits."""
        return self._hash("photo", provider, str(owner), str(photo))

    def salt_name(self) -> str:
        """Name of the salt itself: tells whether two hashes can be compared."""
        return self._hash("salt")

    def _hash(self, *parts: str) -> str:
        return hmac.new(self._salt, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:LENGTH]


def pseudonyms(downloads: Path) -> Pseudonyms:
    """Pseudonyms by the salt of the environment variable GEOLATENTS_SALT, else of ``photos.salt``.

    The file is made at first use, readable by its user only. Whoever loses the salt gets new names
    for all photos.

    Args:
        downloads: Folder of downloads.

    Raises:
        ConfigError: The salt is too short, or its file cannot be read.
    """
    salt, where = os.environ.get(SALT_VARIABLE), SALT_VARIABLE
    if not salt:
        file = downloads / SALT_FILE
        salt, where = _salt_of(file), str(file)
    if len(salt) < SHORTEST_SALT:
        raise ConfigError(
            "the salt of the photos' names is too short",
            where=where,
            expected=f"{SHORTEST_SALT} characters or more that nobody can guess",
            found=f"{len(salt)} characters",
            fix="restore the salt, or set a random one; photos get new names with it",
        )
    return Pseudonyms(remember(salt))


def _salt_of(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{file}.lock"):
            if not file.exists():
                file.touch(0o600)  # before the secret is in it
                file.write_text(secrets.token_hex(32) + "\n")
            return file.read_text().strip()
    except OSError as error:
        raise ConfigError(
            "the salt of the photos' names cannot be read",
            where=file,
            found=error,
            fix=f"make it readable to you, or set {SALT_VARIABLE}",
        ) from None


def read_exclusions(file: Path | None) -> frozenset[str]:
    """Names of accounts and photos that a search leaves out, one a line; ``#`` starts a comment.

    Args:
        file: Text file; None for no exclusions.

    Raises:
        ConfigError: The file is missing or holds something else than names.
    """
    if file is None:
        return frozenset()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the list of excluded accounts and photos cannot be read",
            where=file,
            found=error,
            fix="correct `exclude`",
        ) from None
    names = [line.partition("#")[0].strip() for line in lines]
    for number, name in enumerate(names, 1):
        # A raw account number here would be a personal id in a file, and would exclude nobody.
        if name and not re.fullmatch(rf"[0-9a-f]{{{LENGTH}}}", name):
            raise ConfigError(
                "this is no name of an account or photo",
                where=f"{file}, line {number}",
                expected=f"{LENGTH} hexadecimal digits as in the columns `owner` and `id`",
                fix="compute the name as docs/privacy.md says",
            )
    return frozenset(filter(None, names))
