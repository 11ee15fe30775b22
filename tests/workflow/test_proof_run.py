"""A proof from its configuration to its table, with a Siamese network that is trained for one epoch."""

from __future__ import annotations

import pytest

from geolatents.files import read_json
from tests.makers import make_config
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.workflow


@pytest.mark.slow
def test_a_proof_is_made_and_made_once(workspace: Workspace) -> None:
    config = make_config(
        workspace.folder,
        models={
            "small-siamese": {
                "kind": "siamese", "teacher": "small-classifier", "epochs": 1, "k": 2,
                "weak_teacher": "use", "refine_steps": 20,
                "precision": "float32", "deterministic": True,
            }
        },
        experiments={"small": {"siamese": "small-siamese"}},
        proofs={
            "first": {
                "title": "A tiny one",
                "experiments": ["small"],
                "primary": {"measure": "shifted_land"},
                "secondary": [
                    {"measure": m} for m in ("like_labels", "cover_gain", "effective_rank", "mantel_r")
                ],
            }
        },
    )  # fmt: skip
    run = workspace.run("proof", config=config)
    assert run.code == 0, run.output
    assert run.jobs["evaluate_embedding"] == run.jobs["prove"] == 1
    assert run.jobs.get("train_classifier", 0) == 0

    found = read_json(workspace.results / "proof/first.json")
    assert found["primary"]["verdict"] == "reported", (
        "one split has no interval, and there is no bar"
    )
    assert found["secondary"][0]["measure"] == "like_labels"
    embedding = workspace.results / "small/models/small-siamese/seed-0/embedding.json"
    entry = read_json(embedding)["like_labels"]
    assert found["secondary"][0]["value"] == pytest.approx(entry["difference"])
    assert (workspace.results / "proof/first.md").read_text().startswith("# A tiny one")
    assert (workspace.results / "proof/first.json.prov.json").exists()
    assert "Nothing to be done" in workspace.run("proof", config=config).output

    drawn = "results/small/models/small-siamese/seed-0/embedding.png"
    assert workspace.run(drawn, config=config).jobs == {"draw_embedding": 1}
