"""Snakemake's own report: everything that people look at, in categories, with captions, offline, and without rerunning."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import ROOT, Workspace

pytestmark = pytest.mark.workflow

SHOWN = {
    "1. Summary": {"Other": {"summary.csv", "report/index.html"}},
    "2. Experiments": {
        "small": {"small/experiments/small/agreement.png", "small/experiments/small/per-label.csv"}
    },
    "3. Models": {
        "small": {
            f"small/models/small-classifier/seed-0/{name}"
            for name in ("metrics.json", "model_card.md")
        }
    },
    "4. Labels": {"small": {"small/labels/standard/cooccurrence-chance.png"}},
    "5. Batches": {"small": {"small/batches/randomized/standard-counts.png"}},
}
"""Categories, their groups and what is in them, of the small run."""


@pytest.fixture(scope="module")
def reported(
    finished: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Path]:
    """A copy of the finished run with its report."""
    space = finished.copy(tmp_path_factory.mktemp("reported"))
    run = space.run("--report", "report.html")
    assert run.code == 0, run.output
    assert "(ERROR" not in run.output, "captions are sound reStructuredText"
    return space, space.folder / "report.html"


def embedded(page: str, name: str) -> Any:
    """A JavaScript object of the report."""
    start = re.search(rf'\b{name} = (?=\{{")', page)
    assert start, name
    return json.JSONDecoder().raw_decode(page[start.end() :])[0]


def test_everything_stands_in_its_category(reported: tuple[Workspace, Path]) -> None:
    found = embedded(reported[1].read_text(), "categories")
    paths = {
        category: {group: {p.removeprefix("results/") for p in files} for group, files in groups.items()}
        for category, groups in found.items()
    }  # fmt: skip
    assert paths == SHOWN


def test_every_result_has_a_caption_of_its_own_and_labels(reported: tuple[Workspace, Path]) -> None:
    results = embedded(reported[1].read_text(), "results")
    assert len(results) == 8
    for path, result in results.items():
        assert len(result["caption"]) > 80, path
        assert "{{" not in result["caption"], path
        assert result["labels"]["shows"], path
    assert len({result["caption"] for result in results.values()}) == 8
    assert "occur together in small, split chance" in " ".join(
        results["results/small/labels/standard/cooccurrence-chance.png"]["caption"].split()
    )
    page = reported[1].read_text()
    assert "A bare correlation proves nothing" in page
    assert "Datasets: small." in page


def test_every_caption_is_used() -> None:
    rules = "".join(
        file.read_text() for file in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    )
    for file in (ROOT / "docs/captions").glob("*.rst"):
        assert f'docs/captions/{file.name}"' in rules, file


def test_a_report_and_a_finished_run_have_nothing_to_do(reported: tuple[Workspace, Path]) -> None:
    assert reported[0].run("--dry-run").jobs == {}


def test_a_report_as_archive(reported: tuple[Workspace, Path]) -> None:
    space = reported[0]
    run = space.run("--report", "report.zip")
    assert run.code == 0, run.output
    names = zipfile.ZipFile(space.folder / "report.zip").namelist()
    assert "report/report.html" in names
    assert len([name for name in names if name.startswith("report/data/raw/")]) >= 8


@pytest.mark.browser
def test_the_page_shows_its_categories_in_a_browser_without_network(
    reported: tuple[Workspace, Path], tmp_path: Path
) -> None:
    chrome = shutil.which("chromium") or shutil.which("google-chrome")
    if chrome is None:
        pytest.skip("no browser on PATH")
    command = [
        chrome, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=10000",
        "--dump-dom", reported[1].as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    shown = re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    for category in SHOWN:
        assert f">{category}<" in shown, category
    assert "A bare correlation proves nothing" in shown
