"""Search for public geotagged photos in the social network VK.

``photos.search`` knows circles of five radii, shows at most the first 3000 hits of a question, and
calls the radius "very approximate". So the area is covered with overlapping circles, a question with
more hits is asked again for halves of its time, and hits are filtered by the area itself.

Time is halved rather than circles made smaller: halves are disjoint and exact, and the questions that
are asked in vain are fewer than those that are answered, while one circle is covered by some 60
circles of the next smaller radius, most of them empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from shapely.geometry.base import BaseGeometry

from geolatents.acquire.area import read_area
from geolatents.acquire.photos.grid import METRES_PER_DEGREE, WorldGrid
from geolatents.acquire.photos.journal import Journal, open_journal
from geolatents.acquire.photos.privacy import pseudonyms, read_exclusions
from geolatents.acquire.photos.table import limited_per_owner, write_photo_list
from geolatents.acquire.scene_list import search_values
from geolatents.acquire.vk_photos.api import PAGE, Circle, TooLarge, VkApi
from geolatents.acquire.vk_photos.items import PROVIDER, Reader
from geolatents.errors import ConfigError, FetchError
from geolatents.logs import LOG, progress
from geolatents.settings.vk_photos import Radius, VkPhotos

RADII: tuple[int, ...] = tuple(sorted(get_args(Radius), reverse=True))
"""Metres; the radii that VK knows, largest first."""

REACH = 0.85
"""Share of the stated radius that a circle is trusted to reach."""

WINDOW = 3000
"""Hits of one question that can be reached, whatever their count (seen in public clients, not documented)."""

ESTIMATE = 0.9
"""Share of the count below which an empty page means that hits are out of reach, not that the count was wrong."""

MOST_CIRCLES = 1_000_000
"""More take days at three requests a second."""

SHORTEST_SPLIT = 60
"""Seconds; a shorter interval is not halved because of VK's internal errors."""


@dataclass(frozen=True)
class Question:
    """What one series of pages answers: photos of a circle within an interval.

    Attributes:
        circle: Where.
        start: First second (Unix time).
        end: Last second.
    """

    circle: Circle
    start: int
    end: int

    @property
    def name(self) -> str:
        """Name in the journal."""
        place = f"{self.circle.longitude:.6f},{self.circle.latitude:.6f},{self.circle.radius}"
        return f"{place}/{self.start}-{self.end}"

    def halves(self) -> tuple[Question, Question]:
        """The same circle in the two halves of the interval."""
        middle = (self.start + self.end) // 2
        return (
            Question(self.circle, self.start, middle),
            Question(self.circle, middle + 1, self.end),
        )


def search_photos(
    settings: VkPhotos, data: Path, downloads: Path, table: Path, listing: Path
) -> None:
    """Search for photos and write their list.

    A search that was killed goes on with the question where it was, within a week.

    Args:
        settings: What to look for, and where VK is.
        data: Data folder that the area and the exclusions are relative to.
        downloads: Folder of downloads; holds the salt of the hashes and the journal of the search.
        table: GeoParquet to write, see :func:`~geolatents.acquire.photos.table.write_photo_list`.
        listing: JSON to write.

    Raises:
        ConfigError: Area, salt or exclusions cannot be used.
        AccessError: The token is missing or refused, or VK wants a human to confirm.
        FetchError: VK fails, the quota is used up, or nothing was found.
    """
    search = settings.search
    area = read_area(search.area, data)
    reader = Reader(
        search,
        area,
        pseudonyms(downloads),
        read_exclusions(data / search.exclude if search.exclude else None),
    )
    circles = circles_over(area, search.radius or fitting_radius(area))
    questions = [Question(circle, *span) for circle in circles for span in reader.spans]
    LOG.info(
        "VK: %d circles of %d m and %d intervals: %d requests or more, %.0f minutes or more",
        len(circles), circles[0].radius, len(reader.spans), len(questions),
        len(questions) / settings.service.rate / 60,
    )  # fmt: skip
    api = VkApi(settings.service, downloads, search.most_requests)
    with open_journal(downloads / PROVIDER / "searches", reader.key()) as journal:
        for question in progress(
            questions, total=len(questions), what="searching VK", unit="question"
        ):
            _answer(question, api, reader, journal)
        kept = limited_per_owner(journal.photos.values(), search.per_owner)
        LOG.info(
            "VK: %d photos of %d, by %d requests; left out: %s",
            len(kept), len(journal.photos), api.requests, reader.left_out(),
        )  # fmt: skip
        write_photo_list(kept, PROVIDER, search.cell_km, search_values(settings), table, listing)


def fitting_radius(area: BaseGeometry) -> int:
    """The largest documented radius below a third of the area's side: tens to hundreds of circles.

    Args:
        area: Polygons in longitude and latitude.

    Returns:
        Metres.
    """
    side = math.sqrt(_square_metres(area))
    return next((radius for radius in RADII if radius <= side / 3), RADII[-1])


def circles_over(area: BaseGeometry, radius: int) -> list[Circle]:
    """Circles that cover an area, each around a cell of a worldwide grid.

    Args:
        area: Polygons in longitude and latitude.
        radius: Metres.

    Raises:
        ConfigError: They are more than anybody can ask for.
    """
    side = REACH * radius * math.sqrt(2)
    if _square_metres(area) / side**2 > MOST_CIRCLES:
        raise ConfigError(
            f"an area takes more than {MOST_CIRCLES:,} circles of {radius} m",
            fix="choose a larger `radius` or a smaller `area`",
        )
    return [
        Circle((west + east) / 2, (south + north) / 2, radius)
        for west, south, east, north in WorldGrid(side).boxes_over(area)
    ]


def _square_metres(area: BaseGeometry) -> float:
    """About how large an area is, by its middle latitude."""
    middle = math.radians((area.bounds[1] + area.bounds[3]) / 2)
    return float(area.area * math.cos(middle) * METRES_PER_DEGREE**2)


def _answer(question: Question, api: VkApi, reader: Reader, journal: Journal) -> None:
    """Answer a question or, where it has too many hits, its halves."""
    waiting = [question]
    while waiting:
        current = waiting.pop()
        split = journal.split(current.name)
        if split is None:
            items = _hits(current, api)
            split = items is None
            journal.write(current.name, None if items is None else reader.photos(items))
        if split:
            waiting.extend(current.halves())


def _hits(question: Question, api: VkApi) -> list[dict[str, Any]] | None:
    """All photo objects that answer a question; None where it must be split.

    Counts are estimates that change between pages, pages overlap, and a page may be short although
    more follow. So the next offset follows from what came, and the end is an empty page, unless
    count and hits agree; a page without anything new is passed over as a whole.
    """
    hits: dict[tuple[Any, Any], dict[str, Any]] = {}
    offset = most = 0
    try:
        while offset < WINDOW:
            # One second more at both ends: VK does not say whether they are inside.
            answer = api.search(question.circle, max(0, question.start - 1), question.end + 1, offset)  # fmt: skip
            most = max(most, answer.count)
            out_of_reach = not answer.items and PAGE <= offset < ESTIMATE * most
            if (most > WINDOW or out_of_reach) and question.start < question.end:
                return None
            before = len(hits)
            hits.update(((item.get("owner_id"), item.get("id")), item) for item in answer.items)
            new = len(hits) > before
            offset += len(answer.items) if new else PAGE
            if offset >= most and (offset == most or not new):
                return list(hits.values())
        if question.start < question.end:
            return None
        LOG.warning("more photos in a second than VK shows: some of %s are lost", question.name)
        return list(hits.values())
    except TooLarge as error:
        if question.end - question.start >= SHORTEST_SPLIT:
            return None
        raise FetchError(
            "VK does not answer even for the shortest interval",
            where=question.name,
            found=error,
            fix="try again later; what was found is kept for the next run",
        ) from None
