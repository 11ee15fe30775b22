"""What all sections share: strictness, names, canonical text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from geolatents.files import canonical_json

SCHEMA_VERSION = 1

NO_SECTION = "null"
"""Canonical JSON of a section that the configuration leaves out."""

RESERVED = frozenset(
    {
        "all", "archive", "batches", "checks", "cover", "download", "downloads", "experiments",
        "ground", "labels", "landcover", "landuse", "logs", "maps", "models", "olr", "photos",
        "preview", "proof", "report", "scenes", "search", "source", "splits", "study", "summary", "test",
        "tiles",
        "train", "vae", "validation", "verify",
    }
)  # fmt: skip
"""Words that are targets, folders or parts, and therefore no names."""


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name!r} is a reserved word; choose another name")
    return name


Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*[A-Za-z0-9]$", max_length=100),
    AfterValidator(_not_reserved),
]
"""A name that becomes part of a path: letters, digits, ``_``, ``.`` and ``-``; two characters or more."""


class Section(BaseModel):
    """A strict, immutable section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def canonical(self) -> str:
        """The section as one canonical JSON string: sorted, defaults left out, schema version in front.

        For what is kept and compared over versions, such as the search that a list of scenes came from.
        """
        values: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return canonical_json({"schema": SCHEMA_VERSION, **values})

    def complete(self, leave_out: Iterable[str] = ()) -> str:
        """The same with all values, also those that are defaults: what a rule's param shows.

        A changed default is then a changed param of exactly the rules that use it; those that state
        the value, and all others, see nothing.

        Args:
            leave_out: Fields that do not matter to the rule.
        """
        values: dict[str, Any] = self.model_dump(mode="json", exclude=set(leave_out))
        return canonical_json({"schema": SCHEMA_VERSION, **values})

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of :meth:`canonical`."""
        return cls.model_validate(section_values(text))


def section_values(text: str) -> dict[str, Any]:
    """Values of a section from its canonical JSON."""
    values: dict[str, Any] = json.loads(text)
    values.pop("schema", None)
    return values
