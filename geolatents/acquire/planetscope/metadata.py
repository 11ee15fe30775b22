"""PlanetScope's metadata XML: acquisition time and the factors from radiance to reflectance.

Source: Planet, "PlanetScope product specifications": an Analytic product stores radiance as uint16;
the value times ``reflectanceCoefficient`` of its band is top-of-atmosphere reflectance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from geolatents.errors import SceneError

REFLECTANCE_UNIT = 10000
"""Stored value of reflectance 1."""


@dataclass(frozen=True, slots=True)
class PlanetScopeMetadata:
    """What a scene needs of its XML.

    Attributes:
        acquired: Acquisition time, ISO 8601 with time zone.
        coefficients: Factor from stored value to reflectance for each 1-based band number.
    """

    acquired: str
    coefficients: dict[int, float]

    def scale(self, band_indexes: list[int], where: Path) -> list[float]:
        """Factors from stored value to reflectance x 10000 of the given bands.

        Raises:
            SceneError: A band has no coefficient.
        """
        missing = [index for index in band_indexes if index not in self.coefficients]
        if missing:
            raise SceneError(
                f"the metadata have no reflectanceCoefficient for band {missing[0]}",
                where=where,
                expected=f"one for each of the bands {band_indexes}",
                found=f"bands {sorted(self.coefficients)}",
                fix="use the XML that belongs to the image, or set `imagery.metadata: none`",
            )
        return [self.coefficients[index] * REFLECTANCE_UNIT for index in band_indexes]


def metadata_file(image: Path) -> Path:
    """The XML beside an image: ``{stem}_metadata.xml``, and ``..._metadata_clip.xml`` for clips.

    Raises:
        SceneError: There is none.
    """
    plain = image.stem.removesuffix("_clip")
    # Surface reflectance comes with the XML of the radiance product.
    bases = list(
        dict.fromkeys([image.stem, plain, re.sub(r"_SR(_8b)?(_harmonized)?$", r"\1", plain)])
    )
    names = [f"{base}_metadata{clip}.xml" for base in bases for clip in ("", "_clip")]
    for name in names:
        if image.with_name(name).is_file():
            return image.with_name(name)
    raise SceneError(
        "the metadata XML is missing",
        where=image,
        expected=names[0],
        fix="download it with the image and put it beside it, or set `imagery.metadata: none`",
    )


def is_surface_reflectance(image: Path) -> bool:
    """Whether an image's name says that its values already are reflectance x 10000."""
    return re.search(r"_SR(_|$)", image.stem) is not None


def read_metadata(file: Path) -> PlanetScopeMetadata:
    """Read the XML of a PlanetScope (or RapidEye) Analytic product, whatever its namespaces.

    Raises:
        SceneError: The file is no XML, or has no acquisition time.
    """
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise SceneError(
            "the metadata cannot be read", where=file, found=error, fix="download the XML again"
        ) from None
    coefficients = {}
    for band in root.iterfind(".//{*}bandSpecificMetadata"):
        number, factor = band.findtext("{*}bandNumber"), band.findtext("{*}reflectanceCoefficient")
        if number and factor:
            coefficients[int(number)] = _positive(factor, file)
    return PlanetScopeMetadata(
        _time(root.findtext(".//{*}acquisitionDateTime"), file), coefficients
    )


def _time(text: str | None, file: Path) -> str:
    try:
        return datetime.fromisoformat((text or "").strip()).isoformat(timespec="seconds")
    except ValueError:
        raise SceneError(
            "the metadata have no acquisition time",
            where=file,
            expected="an element acquisitionDateTime such as 2017-09-15T02:07:28+00:00",
            found=text,
            fix="download the XML again, or set `imagery.metadata: none` and `imagery.acquired`",
        ) from None


def _positive(text: str, file: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise SceneError(
            "a reflectanceCoefficient makes no sense",
            where=file,
            expected="a number between 0 and 1",
            found=text,
            fix="download the XML again, or set `imagery.metadata: none`",
        )
    return value
