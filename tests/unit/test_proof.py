"""Statistics of a proof where the truth is known, and a proof from files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student_t

from geolatents.files import read_json, write_json
from geolatents.olr import proof
from geolatents.olr.proof import Run
from geolatents.report.entries import ExperimentEntry
from geolatents.report.proof import prove, prove_endpoints
from geolatents.settings.config import validate_config
from geolatents.settings.proofs import Endpoint, Proof
from tests.unit.embedding_data import made

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


# ---- Holm


def test_holm_by_hand():
    """Holm 1979: 0.01 x 4, 0.03 x 3, 0.04 x 2 but not below the one before, 0.05 x 1 likewise."""
    assert proof.holm([0.04, 0.01, 0.05, 0.03]) == pytest.approx([0.09, 0.04, 0.09, 0.09])


def test_what_was_not_measured_counts_in_the_family():
    assert proof.holm([0.02, None]) == pytest.approx([0.04, 1.0])
    assert proof.holm([]) == []


@settings(deadline=None)
@given(P_VALUES)
def test_holm_lies_between_no_correction_and_bonferroni(p):
    found = np.array(proof.holm(p))
    assert (found >= np.array(p) - 1e-12).all()
    assert (found <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()
    assert found.min() == pytest.approx(min(1, len(p) * min(p)))


@settings(deadline=None)
@given(P_VALUES, st.randoms())
def test_holm_knows_no_order(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    found = proof.holm([p[i] for i in order])
    assert found == pytest.approx([proof.holm(p)[i] for i in order])


# ---- splits and seeds


def grouped_runs(effect, seed=0, splits=5, seeds=3, groups=20, tiles=16, seed_noise=0.01):
    """Differences of tiles in groups that all splits and seeds share."""
    rng = np.random.default_rng(seed)
    own = 0.1 * rng.standard_normal(groups)
    runs = []
    for split in range(splits):
        split_effect = 0.02 * rng.standard_normal()
        for number in range(seeds):
            values = effect + own + split_effect + seed_noise * rng.standard_normal()
            values = values + 0.3 / np.sqrt(tiles) * rng.standard_normal(groups)
            sums = {f"g{i}": [float(v * tiles), float(tiles)] for i, v in enumerate(values)}
            runs.append(
                Run(
                    f"s{split}", number, float(values.mean()), groups=sums, n_train=1176, n_test=336
                )
            )
    return runs


def test_an_effect_is_found_and_none_is_not():
    found = proof.combine(grouped_runs(0.2))
    assert found["interval"][0] > 0
    assert found["p"] < 0.01
    assert found["methods"] == ["spread of splits", "bootstrap of groups"]
    nothing = proof.combine(grouped_runs(0.0, seed=1))
    assert nothing["interval"][0] < 0 < nothing["interval"][1]


def test_intervals_are_not_too_narrow():
    held = 0
    for seed in range(60):
        low, high = proof.combine(grouped_runs(0.1, seed))["interval"]
        held += low <= 0.1 <= high
    assert held >= 54


def test_more_seeds_make_no_narrower_interval():
    """Seeds of one split see the same tiles: copies of a seed add nothing."""
    once = proof.combine(grouped_runs(0.1, seeds=1))
    runs = grouped_runs(0.1, seeds=1)
    copies = [replace(run, seed=seed) for run in runs for seed in range(9)]
    again = proof.combine(copies)
    assert again["interval"] == pytest.approx(once["interval"])
    assert again["p"] == pytest.approx(once["p"])


def test_the_spread_of_splits_is_that_of_nadeau_and_bengio():
    values = [0.05, 0.07, 0.06, 0.08, 0.04]
    runs = [Run(f"s{i}", 0, v, n_train=1176, n_test=336) for i, v in enumerate(values)]
    found = proof.combine(runs)
    error = np.sqrt((1 / 5 + 336 / 1176) * np.var(values, ddof=1))
    reach = student_t.ppf(0.975, 4) * error
    assert found["interval"] == pytest.approx([0.06 - reach, 0.06 + reach])
    assert found["p"] == pytest.approx(student_t.sf(0.06 / error, 4))


def test_one_split_without_groups_has_the_widest_interval_of_its_seeds():
    runs = [Run("s", 0, 0.2, (0.1, 0.25), 0.01), Run("s", 1, 0.4, (0.35, 0.5), 0.03)]
    found = proof.combine(runs)
    assert found["value"] == pytest.approx(0.3)
    assert found["interval"] == pytest.approx([0.2, 0.4])
    assert found["p"] == 0.03


def test_a_split_without_a_figure_leaves_nothing_out_quietly():
    found = proof.combine([Run("s0", 0, 0.2), Run("s1", 0, None, reason="refused")])
    assert found["value"] is None
    assert found["reason"] == "refused"


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(0.01, 0.5), st.integers(4, 60))
def test_p_and_interval_agree(value, width, folds):
    interval = [value - width, value + width]
    p = proof.p_of_interval(value, interval, folds)
    if abs(interval[0]) > 1e-9:
        assert (p < 0.025) == (interval[0] > 0)
    z = [float(np.tanh(np.arctanh(value) + s * width)) for s in (-1, 1)]
    p = proof.p_of_interval(value, z, folds, fisher=True)
    if abs(z[0]) > 1e-6:
        assert (p < 0.025) == (z[0] > 0)


# ---- verdicts


def test_the_primary_endpoint_needs_every_run():
    runs = grouped_runs(0.2)
    combined = proof.combine(runs)
    good = [replace(run, share=0.99) for run in runs]
    assert proof.judge_primary(combined, good, 0.01, 0.975, 0.0)["verdict"] == "met"
    one_bad = [replace(good[0], share=0.9), *good[1:]]
    found = proof.judge_primary(combined, one_bad, 0.01, 0.975, 0.0)
    assert found == {"verdict": "not met", "runs_that_reach_the_bars": len(runs) - 1}


def test_verdicts_of_secondary_endpoints():
    combined = {"value": 0.2, "interval": [0.1, 0.3], "p": 0.001}
    assert proof.judge_secondary(combined, 0.01, None, 0.0, 0.05)["verdict"] == "met"
    assert proof.judge_secondary(combined, 0.06, None, 0.0, 0.05)["verdict"] == "not met"
    assert proof.judge_secondary(combined, 0.01, 0.25, 0.0, 0.05)["verdict"] == "not met"
    assert proof.judge_secondary(combined, 0.01, 0.25, 0.0, 0.05)["shown"]
    assert proof.judge_secondary(combined, None, None, None, 0.05)["verdict"] == "reported"
    nothing = {"value": None, "interval": None, "p": None}
    assert proof.judge_secondary(nothing, 1.0, None, 0.0, 0.05)["verdict"] == "not measured"


def test_outcomes_in_one_sentence():
    assert proof.outcome({"ucm": None}) == "not run yet"

    def content(shown):
        entry = {"measure": "like_labels", "name": "retrieval", "shown": shown}
        primary = {"measure": "shifted_land", "name": "shift", "verdict": "met", "shown": True}
        return {"primary": primary, "secondary": [entry]}

    found = proof.outcome({"ucm": content(False), "demo": None})
    assert found.startswith("the embedding adds nothing beyond the classifier's scores (ucm)")
    assert "met: ucm; not run yet: demo" in found
    found = proof.outcome({"ucm": content(True)})
    assert found.startswith(
        "the embedding knows more than the classifier's scores: retrieval (ucm)"
    )


# ---- from files

ENDPOINTS = Proof(
    title="made",
    experiments=["one", "two", "three"],
    primary=Endpoint(measure="shifted_land", bar=0.0, share_bar=0.5),
    secondary=[
        Endpoint(measure=measure)
        for measure in (
            "partial_r", "mantel_r", "macro_ap", "label_scores", "like_labels", "scene_all_labels",
            "cover_gain", "effective_rank",
        )
    ],
)  # fmt: skip


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["rank-1", "more"])
def proven(request, tmp_path_factory):
    """Three splits and two seeds of made vectors, with and without more than probability."""
    from geolatents.olr.agreement import measure_agreement
    from geolatents.olr.embedding import measure_embedding
    from geolatents.settings.experiments import Agreement

    root = tmp_path_factory.mktemp("proof")
    entries = []
    for split, name in enumerate(ENDPOINTS.experiments):
        entry = ExperimentEntry(
            name=name, dataset="made", labels="standard", split=name,
            classifier=f"{name}-classifier", siamese=f"{name}-siamese", seeds=[0, 1],
        )  # fmt: skip
        entries.append(entry)
        agreement = {"classifier": {}, "siamese": {}}
        data, sample, classes, cover = made(split, tiles=300, extra=request.param, groups=10)
        found = measure_embedding(data, sample, scene_classes=classes, cover=cover)
        same = measure_agreement(sample, Agreement(permutations=99, folds=10, noise_features=16))
        for seed in entry.seeds:  # seeds that say the same
            folder = entry.model_folder(root, entry.siamese, seed)
            write_json(folder / "embedding.json", {"status": "measured", **found})
            for scorer, model in (("classifier", entry.classifier), ("siamese", entry.siamese)):
                agreement[scorer][str(seed)] = same
                metrics = {"split": {"test": {"macro_ap": 0.9}}}
                write_json(entry.model_folder(root, model, seed) / "metrics.json", metrics)
        write_json(entry.folder(root) / "agreement.json", agreement)
        counts = {"train": 300, "validation": 75, "test": 125}
        write_json(root / "made" / "splits" / f"{name}.json", {"counts": counts})
    return request.param, prove_endpoints(ENDPOINTS, entries, root), entries, root


def by_measure(found):
    return {entry["measure"]: entry for entry in found["secondary"]}


def test_the_rank_one_control_is_called_nothing(proven):
    extra, found, *_ = proven
    entries = by_measure(found)
    for measure in ("like_labels", "scene_all_labels", "cover_gain", "effective_rank"):
        shown = measure != "like_labels" and extra > 0
        if measure == "like_labels" and extra > 0:
            continue  # vectors that know more are not better at label sets alone
        assert entries[measure]["shown"] == shown, measure
    sentence = proof.outcome({"made": found})
    assert ("adds nothing" in sentence) == (extra == 0)


def test_every_endpoint_has_its_figures(proven):
    _, found, *_ = proven
    entries = by_measure(found)
    assert entries["mantel_r"]["verdict"] == "reported"
    assert entries["mantel_r"]["p_holm"] is None
    tested = [entry for entry in found["secondary"] if entry["null"] is not None]
    assert [e["p_holm"] for e in tested] == proof.holm([e["p"] for e in tested])
    for entry in [found["primary"], *found["secondary"]]:
        assert len(entry["runs"]) == 6
        assert entry["value"] is not None, entry["measure"]
    assert found["controls"]["siamese"]["train_phi_r"] is not None
    assert len(found["hierarchy"]) == 6
    json.dumps(found, allow_nan=False)


def test_files_and_tables(proven, tmp_path):
    _, _, entries, root = proven
    prove(ENDPOINTS, entries, root, tmp_path / "made.json", tmp_path / "made.md", "made")
    assert read_json(tmp_path / "made.json")["name"] == "made"
    table = (tmp_path / "made.md").read_text()
    assert "| **primary** | shifted land" in table
    assert "positive in ≥ 50 % of draws" in table
    assert "nan" not in table


def test_a_refused_training_is_not_measured(proven):
    _, _, entries, root = proven
    file = entries[0].model_folder(root, entries[0].siamese, 0) / "embedding.json"
    before = read_json(file)
    write_json(file, {"status": "refused", "reason": "no better than prevalence"})
    try:
        found = by_measure(prove_endpoints(ENDPOINTS, entries, root))
    finally:
        write_json(file, before)
    assert found["like_labels"]["verdict"] == "not measured"
    assert "no better than prevalence" in found["like_labels"]["reason"]
    assert found["like_labels"]["p_holm"] == 1


# ---- configuration


def config(**changes):
    values = {
        "datasets": {
            "d1": {
                "imagery": {"provider": "synthetic", "region": "A"},
                "landcover": {"source": "synthetic"},
                "labels": {"standard": {"kind": "standard"}},
                "splits": {"s1": {"kind": "random"}},
                "batches": {"randomized": {"split": "s1"}},
            }
        },
        "models": {
            "m-classifier": {"kind": "classifier", "dataset": "d1"},
            "m-siamese": {"kind": "siamese", "teacher": "m-classifier"},
        },
        "experiments": {
            "with": {"classifier": "m-classifier", "siamese": "m-siamese"},
            "without": {"classifier": "m-classifier"},
        },
        "proofs": {
            "p1": {"title": "t", "experiments": ["with"], "primary": {"measure": "shifted_land"}}
            | changes
        },
    }
    return validate_config(values)


def test_a_proof_names_experiments_that_can_be_proven():
    assert config().proofs["p1"].level == 0.05
    with pytest.raises(Exception, match="did you mean 'with'"):
        config(experiments=["wither"])
    with pytest.raises(Exception, match="'without' has no `siamese`"):
        config(experiments=["without"])
    with pytest.raises(Exception, match="names one twice"):
        config(experiments=["with", "with"])
    with pytest.raises(Exception, match="not applied to 'd1'"):
        config(primary={"measure": "applied_gain", "applied_to": "d1"})
    with pytest.raises(Exception, match="needs it"):
        config(primary={"measure": "applied_gain"})
