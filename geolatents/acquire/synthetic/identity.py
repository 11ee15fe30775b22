"""The generator's identity: a hash of its code, so that it is not tuned to a model."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from geolatents import seeds


def generator_hash() -> str:
    """sha256 over the syntax of the generator's modules, without comments, docstrings and layout.

    Covers every module of this package but this one, and the seeds that it draws from.
    """
    digest = hashlib.sha256()
    here = Path(__file__)
    modules = sorted(path for path in here.parent.glob("*.py") if path != here)
    for path in [*modules, Path(seeds.__file__)]:
        digest.update(
            f"{path.name}\n{normalised_source(path.read_text(encoding='utf-8'))}\n".encode()
        )
    return digest.hexdigest()


def normalised_source(source: str) -> str:
    """Source text without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Docstrings of attributes count as well: a bare string does nothing.
            node.body = [item for item in body if not _is_text(item)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
