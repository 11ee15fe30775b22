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
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
    tree = ast.parse(source)
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
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    text = normalised_tree(source, fields=not name.startswith(SETTINGS))
    digest = hashlib.sha256(text.encode())
    for data in sorted(_data_files(tree, path)):
        digest.update(data.relative_to(ROOT).as_posix().encode() + data.read_bytes())
    return digest.hexdigest(), tuple(sorted(set(_imports(tree, name, path))))


def _file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if name.split(".")[0] == PACKAGE and candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.AST, name: str, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if _file(item.name))
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, name, path)
            if not base.startswith(PACKAGE):
                continue
            for item in node.names:
                module = f"{base}.{item.name}"
                yield module if _file(module) else base


def _absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    keep = len(parts) - node.level + (path.name == "__init__.py")
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _data_files(tree: ast.AST, path: Path) -> Iterator[Path]:
    """Files of the package that a text in the module names, from the package's or the module's folder."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and 2 < len(node.value) < 100
        ):
            for base in (ROOT, path.parent):
                yield from _files_at(base, node.value)


def _files_at(base: Path, text: str) -> Iterator[Path]:
    if "\n" in text or text.startswith(("/", ".")) or not text.isascii():
        return
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
