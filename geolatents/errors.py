"""Errors that say what is wrong, where, what was expected and found, and what to do."""

from __future__ import annotations

from pathlib import Path


class GeolatentsError(Exception):
    """Base of every error that a user can mend.

    Args:
        problem: What is wrong, one sentence without a full stop.
        where: File, row or configuration key.
        expected: What would have been right.
        found: What is there instead.
        fix: What the user can do.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: str | Path | None = None,
        expected: object = None,
        found: object = None,
        fix: str | None = None,
    ) -> None:
        lines = [problem]
        for label, value in (
            ("where", where),
            ("expected", expected),
            ("found", found),
            ("what to do", fix),
        ):
            if value is not None:
                lines.append(f"  {label}: {value}")
        super().__init__("\n".join(lines))
        self.problem = problem
        self.where = where


class ConfigError(GeolatentsError):
    """The configuration is not valid."""


class SceneError(GeolatentsError):
    """An image cannot be used as a scene."""


class LandCoverError(GeolatentsError):
    """A land-cover layer cannot be used."""


class NoTilesError(GeolatentsError):
    """No tile is left of a scene or dataset."""


class LabelError(GeolatentsError):
    """Labels, a mapping or a nomenclature do not fit."""


class SplitError(GeolatentsError):
    """A split cannot be made."""


class StoreError(GeolatentsError):
    """A store is missing, truncated or not what its manifest says."""


class TrainingError(GeolatentsError):
    """A model cannot be trained or applied."""


class TrainingStopped(TrainingError):  # noqa: N818  # no mistake: it goes on when run again
    """A training was asked to stop and has saved its state."""


class DiskError(GeolatentsError):
    """The disk is full, or fails."""


class FetchError(GeolatentsError):
    """Something cannot be downloaded, or is not what it should be."""


class AccessError(FetchError):
    """A service refuses access, or a key for it is missing."""


class ArchiveError(GeolatentsError):
    """An archive of a run cannot be made or read."""
