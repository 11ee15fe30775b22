"""Fingerprint of the library code that a rule reaches.

Snakemake sees no change of library code. Every rule therefore has a param with the hash of the syntax trees
(no comments, docstrings or field descriptions) of its library modules, of everything that they import from this package, and of
the package's data files that they name. A reformatted comment changes nothing; a changed line changes exactly its users.

Fields of the configuration are left out: their values, defaults included, reach a rule as params of their own, so that a
changed default runs exactly the rules that use it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from geolatents.files import write_json

PACKAGE = "geolatents"
SETTINGS = "geolatents.settings."
"""Modules whose fields are left out; their functions count."""

LEFT_OUT = (
    "geolatents.acquire.fetch.",
    "geolatents.learning.checkpoints",
    "geolatents.learning.devices",
)
"""Modules that bring, keep or place bytes, and shape nothing; a mended retry makes no tile anew."""
ROOT = Path(__file__).resolve().parent


def fingerprint(*modules: str) -> str:
    """Hash of modules and of all package modules and data files that they reach.

    Args:
        modules: Dotted names such as ``"geolatents.tiles.cut"``.

    Raises:
        ModuleNotFoundError: A module does not exist.
    """
    digest = hashlib.sha256()
    for name in sorted(reached(*modules)):
        digest.update(f"{name}={_parsed(name)[0]}\n".encode())
    return digest.hexdigest()[:16]


def reached(*modules: str) -> set[str]:
    """Names of the modules that the given ones import from this package, themselves included."""
    seen: set[str] = set()
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name not in seen and not name.startswith(LEFT_OUT):
            seen.add(name)
            pending += _parsed(name)[1]
    return seen


def normalised_tree(source: str, *, fields: bool = True) -> str:
    """Text of a syntax tree without comments, positions, docstrings and ``Field`` descriptions.

    Args:
        source: Text of a module.
        fields: Whether fields of classes, ``name: type = Field(...)``, count.
    """
    return _normalised(ast.parse(source), fields=fields)


def _normalised(tree: ast.Module, *, fields: bool) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not fields:
            node.body = [item for item in node.body if not _is_field(item)]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_text(item)]
        elif isinstance(node, ast.Call):
            node.keywords = [item for item in node.keywords if item.arg != "description"]
    return ast.dump(tree, include_attributes=False)


@cache
def _parsed(name: str) -> tuple[str, tuple[str, ...]]:
    """Hash of one module with its data files, and the package modules that it imports."""
    path = _file(name)
    if path is None:
        raise ModuleNotFoundError(f"{name} is no module of {PACKAGE}")
    facts = _facts(name, path)
    digest = hashlib.sha256(facts["tree"].encode())
    for data in sorted({file for text in facts["texts"] for file in _data_files(text, path)}):
        digest.update(data.relative_to(ROOT).as_posix().encode() + data.read_bytes())
    imported = {module if _file(module) else base for base, module in facts["imports"]}
    return digest.hexdigest(), tuple(sorted(module for module in imported if _file(module)))


def _facts(name: str, path: Path) -> dict[str, Any]:
    """What the text of a module alone says; kept beside its bytecode, as parsing 200 modules takes seconds."""
    source = path.read_bytes()
    key = hashlib.sha256(_own_source() + source).hexdigest()
    kept = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.facts.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(kept.read_bytes())
        if found["key"] == key:
            return dict(found)
    tree = ast.parse(source)
    facts: dict[str, Any] = {
        "key": key,
        "imports": sorted(set(_imports(tree, name, path))),
        "texts": sorted(set(_texts(tree))),
    }
    text = _normalised(tree, fields=not name.startswith(SETTINGS))  # last: it changes the tree
    facts["tree"] = hashlib.sha256(text.encode()).hexdigest()
    if not sys.dont_write_bytecode:
        with suppress(OSError):
            write_json(kept, facts)
    return facts


@cache
def _own_source() -> bytes:
    return Path(__file__).read_bytes()


def _file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if name.split(".")[0] == PACKAGE and candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.AST, name: str, path: Path) -> Iterator[tuple[str, str]]:
    """Modules that are imported from the package: the one for sure, and what may be a module below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((item.name, item.name) for item in node.names if _ours(item.name))
        elif isinstance(node, ast.ImportFrom) and _ours(base := _absolute(node, name, path)):
            yield from ((base, f"{base}.{item.name}") for item in node.names)


def _ours(module: str) -> bool:
    return module.split(".")[0] == PACKAGE


def _absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    keep = len(parts) - node.level + (path.name == "__init__.py")
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _texts(tree: ast.AST) -> Iterator[str]:
    """Texts in a module that may name a file."""
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and re.fullmatch(r"\w[\w./-]{1,98}[\w/]", value, re.ASCII):
            yield value


def _data_files(text: str, path: Path) -> Iterator[Path]:
    """Files of the package that a text in a module names, from the package's or the module's folder."""
    for base in (ROOT, path.parent):
        yield from _files_at(base, text)


def _files_at(base: Path, text: str) -> Iterator[Path]:
    candidate = base / text
    try:
        if candidate.is_file() and candidate.suffix not in {".py", ".pyc"}:
            yield candidate
        elif candidate.is_dir() and not (candidate / "__init__.py").exists():
            yield from (
                f
                for f in sorted(candidate.rglob("*"))
                if f.is_file() and "__pycache__" not in f.parts
            )
    except OSError:
        return


def _is_field(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "Field"
    )


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
