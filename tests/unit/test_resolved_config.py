"""The configuration in an archive is the whole of it, and says nothing of its user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geolatents.places import CONTACT
from geolatents.plan import Plan
from geolatents.settings.config import load_config, validate_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["config.yaml", "config/cyprus-photos.yaml"])
def test_it_is_read_as_the_same_configuration(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOLATENTS_DOWNLOADS", str(tmp_path))
    config = load_config(ROOT / name)
    again = validate_config(json.loads(Plan(config).resolved()))
    assert list(again.datasets) == list(config.datasets)
    assert again.datasets == config.datasets
    assert again.experiments == config.experiments
    assert again.archive == config.archive


def test_folders_and_contacts_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "GEOLATENTS_DATA", "before"
    )  # a plan sets these, the end of the test resets them
    monkeypatch.setenv("GEOLATENTS_DOWNLOADS", "before")
    values = load_config(ROOT / "config/cyprus-photos.yaml").model_dump(mode="json")
    for photos in values["photos"].values():
        photos["source"]["service"]["contact"] = "ada@home.org"
    private = {key: str(tmp_path / key) for key in ("results", "data", "downloads", "searches")}
    text = Plan(validate_config(values | private)).resolved()
    assert "ada@home.org" not in text
    assert CONTACT in text
    assert str(tmp_path) not in text
    assert validate_config(json.loads(text)).results == "results"
