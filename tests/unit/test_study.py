"""The predecessor's study: its figures recomputed, ours beside them, and what is said where nothing was run."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from geolatents.errors import ConfigError
from geolatents.files import read_json, write_json
from geolatents.labels.cooccurrence import phi_from_counts
from geolatents.report import predecessor
from geolatents.report.predecessor import Counts, inconsistencies, macro, sum_counts
from geolatents.report.study import compare_study, study_section
from geolatents.report.study_figures import draw_study, figure_panels
from geolatents.report.study_results import read_part, study_matrices
from geolatents.report.study_tables import Table, over_seeds, study_tables
from geolatents.report.study_text import cell, markdown
from geolatents.settings.config import load_config, validate_config
from tests.unit.study_data import all_parts, build_study

ROOT = Path(__file__).resolve().parents[2]
THESIS = ROOT / "config" / "thesis.yaml"
FULL = ROOT / "config" / "thesis-full.yaml"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    return root, build_study(root, left_out=("planetscope.focal", "planetscope.run_4"))


@pytest.fixture(scope="module")
def tables(built) -> dict[str, Table]:
    root, entry = built
    found = {part.part: read_part(part, root) for part in entry.parts}
    return {table.key: table for table in study_tables(found)}


class TestPredecessor:
    """Accuracies, baselines and rates that the facts state, recomputed from TP, TN, FP and FN."""

    def test_the_first_run_says_absent_always(self):
        counts = predecessor.FIRST_RUN.counts
        assert counts.accuracy == counts.all_absent == pytest.approx(0.9361875)
        assert counts.precision is None
        assert counts.recall == counts.f1 == 0

    @pytest.mark.parametrize(
        ("row", "all_absent"),
        [
            (predecessor.RUNS[0], 0.885125), (predecessor.RUNS[1], 0.880125),
            (predecessor.RUNS[2], 0.885125), (predecessor.RUNS[5], 0.936188),
            (predecessor.RUNS[6], 0.938313), (predecessor.METHODS["combined"], 0.752190),
            (predecessor.METHODS["threshold"], 0.939313), (predecessor.METHODS["focal"], 0.935660),
            (predecessor.ORTHOPHOTOS["standard"], 0.912381),
            (predecessor.ORTHOPHOTOS["threshold"], 0.912667),
            (predecessor.ORTHOPHOTOS["combined"], 0.548),
        ],
        ids=lambda value: getattr(value, "name", ""),
    )  # fmt: skip
    def test_accuracy_of_saying_absent_always(self, row, all_absent):
        assert row.counts.all_absent == pytest.approx(all_absent, abs=1e-6)

    def test_the_best_run_beats_it_by_a_handful_of_decisions(self):
        beyond = [predecessor.beyond_all_absent(row) for row in predecessor.RUNS]
        assert beyond[2] == 7
        assert beyond[6] == 4
        assert max(beyond) == 7

    def test_threshold_and_focal_are_below_it(self):
        for name in ("threshold", "focal"):
            counts = predecessor.METHODS[name].counts
            assert counts.accuracy < counts.all_absent

    def test_means_over_labels(self):
        combined = macro(predecessor.COMBINED_LABELS)
        assert combined["f1"] == pytest.approx(0.402, abs=5e-4)
        assert combined["balanced_accuracy"] == pytest.approx(0.626, abs=5e-4)
        assert combined["majority"] == pytest.approx(0.7832, abs=5e-5)
        ortho = macro(predecessor.ORTHOPHOTO_LABELS)
        assert ortho["balanced_accuracy"] == pytest.approx(0.597, abs=5e-4)
        assert ortho["majority"] == pytest.approx(0.796)

    def test_rates_of_a_label(self):
        urban = predecessor.COMBINED_LABELS["Urban"]
        assert (urban.precision, urban.recall, urban.f1) == pytest.approx(
            (0.934, 0.173, 0.292), abs=5e-4
        )
        assert (urban.balanced_accuracy, urban.mcc) == pytest.approx((0.585, 0.356), abs=5e-4)
        assert predecessor.COMBINED_LABELS["Special sites"].mcc == 0

    def test_labels_add_up_to_the_sums(self):
        sums = (predecessor.METHODS["combined"], predecessor.ORTHOPHOTOS["combined"])
        labels = (predecessor.COMBINED_LABELS, predecessor.ORTHOPHOTO_LABELS)
        for row, counts in zip(sums, labels, strict=True):
            assert sum_counts(list(counts.values())) == row.counts

    def test_phi_of_its_counts(self):
        counts = np.array(predecessor.COOCCURRENCE)
        assert (counts == counts.T).all()
        phi = phi_from_counts(counts, predecessor.COOCCURRENCE_IMAGES)
        urban, agriculture, forests = 0, 3, 4
        assert phi[agriculture, forests] == pytest.approx(-0.173, abs=5e-4)
        assert phi[urban, forests] == pytest.approx(-0.301, abs=5e-4)

    def test_labels_per_tile(self):
        assert sum(predecessor.RANDOM_COUNTS.values()) / 100 == pytest.approx(1.974)
        assert set(predecessor.RANDOM_COUNTS) == set(range(1, 33))
        assert len(set(predecessor.CLASSES)) == 32

    def test_printed_errors_are_found_and_nothing_else(self):
        found = inconsistencies()
        for text in (
            "run 4: improvement 0.0695 is printed, final - starting is 0.03975",
            "run 5: TP, TN, FP and FN add up to 16001",
            "threshold 0.2: final accuracy 0.9250208 is printed, TP, TN, FP and FN give 0.9361458",
            "focal loss: improvement 0.1665278 is printed, final - starting is 0.1680208",
            "orthophotos, combined labels: improvement 0.014 is printed, final - starting is -0.014 (a loss)",
            "1021 in first run, run 6, run 8; 987 in run 7",
            "919 in run 1, run 3; 959 in run 2, run 4",
            "920 in orthophotos, standard labels; 917 in orthophotos, threshold 0.2",
        ):
            assert sum(text in one for one in found) == 1, text
        flagged = {row.name for row in predecessor.RUNS if predecessor.flags(row)}
        assert flagged == {"run 4", "run 5"}

    def test_counts_of_a_balanced_label(self):
        counts = Counts(30, 40, 10, 20)
        assert counts.accuracy == 0.7
        assert counts.majority == counts.all_absent == 0.5
        assert counts.f1 == pytest.approx(2 * 30 / (60 + 10 + 20))


class TestConfiguration:
    def test_all_parts_are_played(self):
        config = load_config(THESIS)
        assert sorted(part for part, _ in config.study["thesis"].parts()) == sorted(all_parts())

    def test_the_full_size_changes_datasets_alone(self):
        small, full = load_config(THESIS), load_config(THESIS, FULL)
        assert small.models == full.models
        assert small.experiments == full.experiments
        assert small.study == full.study
        assert full.environment == "gpu"
        assert full.datasets["planetscope"].tiles.size == (327, 132)

    def test_every_model_has_three_seeds_and_every_dataset_the_same_blocks(self):
        config = load_config(THESIS)
        assert all(len(config.classifier(name).seeds) == 3 for name in config.models)
        splits = [dataset.splits["blocks"] for dataset in config.datasets.values()]
        assert splits[0] == splits[1] == splits[2]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("study", "thesis", "planetscope", "focal", "focall"), "did you mean 'focal'"),
            (("study", "thesis", "planetscope", "combined", "ortho-combined"), "one test part"),
            (("models", "pw-classifier", "batches", "randomized"), "run 2 must be"),
            (("experiments", "threshold", "threshold", 0.5), "a threshold changes no weights"),
        ],
    )
    def test_wrong_parts_are_refused(self, change, message):
        values = copy.deepcopy(load_config(THESIS).model_dump(mode="json"))
        *path, last, value = change
        section = values
        for key in path:
            section = section[key]
        section[last] = value
        with pytest.raises(ConfigError, match=message):
            validate_config(values)


class TestTables:
    def test_all_of_the_predecessor_are_there_in_its_order(self, tables):
        printed = [key for key in tables if key.rstrip("b").isdigit()]
        assert printed == ["2", "3", "4", "5", "6", "7", "7b", "8", "9", "10", "11"]

    def test_ours_and_its_own_stand_beside_each_other(self, tables):
        for key in ("2", "3", "4", "5", "6", "8", "9"):
            by = [row["by"] for row in tables[key].rows]
            assert by == ["predecessor", "ours"] * (len(by) // 2)

    def test_means_and_spread_over_seeds(self, built, tables):
        root, entry = built
        result = read_part(entry.parts[0], root)
        ours = tables["2"].rows[1]
        values = [quality["accuracy"] for quality in result.quality]
        assert len(values) == 2
        assert ours["accuracy"] == {
            "mean": pytest.approx(np.mean(values)), "sd": pytest.approx(np.std(values, ddof=1)), "n": 2,
        }  # fmt: skip
        counts = sum(ours[name]["mean"] for name in ("tp", "tn", "fp", "fn"))
        assert counts == pytest.approx(ours["images"] * ours["labels"])
        right = ours["tp"]["mean"] + ours["tn"]["mean"]
        assert ours["accuracy"]["mean"] == pytest.approx(right / counts)

    def test_baselines_are_those_of_the_counts(self, tables):
        ours = tables["2"].rows[1]
        positives = ours["tp"]["mean"] + ours["fn"]["mean"]
        share = positives / (ours["images"] * ours["labels"])
        assert ours["all_absent"]["mean"] == pytest.approx(1 - share)

    def test_what_was_not_run_is_said(self, tables):
        focal = tables["6"].rows[5]
        assert cell(focal, tables["6"].columns[4]) == "not run"
        assert cell(tables["4"].rows[7], tables["4"].columns[8]) == "not run"
        assert cell(tables["celeba"].rows[0], tables["celeba"].columns[2]) == "not run"

    def test_factors_without_a_difference_have_none(self, tables):
        """All parts are one experiment; run 4 is missing, so each factor has three pairs."""
        for row in tables["factors"].rows:
            assert row["pairs"] == 3
            assert row["ap"]["mean"] == row["gain"]["mean"] == 0

    def test_thresholds_of_one_model_have_one_macro_ap(self, tables):
        assert "the same to the last digit" in tables["threshold"].notes[0]

    def test_zero_errors_of_its_labels(self, tables):
        combined, threshold = tables["7b"].rows[0], tables["7b"].rows[2]
        assert combined["zero"] == pytest.approx(0.105, abs=5e-4)
        assert threshold["zero"] == pytest.approx(0.0127, abs=5e-5)

    def test_over_seeds(self):
        assert over_seeds([None, float("nan")]) is None
        assert over_seeds([2.0, None]) == {"mean": 2.0, "sd": None, "n": 1}


class TestWritten:
    @pytest.fixture(scope="class")
    @staticmethod
    def written(built):
        root, entry = built
        files = root / "study" / "made-up.json", root / "study" / "made-up.md"
        compare_study(entry, root, *files)
        return files

    def test_json_is_whole(self, written, tables):
        content = read_json(written[0])
        json.dumps(content, allow_nan=False)
        assert [table["key"] for table in content["tables"]] == list(tables)
        assert content["inconsistencies"] == inconsistencies()
        assert content["parts"]["planetscope.run_1"]["seeds"] == [0, 1]

    def test_markdown_tables_have_as_many_cells_as_columns(self, written):
        text = written[1].read_text()
        tables = [part for part in text.split("\n\n") if part.startswith("|")]
        assert len(tables) == 18
        for table in tables:
            assert len({line.count("|") for line in table.splitlines()}) == 1
        assert "nan" not in text.lower().replace("planet", "")

    def test_a_table_survives_its_json(self, tables):
        table = tables["7"]
        again = Table.from_json(json.loads(json.dumps(table.as_json())))
        assert markdown([again], []) == markdown([table], [])

    def test_a_refused_network_is_said_to_be(self, built):
        root, entry = built
        part = next(item for item in entry.parts if item.part == "planetscope.combined")
        for seed in part.seeds:
            file = part.model_folder(root, part.siamese, seed) / "metrics.json"
            kept = read_json(file)
            write_json(file, {"status": "refused", "reason": "no better than guessing"})
            try:
                result = read_part(part, root)
            finally:
                write_json(file, kept)
        found = {table.key: table for table in study_tables({part.part: result})}
        row = found["7b"].rows[1]
        assert row["missing"] == "refused"
        assert row["remark"] == "no better than guessing"

    def test_section_of_the_page(self, built, written):
        root, entry = built
        outputs = [root / "study" / "made-up" / f"{name}.png" for name in predecessor.FIGURES]
        draw_study(entry, root, outputs)
        section = study_section("made-up", root)
        assert len(section["figures"]) == 9
        for table in section["tables"]:
            assert all(len(row["cells"]) == len(table["columns"]) for row in table["rows"])


class TestFigures:
    def test_matrices_are_means_over_seeds(self, built):
        root, entry = built
        matrix = study_matrices(entry, "planetscope.combined", root, "correlation")
        assert matrix is not None
        found = read_part(entry.parts[0], root).agreement
        assert matrix.iloc[0, 1] == pytest.approx(
            np.mean([one["correlation"][0][1] for one in found])
        )

    def test_what_each_shows(self, built):
        root, entry = built
        panels = {name: figure_panels(name, entry, root) for name in predecessor.FIGURES}
        counts = {name: len(found) for name, (found, _) in panels.items()}
        assert counts == {
            "figure-16": 1, "figure-17": 2, "figure-18": 4, "figure-19": 2, "figure-20": 3,
            "figure-21": 3, "figure-22": 0, "figure-23": 2, "figure-24": 3,
        }  # fmt: skip
        printed = panels["figure-18"][0][0].matrix
        assert printed[4][3] == 3770
        assert panels["figure-16"][0][0].matrix.shape == (5, 8)
