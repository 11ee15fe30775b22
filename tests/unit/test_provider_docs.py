"""Pages of providers: every configuration in them is valid, and none is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from geolatents.settings.config import Config, validate_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (ROOT / "docs/providers").glob("*.md") if path.stem != "README")
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def providers() -> set[str]:
    """Providers of the schema that have a page: all but local files and the demo country."""
    schema = str(Config.model_json_schema())
    found = set(re.findall(r"'provider': \{'const': '(\w+)'", schema))
    return found - {"files", "images", "synthetic"} | {"corine", "archives"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_configurations_of_a_page_are_valid(page: Path) -> None:
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks, "a page shows a configuration"
    for block in blocks:
        validate_config(yaml.safe_load(block), where=str(page))


def test_every_provider_has_a_page_and_every_page_is_listed() -> None:
    pages = {page.stem for page in PAGES}
    assert pages == providers()
    listed = (ROOT / "docs/providers/README.md").read_text(encoding="utf-8")
    assert pages == set(re.findall(r"\((\w+)\.md\)", listed))
