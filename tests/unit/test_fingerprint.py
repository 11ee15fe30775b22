"""Code fingerprints: comments change nothing, a changed line changes its users and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from geolatents import fingerprint as module
from geolatents.fingerprint import fingerprint, normalised_tree, reached


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "sub/__init__.py").write_text("")
    (tmp_path / "low.py").write_text("def low():\n    return 1\n")
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "sub/high.py").write_text("from geolatents.low import low\nTABLE = 'table.csv'\n")
    (tmp_path / "sub/relative.py").write_text("from . import high\nfrom ..low import low\n")
    (tmp_path / "alone.py").write_text("VALUE = 3\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module._parsed.cache_clear()
    yield tmp_path
    module._parsed.cache_clear()


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)
    module._parsed.cache_clear()


def test_follows_imports_of_all_forms(package: Path) -> None:
    assert reached("geolatents.sub.relative") == {
        "geolatents.sub.relative",
        "geolatents.sub.high",
        "geolatents.low",
    }


def test_comments_and_docstrings_change_nothing(package: Path) -> None:
    before = fingerprint("geolatents.sub.high")
    rewrite(package / "low.py", '"""Doc."""\n\n\ndef low():  # why\n    """Say."""\n    return 1\n')
    assert fingerprint("geolatents.sub.high") == before


def test_a_changed_line_changes_users_only(package: Path) -> None:
    high, alone = fingerprint("geolatents.sub.high"), fingerprint("geolatents.alone")
    rewrite(package / "low.py", "def low():\n    return 2\n")
    assert fingerprint("geolatents.sub.high") != high
    assert fingerprint("geolatents.alone") == alone


def test_a_named_data_file_counts(package: Path) -> None:
    before = fingerprint("geolatents.sub.high")
    rewrite(package / "table.csv", "a,c\n")
    assert fingerprint("geolatents.sub.high") != before


def test_field_descriptions_do_not_count_and_defaults_do() -> None:
    base = "x: int = Field(1, description='one')"
    assert normalised_tree(base) == normalised_tree("x: int = Field(1, description='two')")
    assert normalised_tree(base) != normalised_tree("x: int = Field(2, description='one')")


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"geolatents\.nowhere"):
        fingerprint("geolatents.nowhere")


def test_how_bytes_are_brought_is_in_no_fingerprint() -> None:
    """A mended retry must not train a model anew; what shapes a scene is seen."""
    names = reached("geolatents.acquire.planetscope.provider", "geolatents.tiles.pack")
    assert not [name for name in names if name.startswith("geolatents.acquire.fetch.")]
    assert "geolatents.acquire.planetscope.assemble" in names
    assert "geolatents.acquire.images.folders" in names


FIELDS = """
class Tiles(Section):
    size: int = Field({default}, ge=1)
    kind: Literal["a"] = "a"

    def pixels(self):
        return self.size {sign} 1
"""


def test_fields_of_the_configuration_are_params_and_no_code() -> None:
    def tree(default: int = 64, sign: str = "+") -> str:
        return normalised_tree(FIELDS.format(default=default, sign=sign), fields=False)

    assert tree() == tree(default=32)
    assert tree() != tree(sign="-")


@pytest.fixture
def kept(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is kept of ``high.py``, after a first look."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    fingerprint("geolatents.sub.high")
    (file,) = (package / "sub/__pycache__").glob("high.*.facts.json")
    module._parsed.cache_clear()
    return file


def test_a_module_is_parsed_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ast.parse", lambda *_, **__: pytest.fail("parsed again"))
    assert fingerprint("geolatents.sub.high")


def test_what_is_kept_may_be_damaged(kept: Path, package: Path) -> None:
    before = fingerprint("geolatents.sub.high")
    for text in ("", "[]", "{}", kept.read_text()[:-9]):
        kept.write_text(text)
        module._parsed.cache_clear()
        assert fingerprint("geolatents.sub.high") == before


def test_what_is_kept_knows_no_other_files(kept: Path, package: Path) -> None:
    """A module or a data file may come into being after the module that names it was parsed."""
    before = fingerprint("geolatents.sub.high")
    rewrite(package / "sub/table.csv", "x\n")
    assert fingerprint("geolatents.sub.high") != before
    rewrite(package / "sub/later.py", "from . import alone\n")
    assert "geolatents.sub.alone" not in reached("geolatents.sub.later")
    rewrite(package / "sub/alone.py", "")
    assert "geolatents.sub.alone" in reached("geolatents.sub.later")


def test_nothing_is_kept_where_python_keeps_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    fingerprint("geolatents.sub.high")
    assert not list(package.rglob("*.facts.json"))
