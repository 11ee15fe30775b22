"""The Yandex Static API, imitated after its published documentation.

Form v1: https://yandex.com/maps-api/docs/static-api/request.html (parameters),
request/map-size.html (650 x 450 at most), and response.html (PNG; 400 as XML, 403 as text, 429).
Form 1.x: https://tech.yandex.com/maps/doc/staticapi/1.x/dg/concepts/input_params-docpage/ (`l` and `ll`
are required, `z` is 0 to 17, `key` is for the commercial version). The text of 400 for a size that is
too large is that of https://yandex.ru/blog/mapsapi/61255. That satellite images are JPEG and what the
service sends where it has none is not documented.
"""

from __future__ import annotations

import hashlib
import io
import math

import numpy as np
from PIL import Image

from tests.services.base import Answer, Call, LocalService

LAYERS = {"map", "sat", "skl", "trf"}


class Yandex(LocalService):
    """Images whose colours follow from the position, so that a test can tell which one it got.

    Args:
        key: The key that is valid.
        bare: Boxes (west, south, east, north) without satellite imagery.
        plain: Boxes whose road map is of one colour.
    """

    GREY = (204, 204, 204)
    PLAIN = (240, 240, 240)

    def __init__(self, key: str = "", bare: tuple = (), plain: tuple = ()) -> None:
        super().__init__()
        self.key, self.bare, self.plain = key, bare, plain
        self.route(r"/v1/?", self._v1)
        self.route(r"/1\.x/?", self._old)

    def _v1(self, call: Call) -> Answer:
        if "apikey" not in call.query:
            return Answer.text("Missing apikey parameter", 403)
        if call.query["apikey"] != self.key:
            return Answer.text("Invalid api key:*****", 403)
        # v1 has no `l`; like other unknown parameters it changes nothing
        return self._image(call, "map", closest=21)

    def _old(self, call: Call) -> Answer:
        layers = call.query.get("l", "").split(",")
        if not set(layers) <= LAYERS:
            return _refused("Wrong layers")
        if call.query.get("key", self.key) != self.key:
            return Answer.text("Invalid api key:*****", 403)
        return self._image(call, "sat" if "sat" in layers else "map", closest=17)

    def _image(self, call: Call, layer: str, closest: int) -> Answer:
        position = _numbers(call.query.get("ll", ""), float)
        size = _numbers(call.query.get("size", "450,450"), int)
        if not position or abs(position[0]) > 180 or abs(position[1]) > 90:
            return _refused("Unable to evaluate area of interest")
        if not call.query.get("z", "").isdigit() or int(call.query["z"]) > closest:
            return _refused("Wrong zoom")
        if not size or not (0 < size[0] <= 650 and 0 < size[1] <= 450):
            return _refused(f"Wrong size: {call.query['size']}")
        if layer == "sat":
            colour = self.GREY if _within(position, self.bare) else None
            return Answer(
                200, drawn(position, size, "JPEG", colour), {"Content-Type": "image/jpeg"}
            )
        colour = self.PLAIN if _within(position, self.plain) else None
        return Answer(200, drawn(position, size, "PNG", colour), {"Content-Type": "image/png"})


def drawn(position, size, kind: str, colour=None) -> bytes:
    """An image of one colour, or with a pattern that belongs to a position."""
    width, height = size
    if colour is None:
        seed = hashlib.sha256(f"{position[0]:.6f},{position[1]:.6f}".encode()).digest()
        rng = np.random.default_rng(list(seed))
        coarse = rng.integers(0, 256, (math.ceil(height / 50), math.ceil(width / 50), 3), np.uint8)
        pixels = coarse.repeat(50, 0).repeat(50, 1)[:height, :width]
    else:
        pixels = np.full((height, width, 3), colour, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _refused(message: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<error>\n    <status>400</status>\n    <message>{message}</message>\n</error>'
    return Answer.text(body, 400, "text/xml")


def _numbers(text: str, kind: type) -> list | None:
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        return None
    return numbers if len(numbers) == 2 else None


def _within(position, boxes) -> bool:
    longitude, latitude = position
    return any(w <= longitude <= e and s <= latitude <= n for w, s, e, n in boxes)
