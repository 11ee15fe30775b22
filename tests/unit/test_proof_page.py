"""docs/proof.md: its first line and tables follow from configurations and kept results."""

from __future__ import annotations

from pathlib import Path

import pytest

from geolatents.files import write_json
from tools import proof as tool

ROOT = Path(__file__).resolve().parents[2]


def endpoint(measure: str, verdict: str, shown: bool, **bars: object) -> dict[str, object]:
    return {
        "measure": measure, "scorer": "siamese", "applied_to": None, "name": f"name of {measure}",
        "bar": None, "share_bar": None, "value": 0.07, "interval": [0.05, 0.09], "p": 0.001,
        "p_holm": 0.004, "verdict": verdict, "shown": shown, "runs": [],
        "runs_that_reach_the_bars": 0, "reason": None,
    } | bars  # fmt: skip


def kept(folder: Path, name: str, shown: bool) -> None:
    controls = dict.fromkeys(tool_controls())
    content = {
        "name": name,
        "title": "made",
        "primary": endpoint("shifted_land", "met", True, bar=0.065, share_bar=0.975),
        "secondary": [endpoint("like_labels", "met" if shown else "not met", shown)],
        "controls": {"classifier": controls, "siamese": controls},
        "hierarchy": [],
    }
    write_json(folder / f"proof-{name}.json", content)
    made = {"commit": "abc123", "started": "2026-11-29T10:00:00+00:00", "host": "laptop"}
    write_json(folder / f"proof-{name}.json.prov.json", made)


def tool_controls() -> tuple[str, ...]:
    from geolatents.report.proof import CONTROLS

    return CONTROLS


def test_the_page_is_fresh() -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    assert tool.page(text, ROOT) == text, "run `python -m tools.proof`"


@pytest.mark.parametrize("shown", [True, False])
def test_results_stand_with_commit_and_configuration(
    shown: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "KEPT", tmp_path)
    before = tool.page(tool.PAGE.read_text(encoding="utf-8"), ROOT)
    assert before.startswith("Outcome: not run yet.\n")
    kept(tmp_path, "ucm", shown)
    after = tool.page(before, ROOT)
    first = after.splitlines()[0]
    words = "knows more than" if shown else "adds nothing beyond"
    assert words in first
    assert "primary endpoint met: ucm; not run yet: demo-a, demo-b, lanjaron" in first
    assert "commit `abc123`, `config/proof-ucm.yaml`, 2026-11-29" in after
    assert "0.05 to 0.09" in after
    assert tool.page(after, ROOT) == after
    assert after.count("\n\nnot run yet\n") == 3


def test_results_are_collected_with_their_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    for file in tool.CONFIGS:
        (tmp_path / file).write_text((ROOT / file).read_text())
    folder = tmp_path / "results/proof-ucm/proof"
    write_json(folder / "ucm.json", {"name": "ucm"})
    write_json(folder / "ucm.json.prov.json", {"commit": "abc123"})
    monkeypatch.setattr(tool, "KEPT", tmp_path / "docs/results")
    names = [file.name for file in tool.collect(tmp_path)]
    assert names == ["proof-ucm.json", "proof-ucm.json.prov.json"]


def test_missing_marks_are_said() -> None:
    with pytest.raises(SystemExit, match="protocol ucm"):
        tool.page("Outcome: x\n", ROOT)
