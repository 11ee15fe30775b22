"""Providers and their settings by name.

They are imported by name and not by an import statement, so that the code fingerprint of a rule
follows the provider of its own dataset alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from geolatents.settings.base import Section


def provider_module(provider: str) -> Any:
    """What a provider offers: ``search``, ``planned``, ``download``, ``assemble``, or ``search_photos``."""
    return import_module(f"geolatents.acquire.{provider}.provider")


def provider_settings(provider: str) -> type[Section]:
    """Type of a provider's settings, with the sections ``search`` and ``service``, of scenes also ``product``."""
    settings: type[Section] = import_module(f"geolatents.settings.{provider}").SETTINGS
    return settings


def parse_section(provider: str, name: str, text: str) -> Any:
    """A section of a provider's settings from its canonical JSON."""
    section: Any = provider_settings(provider).model_fields[name].annotation
    return section.parse(text)
