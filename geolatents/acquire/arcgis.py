"""Errors of ArcGIS services, which come with status 200."""

from __future__ import annotations

from typing import Any, NamedTuple

from geolatents.acquire.fetch.http import TRANSIENT
from geolatents.acquire.fetch.secrets import redacted

ACCESS = frozenset({401, 403, 498, 499})
"""Codes about access; the last two are of tokens that are wrong or missing."""


class ArcgisRefusal(NamedTuple):
    """An error that a service reports.

    Attributes:
        text: What it says.
        lasting: Whether it is about the request, so that asking again is in vain.
        access: Whether it is about access.
    """

    text: str
    lasting: bool
    access: bool


def arcgis_refusal(answer: Any) -> ArcgisRefusal | None:
    """The error in an answer: ``{"error": {"code", "message", "details"}}``; None if there is none.

    What is wrong with a request stays wrong; everything else may be a matter of time.
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    if not error:
        return None
    values = error if isinstance(error, dict) else {"message": error}
    code, details = values.get("code"), values.get("details")
    texts = [values.get("message"), *(details if isinstance(details, list) else [details])]
    said = "; ".join(dict.fromkeys(str(text) for text in texts if text)) or "no reason given"
    return ArcgisRefusal(
        redacted(f"error {code}: {said}" if code is not None else f"error: {said}")[:500],
        lasting=isinstance(code, int) and 400 <= code < 500 and code not in TRANSIENT,
        access=code in ACCESS,
    )
