"""Large files of Google Drive, which come after a page that asks for a confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

from geolatents.acquire.fetch.http import Client
from geolatents.acquire.fetch.secrets import public_url
from geolatents.errors import FetchError

LONGEST_PAGE = 1 << 20
"""Bytes of a page that are looked at."""


def confirmed(address: str, client: Client) -> str:
    """The address of the file itself.

    For files that Drive does not scan for viruses it answers with a page whose form asks for a
    confirmation; when too many have asked for a file, with a page without one.
    """
    with client.opened(address) as response:
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            return address
        page = next(response.iter_content(LONGEST_PAGE), b"").decode("utf-8", "replace")
    form = _Form()
    form.feed(page)
    if form.action is None:
        raise FetchError(
            "Google Drive does not give the file",
            where=public_url(address),
            found=f"a page titled {' '.join(form.title.split())!r}",
            fix="many have asked for it; it opens again within 24 hours, or in a browser that is signed in",
        )
    return f"{urljoin(response.url, form.action)}?{urlencode(form.values)}"


class _Form(HTMLParser):
    """The form ``download-form`` of a page, and the page's title."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.values: dict[str, str] = {}
        self.title = ""
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form" and values.get("id") == "download-form":
            self.action, self._inside = values.get("action") or "", "form"
        elif tag == "input" and self._inside == "form" and values.get("name"):
            self.values[str(values["name"])] = values.get("value") or ""
        elif tag == "title":
            self._inside = "title"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"form", "title"}:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
