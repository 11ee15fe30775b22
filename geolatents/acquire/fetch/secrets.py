"""Keys and tokens: found in the environment or a netrc file, sent to one host, and never shown."""

from __future__ import annotations

import json
import netrc
import os
import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit

from geolatents.errors import AccessError

HIDDEN = "***"
SHORTEST = 4
"""Values below this length are not looked for in texts; no key is that short."""

_LONGEST_USER = 200

_NAMED = re.compile(r"(?i)((?:key|token|secret|password|signature|credential|sig)=)[^&\s'\"<>]+")
"""Parameters that are secret by their names; of signed addresses too, such as ``X-Amz-Signature``."""

_known: set[str] = set()


@dataclass(frozen=True)
class Key:
    """Where a service's key is found, and what to tell a user who has none.

    Attributes:
        service: Name of the service in messages.
        variable: Environment variable that holds the key.
        obtain: Where to get one, a sentence part such as "at www.planet.com/account".
    """

    service: str
    variable: str
    obtain: str

    def find(self, url: str) -> str:
        """The key: of the environment variable, else of the netrc entry of the URL's host.

        The netrc file is that of the variable NETRC, else ``~/.netrc``; the key is its ``password``.

        Raises:
            AccessError: There is none, or the netrc file cannot be read.
        """
        host = urlsplit(url).hostname or ""
        place = f"the environment variable {self.variable}, or `machine {host}` in a netrc file"
        found = (os.environ.get(self.variable) or _netrc_password(host) or "").strip()
        if not found:
            raise AccessError(
                f"{self.service} needs a key and none is set", expected=place, fix=self.help()
            )
        if re.search(
            r"[\s\0-\x1f\x7f]", found
        ):  # libraries would repeat it, escaped, in their errors
            raise AccessError(
                f"the key of {self.service} holds a blank or a line break",
                where=place,
                fix=self.help(),
            )
        return remember(found)

    def help(self) -> str:
        """What to do about a missing or refused key."""
        return f"set {self.variable}; a key is obtained {self.obtain}"


def remember(secret: str) -> str:
    """Take note of a secret that came by other ways (a temporary token), so that it is hidden too."""
    if len(secret) >= SHORTEST:
        quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
        lower = {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in quoted}
        basic = b64encode(f"{secret}:".encode()).decode()
        escaped = {json.dumps(secret, ensure_ascii=plain)[1:-1] for plain in (True, False)}
        spellings = {secret, basic} | quoted | lower | escaped
        _known.update(spellings | {text.replace("/", r"\/") for text in spellings})  # PHP's JSON
    return secret


def redacted(text: object) -> str:
    """A text without secrets that this process knows, users in URLs, and parameters that are secret by name."""
    shown = str(text)
    for secret in sorted(_known, key=len, reverse=True):
        shown = shown.replace(secret, HIDDEN)
    shown = re.sub(r"(https?://)[^/\s@]+@", rf"\1{HIDDEN}@", shown)
    return _NAMED.sub(rf"\1{HIDDEN}", shown)


def longest() -> int:
    """Length of the longest secret that :func:`redacted` finds; of a user in a URL about."""
    return max([_LONGEST_USER, *map(len, _known)])


def beginning(text: str, length: int, unsure: int = 0) -> str:
    """The first characters of a text without secrets.

    Args:
        text: All of a text, or its beginning.
        length: Characters to show.
        unsure: Characters at the end that may be a part of a secret, because the text was cut there.
    """
    shown = redacted(text)
    return shown[: min(length, max(0, len(shown) - unsure))]


def bare_url(url: str) -> str:
    """A URL without its user and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def public_url(url: str, *, signed: bool = False) -> str:
    """A URL as it may be written down: no user, no secrets, and no query where the query is a signature."""
    return redacted(bare_url(urlsplit(url)._replace(query="").geturl() if signed else url))


def _netrc_password(host: str) -> str | None:
    named = os.environ.get("NETRC")
    file = Path(named) if named else Path("~/.netrc").expanduser()
    if not file.is_file():
        return None
    try:
        # Not `authenticators`, which gives the password of `default` to every host.
        entry = netrc.netrc(str(file)).hosts.get(host)
    except OSError as error:
        raise AccessError(
            "the netrc file cannot be read",
            where=file,
            found=error.strerror,
            fix="make it readable for you (chmod 600)",
        ) from None
    except netrc.NetrcParseError as error:
        # The parser's own message may repeat the line with the password.
        raise AccessError(
            "the netrc file cannot be read",
            where=f"{file}, line {error.lineno}",
            fix="write `machine HOST login USER password KEY`, readable only by you (chmod 600)",
        ) from None
    return entry[2] if entry else None
