"""One request to VK's ``photos.search``, and what each of VK's errors asks for.

Method, fields and error codes: VK's own schema, https://github.com/VKCOM/vk-api-schema (version 5.199,
``photos/methods.json``, ``photos/objects.json``, ``errors.json``); header: https://dev.vk.com/api/api-requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geolatents.acquire.fetch.http import Again
from geolatents.acquire.fetch.secrets import Key, redacted
from geolatents.acquire.fetch.service import client_of
from geolatents.errors import AccessError, FetchError
from geolatents.settings.vk_photos import VkService

VERSION = "5.199"
PAGE = 1000
"""Most photos of one answer."""

KEY = Key("VK", "VK_TOKEN", "as the service token of an app of your own at https://dev.vk.com")

KEPT = "what was found is kept for the next run"

REPEAT = frozenset({1, 6})  # unknown error, too many requests per second
FLOOD = 9
TOO_LARGE = frozenset({10, 36})  # internal server error, interrupted due to timeout
NOTHING = frozenset({18, 19, 30, 37})  # deleted, blocked, private or banned
HUMAN = frozenset({14, 17, 24, 25})  # captcha, validation, confirmations
TOKEN = frozenset({4, 5, 16, 27, 28, 38, 101})  # authorization of user, community or app
DENIED = frozenset({7, 15, 20, 21, 42})  # no permission for the method or from this address
DAY = frozenset({29, 601})  # quota of the method, too many actions this day


class TooLarge(Exception):  # noqa: N818 - no failure but a wish for smaller questions
    """VK cannot answer a question of this size."""


@dataclass(frozen=True)
class Circle:
    """Where to look.

    Attributes:
        longitude: Degrees, of the centre.
        latitude: Degrees, of the centre.
        radius: Metres, one of the documented radii.
    """

    longitude: float
    latitude: float
    radius: int


@dataclass(frozen=True)
class Answer:
    """A page of hits.

    Attributes:
        count: Estimate of all hits.
        items: Photo objects of this page.
    """

    count: int
    items: list[dict[str, Any]]


class VkApi:
    """VK's API with its pace, its errors and a bound on the number of requests.

    Args:
        service: Settings of the service.
        downloads: Folder of downloads; processes share the pace in it.
        most: Requests after which an error stops the search.

    Raises:
        AccessError: There is no token.
    """

    def __init__(self, service: VkService, downloads: Path, most: int) -> None:
        self.service, self.most, self.requests = service, most, 0
        self._url = service.url.rstrip("/") + "/method/photos.search"
        self._client = client_of(
            service,
            "VK",
            downloads,
            key=KEY,
            secret_headers={"Authorization": f"Bearer {KEY.find(service.url)}"},
            home=service.url,
        )

    def search(self, circle: Circle, start: int, end: int, offset: int) -> Answer:
        """Photos of a circle that were uploaded in an interval, newest first.

        Args:
            circle: Where.
            start: Unix time in seconds, inclusive or not (VK does not say).
            end: Unix time in seconds, inclusive or not.
            offset: Hits to leave out.

        Raises:
            TooLarge: Ask for a shorter interval.
            AccessError, FetchError: The search cannot go on now.
        """
        if self.requests >= self.most:
            raise FetchError(
                f"the search takes more than {self.most} requests",
                fix=f"raise `most_requests` or ask for less; {KEPT}",
            )
        self.requests += 1
        answer = self._client.json(
            self._url,
            params={
                "lat": f"{circle.latitude:.6f}", "long": f"{circle.longitude:.6f}",
                "radius": circle.radius, "start_time": start, "end_time": end,
                "sort": 0, "offset": offset, "count": PAGE, "v": VERSION,
            },
            check=self._check,
        )  # fmt: skip
        response = answer.get("response") or {"count": 0, "items": []}
        return Answer(int(response["count"]), list(response["items"]))

    def _check(self, answer: Any) -> None:
        """Errors come with status 200. ``request_params`` of an error may repeat the token: it is not read."""
        error = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(error, dict):
            self._refuse(error)
        elif not _is_page(answer):
            raise Again("the answer has no `response` with `count` and `items`")

    def _refuse(self, error: Mapping[str, Any]) -> None:
        code = error.get("error_code")
        text = f"error {code}: {redacted(error.get('error_msg', ''))[:200]}"
        if code in REPEAT:
            raise Again(text, 1.0)
        if code == FLOOD:
            raise Again(text, self.service.flood_wait)
        if code in TOO_LARGE:
            raise TooLarge(text)
        if code in NOTHING:
            return
        if code in TOKEN:
            raise AccessError("VK refuses the token", found=text, fix=KEY.help())
        if code in DENIED:
            raise AccessError(
                "VK refuses access to photos.search",
                found=text,
                fix="use a service or user token of an app that may call it, from an address that it allows",
            )
        if code in HUMAN:
            raise AccessError(
                "VK wants a human to confirm",
                found=text,
                fix=f"sign in to VK with the token's account, wait some hours, use a lower `rate`; {KEPT}",
            )
        if code in DAY:
            raise FetchError(
                "the day's quota of photos.search is used up",
                found=text,
                fix=f"go on tomorrow; {KEPT}",
            )
        raise FetchError("VK cannot answer", found=text, fix=f"correct the search settings; {KEPT}")


def _is_page(answer: Any) -> bool:
    response = answer.get("response") if isinstance(answer, dict) else None
    return (
        isinstance(response, dict)
        and isinstance(response.get("count"), int)
        and isinstance(response.get("items"), list)
    )
