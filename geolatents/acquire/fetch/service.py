"""The client of a service, with all that its settings say of how it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from geolatents.acquire.fetch.http import Client, Pace
from geolatents.settings.services import Patience

C = TypeVar("C", bound=Client)


def client_of(service: Patience, name: str, downloads: Path, **secrets: Any) -> Client:
    """The client of a service; makes no request.

    Args:
        service: How it is asked: rate, timeout, attempts and contact.
        name: Name of the service in messages.
        downloads: Folder of downloads; processes share the pace in it.
        secrets: ``key``, ``secret_headers``, ``secret_params`` and ``home`` of
            :class:`~geolatents.acquire.fetch.http.Client`.
    """
    return special_client(Client, service, name, downloads, **secrets)


def special_client(
    kind: type[C], service: Patience, name: str, downloads: Path, **secrets: Any
) -> C:
    """As :func:`client_of`, of a class that knows the ways of one service."""
    return kind(
        name,
        Pace(service.rate, downloads / ".pace"),
        timeout=service.timeout,
        attempts=service.attempts,
        contact=service.contact,
        **secrets,
    )
