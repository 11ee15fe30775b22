"""The `snakemake` object of a script, from outside: the same as in a run, and scripts run with it."""

from __future__ import annotations

import json
import os
import pickle
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from geolatents.engine import PlannedJob, read_graph
from geolatents.errors import ConfigError
from geolatents.places import Places
from geolatents.provenance import provenance_path
from geolatents.workflow import Unwatched, job
from tests.workflow.conftest import ROOT, Workspace

pytestmark = pytest.mark.workflow


@pytest.fixture
def at_home(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The finished run, from inside its folder, as a notebook there would see it."""
    monkeypatch.chdir(finished.folder)
    for name in ("GEOLATENTS_DATA", "GEOLATENTS_HOME", "GEOLATENTS_DOWNLOADS"):
        monkeypatch.setenv(name, os.environ.get(name, "data"))  # what parsing sets is undone
    return finished


def open_job(space: Workspace, planned: PlannedJob, **options: Any) -> Any:
    return job(
        planned.rule,
        configfile=space.folder / "config.yaml",
        directory=space.folder,
        cores=2,
        **options,
        **planned.wildcards,
    )


def scripted(space: Workspace) -> list[PlannedJob]:
    graph = read_graph(
        ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(space.folder / "config.yaml")]
    )
    one_per_rule = {planned.rule: planned for planned in graph.jobs if planned.scripted}
    return list(one_per_rule.values())


def numbers(value: Any, name: str = "") -> dict[str, float]:
    """Every number of a JSON document by its place."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, one in items for k, v in numbers(one, f"{name}/{key}").items()}
    return {name: float(value)} if isinstance(value, int | float) else {}


def test_every_rule_gets_what_its_run_recorded(at_home: Workspace) -> None:
    """Compared with the provenance that the real jobs wrote: outputs, inputs, params, code, seed."""
    before = at_home.hashes()
    jobs = scripted(at_home)
    assert len(jobs) >= 19
    places = Places(Path("results"))
    for planned in jobs:
        found = open_job(at_home, planned)
        record = json.loads(provenance_path(Path(found.output[0])).read_text())
        params = {k: v.value if isinstance(v, Unwatched) else v for k, v in found.params.items()}
        assert record["artifact"] == places.name(Path(found.output[0])), planned.rule
        assert set(record["inputs"]) == {places.name(Path(p)) for p in found.input}, planned.rule
        assert record["code"] == params.pop("code"), planned.rule
        params.pop("source", None)
        assert record["config"] == json.loads(places.text(json.dumps(params))), planned.rule
        assert [Path(file) for file in found.output] == list(planned.outputs)
        assert found.rule == planned.rule
        assert dict(found.wildcards.items()) == dict(planned.wildcards)
        assert found.threads == planned.threads <= 2
        assert found.resources.mem_mb == planned.resources["mem_mb"]
        assert found.log[0].startswith("results/")
        assert Path(found.scriptdir, f"{planned.rule}.py").is_file()
        pickle.dumps(found)
    assert at_home.hashes() == before
    assert not list((at_home.folder / ".snakemake/locks").glob("*"))


def test_scripts_run_in_another_folder_and_give_the_same(
    at_home: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook: the script's own file, run with the object, outputs below a folder of one's own."""
    monkeypatch.chdir(tmp_path)
    before = at_home.hashes()
    for stage, rule, wildcards in (
        ("tiles", "cut_tiles", {"dataset": "small", "scene": "scene-0"}),
        ("olr", "run_experiment", {"dataset": "small", "experiment": "small"}),
    ):
        snakemake = job(
            rule,
            configfile=at_home.folder / "config.yaml",
            directory=at_home.folder,
            into=tmp_path / "trial",
            **wildcards,  # type: ignore[arg-type]
        )
        assert Path.cwd() == tmp_path
        assert all(Path(file).is_absolute() for file in [*snakemake.input, *snakemake.output])
        script = ROOT / "workflow_scripts" / stage / f"{rule}.py"
        runpy.run_path(str(script), init_globals={"snakemake": snakemake})
    made = tmp_path / "trial/results/small"
    manifest = "tiles/scene-0.json"
    assert (made / manifest).read_bytes() == (at_home.results / "small" / manifest).read_bytes()
    assert (made / "tiles/scene-0.zarr/zarr.json").exists()
    agreement = "experiments/small/agreement.json"
    again, first = (
        numbers(json.loads((folder / agreement).read_text()))
        for folder in (made, at_home.results / "small")
    )
    assert again == pytest.approx(first, rel=1e-9)  # sums of several threads have no fixed order
    assert at_home.hashes() == before


def test_one_configuration_does_not_change_the_folders_of_the_next(
    at_home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLATENTS_DATA", "mine")
    options = {"dataset": "small", "scene": "scene-0", "directory": at_home.folder}
    job("cut_tiles", configfile=at_home.folder / "config.yaml", **options)  # type: ignore[arg-type]
    assert os.environ["GEOLATENTS_DATA"] == "data", "its scripts read what it names"
    job("draw_scene", dataset="demo-a", scene="a-01", directory=at_home.folder)
    assert os.environ["GEOLATENTS_DATA"] == "mine"


def test_an_error_is_shown_where_the_script_runs(
    at_home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snakemake = job(
        "cut_tiles", dataset="small", scene="scene-0", into=tmp_path,
        configfile=at_home.folder / "config.yaml", directory=at_home.folder,
    )  # fmt: skip
    snakemake.input = type("Inputs", (list,), {"scene": str(tmp_path / "none.json")})()
    with pytest.raises(SystemExit):
        runpy.run_path(
            str(ROOT / "workflow_scripts/tiles/cut_tiles.py"), init_globals={"snakemake": snakemake}
        )
    assert "file is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rule", "wildcards", "told"),
    [
        ("cut_tile", {}, ("there is no rule 'cut_tile'", "did you mean 'cut_tiles'?")),
        ("all", {}, ("rule 'all' has no script",)),
        ("cut_tiles", {"dataset": "small"}, ("wildcard 'scene' is missing", "scene-0, scene-1")),
        (
            "cut_tiles",
            {"dataset": "small", "scene": "scene-9"},
            ("wildcard 'scene' cannot be 'scene-9'", "scene-0, scene-1"),
        ),
        (
            "cut_tiles",
            {"dataset": "small", "scene": "scene-0", "scenes": "x"},
            ("rule cut_tiles has no wildcard 'scenes'", "did you mean 'scene'?"),
        ),
    ],
)
def test_mistakes_name_what_was_meant(
    rule: str, wildcards: dict[str, str], told: tuple[str, ...], at_home: Workspace
) -> None:
    with pytest.raises(ConfigError) as error:
        job(rule, configfile=at_home.folder / "config.yaml", directory=at_home.folder, **wildcards)  # type: ignore[arg-type]
    for text in told:
        assert text in str(error.value)


def test_a_wrong_configuration_is_told_and_does_not_end_python(
    at_home: Workspace, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text((at_home.folder / "config.yaml").read_text().replace("min_cover", "min_covr"))
    with pytest.raises(ConfigError, match="min_cover"):
        job("cut_tiles", dataset="small", scene="scene-0", configfile=config, directory=tmp_path)
    assert "snakemake" in sys.modules
