"""Which field holds the class, and what its values mean."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geolatents.errors import LandCoverError
from geolatents.nomenclature import Nomenclature
from geolatents.settings.landcover import LandCover

CODE_FIELD = re.compile(r"(clc)?_?(code)?_?(\d{2}|\d{4})?", re.IGNORECASE)
NO_DATA = {
    "code": frozenset({"0", "48", "255", "-128", "999"}),
    "grid_code": frozenset({"0", "48", "255", "-128", "128"}),
    "position": frozenset({"0", "255"}),
}
"""Values without land cover.

48 and 999 are NODATA of the official legend, -128 and 255 of its rasters; 128 is -128 where the bytes
are read without a sign; 0 is what the rasters of overseas territories have around the islands (EEA,
CLC legend and 100 m rasters).
"""


@dataclass(frozen=True)
class Meaning:
    """What the values of a layer mean.

    Attributes:
        reading: ``code``, ``grid_code`` or ``position``.
        codes: Code of each value that has one, by the value's text.
        nodata: Values without land cover.
    """

    reading: str
    codes: Mapping[str, str]
    nodata: frozenset[str]


def looks_like_code_field(name: str) -> bool:
    """Whether a field is named like ``CODE_18``, ``Code_18``, ``CLC_CODE`` or ``CLC2018``."""
    match = CODE_FIELD.fullmatch(name)
    return bool(match and (match[2] or (match[1] and match[3])))


def find_code_field(fields: Sequence[str], settings: LandCover, where: str | Path) -> str:
    """The named field, or the only one named like a code field.

    Raises:
        LandCoverError: The field is missing, or there are none or several candidates.
    """
    if settings.code_field is not None:
        if settings.code_field in fields:
            return settings.code_field
        near = difflib.get_close_matches(
            settings.code_field.lower(), [f.lower() for f in fields], n=1
        )
        meant = [f for f in fields if f.lower() in near]
        raise LandCoverError(
            "the land cover has no such code field",
            where=where,
            expected=f"a field {settings.code_field!r}",
            found=_listed(fields),
            fix=f"set `landcover.code_field`{f' to {meant[0]!r}' if meant else ''}",
        )
    candidates = [field for field in fields if looks_like_code_field(field)]
    if len(candidates) == 1:
        return candidates[0]
    raise LandCoverError(
        "the land cover has several possible code fields"
        if candidates
        else "the land cover has no field that looks like a class code",
        where=where,
        expected="one field named like CODE_18, Code_18 or code_12",
        found=_listed(candidates or fields),
        fix="name the field in `landcover.code_field`",
    )


def value_text(value: object) -> str:
    """One text for equal values: ``211``, ``211.0``, ``" 211 "`` and ``"2.1.1"`` are ``"211"``."""
    text = "" if value is None else str(value).strip()
    if re.fullmatch(r"\d\.\d\.\d", text):
        return text.replace(".", "")
    if re.fullmatch(r"-?\d+\.0*", text):
        return text.split(".")[0]
    return "" if text.lower() in {"nan", "none", "<na>"} else text


def decode(
    counts: Mapping[str, int],
    settings: LandCover,
    nomenclature: Nomenclature,
    where: str | Path,
    unit: str = "polygons",
    nodata: Iterable[str] = (),
) -> Meaning:
    """Find the code of each value.

    Args:
        counts: How often each value occurs, by its text.
        settings: `values`, `classes` and `unknown` are used.
        nomenclature: Whose codes are meant.
        where: File, for messages.
        unit: What is counted.
        nodata: The file's own no-data values.

    Raises:
        LandCoverError: A value has no class and `unknown` is `error`, or `classes` names no class.
    """
    reading, known = _reading(counts, settings, nomenclature, where)
    nothing = frozenset(nodata) | NO_DATA[reading]
    codes = {text: known[text] for text in counts if text in known and text not in set(nodata)}
    unknown = {text: n for text, n in counts.items() if text not in codes and text not in nothing}
    if unknown and settings.unknown == "error":
        raise LandCoverError(
            f"the land cover has codes that are not in nomenclature {nomenclature.name!r}",
            where=where,
            expected=_expectation(reading, known),
            found=", ".join(
                f"{text or '(empty)'} ({n} {unit})" for text, n in sorted(unknown.items())[:10]
            )
            + (f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""),
            fix="correct them, set `landcover.values` if the values are of another kind, or set "
            "`landcover.unknown: nodata` to leave them out",
        )
    return Meaning(reading, codes, nothing | unknown.keys())


def _reading(
    counts: Mapping[str, int], settings: LandCover, nomenclature: Nomenclature, where: str | Path
) -> tuple[str, dict[str, str]]:
    """What the values are, and the code of each value that there can be."""
    by_code = {code: code for code in nomenclature.codes}
    by_grid = {
        str(value): nomenclature.classes[position].code
        for value, position in nomenclature.by_grid_code().items()
    }
    if settings.values == "position":
        return "position", _positions(settings.classes or [], nomenclature, where)
    if settings.values == "code" or not by_grid:
        return "code", by_code
    fits_grid = sum(text in by_grid for text in counts)
    if settings.values == "grid_code" or fits_grid > sum(text in by_code for text in counts):
        return "grid_code", by_grid
    return "code", by_code


def _positions(
    classes: Sequence[str], nomenclature: Nomenclature, where: str | Path
) -> dict[str, str]:
    strangers = [code for code in classes if code not in nomenclature]
    if strangers:
        raise LandCoverError(
            f"`landcover.classes` names codes that are not in nomenclature {nomenclature.name!r}",
            where=where,
            expected="codes such as " + ", ".join(nomenclature.codes[:3]),
            found=", ".join(strangers),
            fix="correct `landcover.classes`",
        )
    return {str(i): code for i, code in enumerate(classes, start=1)}


def _expectation(reading: str, known: Mapping[str, str]) -> str:
    if reading == "code":
        return f"codes {min(known)} to {max(known)}"
    what = "official grid codes" if reading == "grid_code" else "positions in `landcover.classes`,"
    return f"{what} 1 to {len(known)}"


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(map(repr, fields)) or "no fields"
