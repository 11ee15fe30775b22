"""Planet's SDK on this package's HTTP client.

The SDK knows how orders and assets are asked for and followed. Its own transport is replaced, through the
session that it lets a caller provide, because it

* ignores ``Retry-After`` and does not repeat after 500, 503 and 504,
* repeats a lost order blindly, which would be paid twice, and repeats after an exhausted quota,
* paces requests within one process only, while scenes are downloaded by several,
* sends the key to whatever host an answer links to.

Two more of its ways are avoided elsewhere: searches and product checks that ask a fixed address for the
bundle specification, and downloads that keep a truncated file.

Source: https://github.com/planetlabs/planet-client-python, version 3.7.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx
import planet  # type: ignore[import-untyped]
import requests
from planet import exceptions

from geolatents.acquire.fetch.http import Again, Client, origin, retry_after
from geolatents.acquire.fetch.secrets import Key, public_url, redacted, remember
from geolatents.acquire.fetch.service import special_client
from geolatents.errors import AccessError, FetchError
from geolatents.logs import LOG
from geolatents.settings.planetscope import PlanetScopeService

KEY = Key("Planet", "PL_API_KEY", "at https://www.planet.com/account")

ITEM_TYPE = "PSScene"

T = TypeVar("T")

QUOTA = "download quota"
"""Word in the body of a 429 that means an exhausted contract, not haste."""

TOKEN_LENGTH = 16
"""Values of a signed address's query below this length are no tokens."""


class MissingError(FetchError):
    """An order, item or asset does not exist, or not for this account."""


class PlanetClient(Client):
    """A client that does not repeat requests after an exhausted quota, which also has status 429."""

    @contextmanager
    def opened(
        self, url: str, *, accepted: frozenset[int] = frozenset(), **request: Any
    ) -> Iterator[requests.Response]:
        """As :meth:`Client.opened`.

        Raises:
            AccessError: Also where the download quota is exhausted.
        """
        with super().opened(url, accepted=accepted | {429}, **request) as response:
            if response.status_code == 429:
                self._too_many(response)
            yield response

    def _too_many(self, response: requests.Response) -> None:
        text, wait = redacted(" ".join(response.text.split()))[:500], retry_after(response.headers)
        if QUOTA in text.lower():
            raise AccessError(
                "Planet's download quota is exhausted",
                where=public_url(response.url, signed=True),
                found=text,
                fix="wait for the next period of the contract, or ask for fewer or smaller scenes "
                "(area, dates, `product.clip`); what is complete is kept",
            )
        if wait:
            self.pace.hold(response.url, wait)
        raise Again(f"status 429: {text}", wait)


@dataclass(frozen=True)
class Api:
    """Planet's APIs with the user's key.

    Attributes:
        client: For requests that the SDK does not make.
        sdk: The SDK, on the same client.
        url: Root of the APIs.
    """

    client: PlanetClient
    sdk: Any
    url: str

    def ask(self, url: str, **request: Any) -> Any:
        """JSON answer to a request with the key.

        Raises:
            AccessError, FetchError: As for :meth:`Client.json`; or the URL leads to another host.
        """
        check_host(url, self.url)
        return self.client.json(url, **request)


def connect(service: PlanetScopeService, downloads: Path) -> Api:
    """The APIs with the key of the environment or a netrc file; makes no request.

    Raises:
        AccessError: There is no key.
    """
    key = KEY.find(service.url)
    client = _client(service, downloads, {"Authorization": f"api-key {key}"})
    session = _Session(client, service.url)
    return Api(client, planet.Planet(session, base_url=service.url), service.url)


def storage_client(service: PlanetScopeService, downloads: Path) -> PlanetClient:
    """A client without the key, for signed addresses: these lead to other hosts."""
    return _client(service, downloads, {})


def _client(
    service: PlanetScopeService, downloads: Path, secret_headers: Mapping[str, str]
) -> PlanetClient:
    return special_client(
        PlanetClient,
        service,
        "Planet",
        downloads,
        key=KEY,
        secret_headers=secret_headers,
        home=service.url,
    )


def check_host(url: str, root: str) -> None:
    """Refuse to send the key elsewhere than to the configured service.

    Raises:
        FetchError: The URL is of another host.
    """
    if origin(url) != origin(root):
        raise FetchError(
            "Planet's answer links to another host, which is not given the key",
            where=public_url(url, signed=True),
            expected=f"an address below {public_url(root)}",
            fix="set `service.url` to the service itself, or let the mirror rewrite links",
        )


def signed(location: str) -> str:
    """Take note of the tokens of a signed address, so that no message shows them."""
    for _, value in parse_qsl(urlsplit(location).query):
        if len(value) >= TOKEN_LENGTH:
            remember(value)
    return location


def waited(
    wait: Callable[..., T],
    subject: Any,
    service: PlanetScopeService,
    *,
    where: str,
    problem: str,
    expected: str,
    going_on: str,
) -> T:
    """What one of the SDK's waiting methods gives, as often asked as the time limit allows.

    Args:
        wait: The method.
        subject: What it waits for.
        service: How often to ask, and for how long.
        where: Its name, for messages.
        problem: What is wrong when the time is up.
        expected: What should have been there.
        going_on: What the next run finds.

    Raises:
        FetchError: The time is up.
    """
    try:
        return wait(
            subject,
            delay=service.poll_interval,
            max_attempts=math.ceil(service.time_limit / service.poll_interval),
            callback=lambda state: LOG.info("%s is %s", where, state),
        )
    except exceptions.ClientError:
        raise FetchError(
            problem,
            where=where,
            expected=f"{expected} within {service.time_limit:g} s",
            fix=f"run again later: {going_on}; or raise `service.time_limit`",
        ) from None


class _Session(planet.Session):  # type: ignore[misc]
    """The SDK's session with requests made by our client."""

    def __init__(self, client: PlanetClient, root: str) -> None:
        # Without an authentication of its own the SDK would look for profiles in the home folder; this
        # one adds nothing, so that its httpx client has no key at all.
        super().__init__(auth=httpx.Auth())
        self._planet, self._root = client, root

    async def request(
        self, method: str, url: str, json: Any = None, params: Mapping[str, Any] | None = None
    ) -> _Answer:
        return await asyncio.to_thread(self._answer, method, url, json, params)

    def _answer(
        self, method: str, url: str, body: Any, params: Mapping[str, Any] | None
    ) -> _Answer:
        check_host(url, self._root)

        def once() -> _Answer:
            with self._planet.opened(
                url, method=method, params=params, body=body, accepted=frozenset({404})
            ) as response:
                return _read(response)

        # A new order is repeated by who places it, after a look whether it has arrived.
        if method == "POST":
            return once()
        answer: _Answer = self._planet.tried(once, public_url(url))
        return answer


@dataclass(frozen=True)
class _Answer:
    """What the SDK needs of its ``models.Response``."""

    status_code: int
    body: Any

    def json(self) -> Any:
        return self.body


def _read(response: requests.Response) -> _Answer:
    text = response.content
    if response.status_code == 404:
        raise MissingError(
            "Planet does not know this",
            where=public_url(response.url, signed=True),
            found=redacted(text.decode("utf-8", "replace"))[:500],
            fix="search again; the account may also have no access to it",
        )
    try:
        return _Answer(response.status_code, json.loads(text) if text else None)
    except ValueError:
        raise Again("the answer is no JSON") from None
