"""The habits of DESIGN.md that a machine can check: rules, scripts, generated files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = [
    "input", "output", "log", "benchmark", "wildcard_constraints", "conda", "threads", "resources", "params", "message", "script",
]  # fmt: skip
REQUIRED = {"log", "conda", "threads", "resources", "params", "message", "script"}
SCRIPTS = sorted((ROOT / "workflow_scripts").rglob("*.py"))


def rules() -> list[tuple[str, str]]:
    found = []
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            found.append((block.split(":", 1)[0], block))
    return found


@pytest.mark.parametrize(
    ("name", "block"), rules(), ids=lambda value: value if value.isidentifier() else ""
)
def test_rule_has_its_directives_in_order(name: str, block: str) -> None:
    directives = re.findall(r"^    (\w+):", block, flags=re.M)
    assert directives == sorted(directives, key=ORDER.index)
    assert set(directives) >= REQUIRED | ({"benchmark"} if "output" in directives else set())
    assert '"""' in block, "a rule has a docstring"
    assert "lambda" not in block
    assert {"mem_mb", "runtime"} <= set(re.findall(r"^        (\w+)=", block, flags=re.M))
    assert re.search(r"^        mem_mb=grown\(\d+\),", block, flags=re.M), "more for each attempt"
    script = re.search(r'"\.\./workflow_scripts/(\w+)/(\w+)\.py"', block)
    assert script, "a rule runs a script"
    assert script[2] == name
    assert (ROOT / "workflow_scripts" / script[1] / f"{name}.py").is_file()


def test_every_script_belongs_to_a_rule() -> None:
    assert {path.stem for path in SCRIPTS} == {name for name, _ in rules()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_a_mapping_to_one_call(script: Path) -> None:
    tree = ast.parse(script.read_text())
    body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(body) == 1, "imports and one `with rule_log(snakemake):`"
    assert ast.unparse(body[0].items[0]) == "rule_log(snakemake)"
    assert not [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.If | ast.For | ast.While | ast.Try | ast.FunctionDef)
    ]
    imported = {
        alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
    }
    assert "numpy" not in imported


def test_packages_stay_empty_so_that_fingerprints_stay_exact() -> None:
    for file in (ROOT / "geolatents").rglob("__init__.py"):
        nodes = [
            n
            for n in ast.walk(ast.parse(file.read_text()))
            if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        assert not nodes, f"{file} imports something"


def test_only_workflow_knows_snakemake() -> None:
    for file in (ROOT / "geolatents").rglob("*.py"):
        names = {n.id for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Name)}
        assert file.name == "workflow.py" or "snakemake" not in names, file


def test_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"run `make generate`:\n{done.stdout}{done.stderr}"


def test_lock_and_environments_name_no_index() -> None:
    for file in [ROOT / "requirements.lock", *(ROOT / "envs").glob("*.yaml")]:
        assert not re.search(r"https?://|file://|--index-url|--find-links", file.read_text()), file


def test_environments_hold_every_dependency_and_the_library() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=\[ ]", item)[0] for item in project["dependencies"]}
    for file in (ROOT / "envs").glob("*.yaml"):
        text = file.read_text()
        assert needed <= set(re.findall(r"- ([a-z0-9-]+)(?:\[[\w-]+\])?==", text)), file
        assert "-e ${GEOLATENTS_HOME}" in text


def test_environments_hold_nothing_of_development() -> None:
    """Followed through the metadata of the installed packages, where the generator follows the lock file."""
    import importlib.metadata
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pending = [
        Requirement(item) for item in (*project["dependencies"], *extras["cpu"], *extras["slurm"])
    ]
    reached: set[tuple[str, str]] = set()
    while pending:
        requirement = pending.pop()
        for extra in requirement.extras | {""}:
            key = (canonicalize_name(requirement.name), extra)
            if key in reached:
                continue
            reached.add(key)
            for text in importlib.metadata.requires(requirement.name) or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    pending.append(needed)
    text = (ROOT / "envs" / "cpu.yaml").read_text()
    assert set(re.findall(r"- ([a-z0-9-]+)==", text)) == {name for name, _ in reached}
