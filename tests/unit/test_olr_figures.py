import numpy as np
import pytest
from PIL import Image

from geolatents.olr import figures
from geolatents.olr.figures import draw_agreement
from geolatents.settings.figures import Figures
from tests.unit.olr_data import classes


def agreement(n, scorers=("classifier", "siamese"), spread=0.1):
    """Content of agreement.json with random symmetric matrices."""
    rng = np.random.default_rng(n)

    def matrix(width):
        upper = np.triu(np.clip(rng.normal(0, width, (n, n)), -1, 1), 1)
        return (upper + upper.T + np.eye(n)).tolist()

    phi, train = matrix(spread), matrix(spread)
    entry = {
        "labels": [item["code"] for item in classes(n)], "left_out": {}, "phi": phi,
        "train_phi": train, "train_phi_r": 0.8, "mantel_r": 0.9, "partial_r": 0.5,
        "partial_interval": [0.4, 0.6], "shifted": {"median_difference": 0.1}, "n_tiles": 99,
    }  # fmt: skip
    return {scorer: {"0": {**entry, "correlation": matrix(0.5)}} for scorer in scorers}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws and returns the figure with its panels of matrices."""
    kept = []
    save = figures._save

    def keep(figure, output, dpi):
        kept.append(figure)
        save(figure, output, dpi)

    monkeypatch.setattr(figures, "_save", keep)

    def draw(content, n, settings=None):
        draw_agreement(content, classes(n), tmp_path / "a.png", title="demo", settings=settings)
        figure = kept[-1]
        figure.draw_without_rendering()  # saving leaves the places of another resolution behind
        assert Image.open(tmp_path / "a.png").width == (1540 if n > 1 else 840)
        return figure, [axes for axes in figure.axes if axes.images]

    return draw


def is_scatter(axes):
    return axes.get_xlabel().startswith("phi of the true labels")


@pytest.mark.parametrize("n", [2, 7, 17, 22, 44])
def test_four_equal_panels_that_can_be_read(drawn, n):
    figure, matrices = drawn(agreement(n), n)
    (scatter,) = (axes for axes in figure.axes if is_scatter(axes))
    sides = [side for axes in [*matrices, scatter] for side in axes.get_window_extent().size]
    assert len(matrices) == 3
    np.testing.assert_allclose(sides, sides[0], rtol=0.01)
    assert sides[0] / figure.dpi > 3.2
    whole = figure.bbox
    texts = [text for axes in matrices for text in axes.get_xticklabels() + axes.get_yticklabels()]
    for text in filter(lambda text: text.get_text(), texts):
        box = text.get_window_extent()
        assert text.get_fontsize() >= 6
        assert whole.x0 <= box.x0
        assert whole.y0 <= box.y0
        assert box.x1 <= whole.x1
    first, second = matrices[0].get_yticklabels(), matrices[1].get_yticklabels()
    assert "Class" in first[0].get_text()
    assert second[0].get_text() == "111"
    rows = 72 * sides[0] / figure.dpi / n
    assert second[0].get_fontsize() <= max(rows, 6.2)
    names_end = max(text.get_window_extent().x1 for text in first)
    assert names_end <= matrices[0].get_window_extent().x0
    assert min(text.get_window_extent().x0 for text in second) > matrices[0].get_window_extent().x1


def test_the_legend_covers_no_points(drawn):
    figure, _ = drawn(agreement(12), 12)
    (scatter,) = (axes for axes in figure.axes if is_scatter(axes))
    legend = scatter.get_legend().get_window_extent()
    assert legend.y1 < scatter.xaxis.get_label().get_window_extent().y0
    assert legend.y0 >= 0
    assert legend.x1 <= figure.bbox.x1
    low, high = scatter.get_xlim()
    points = scatter.collections[0].get_offsets()[:, 0]
    assert low < points.min() < points.max() < high


def test_one_scale_of_the_true_labels_without_the_diagonal(drawn):
    content = agreement(20)
    _, matrices = drawn(content, 20)
    scales = {(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in matrices}
    assert scales == {(-0.3, 0.3)}
    for axes in matrices:
        assert np.diag(axes.images[0].get_array().mask).all()
        assert axes.images[0].get_array().mask.sum() == 20
    strong = agreement(20, spread=0.4)
    _, matrices = drawn(strong, 20)
    phi = np.abs(np.array(strong["classifier"]["0"]["phi"])[~np.eye(20, dtype=bool)])
    limit = matrices[0].images[0].norm.vmax
    assert 0 <= limit - np.quantile(phi, 0.99) < 0.05 + 1e-9


def test_one_scorer_stands_beside_its_baseline(drawn):
    content = agreement(9, scorers=("classifier",))
    _, matrices = drawn(content, 9)
    assert [axes.get_title() for axes in matrices] == [
        "true labels: phi",
        "classifier: correlation of scores",
        "baseline: phi of the training labels",
    ]
    shown = matrices[2].images[0].get_array().filled(1)
    np.testing.assert_array_equal(shown, content["classifier"]["0"]["train_phi"])
    content["classifier"]["0"]["train_phi_r"] = None
    content["classifier"]["0"] |= {"partial_r": None, "partial_interval": None, "shifted": None}
    assert len(drawn(content, 9)[1]) == 2


def test_values_are_written_where_they_fit(drawn):
    _, few = drawn(agreement(7), 7)
    _, many = drawn(agreement(22), 22)
    assert len(few[0].texts) == 7 * 6
    assert few[0].texts[0].get_text().lstrip("-")[0] == "."
    assert len(many[0].texts) == 0


def test_a_single_label_says_why(drawn):
    content = agreement(1)
    content["classifier"]["0"]["left_out"] = {"512": "no positives"}
    figure, matrices = drawn(content, 1)
    assert matrices == []
    assert "fewer than two labels" in figure.texts[0].get_text()
    assert "512: no positives" in figure.texts[0].get_text()


def test_settings_change_colours_limit_and_order_and_no_value(drawn):
    """Two groups of labels, every other one: `similar` puts each group together."""
    content = agreement(8)
    group = np.arange(8) % 2
    phi = np.where(group[:, None] == group, 0.6, -0.6)
    for scorer in content:
        content[scorer]["0"]["phi"] = phi.tolist()
    settings = Figures(colours="PuOr_r", limit=0.9, order="similar")
    _, matrices = drawn(content, 8, settings)
    shown = matrices[0].images[0]
    assert (shown.norm.vmin, shown.norm.vmax) == (-0.9, 0.9)
    assert shown.get_cmap().name == "PuOr_r"
    codes = [text.get_text() for text in matrices[1].get_yticklabels()]
    official = [item["code"] for item in classes(8)]
    together = [group[official.index(code)] for code in codes]
    assert together in ([0] * 4 + [1] * 4, [1] * 4 + [0] * 4)
    assert codes == [text.get_text() for text in matrices[0].get_xticklabels()]
    found = np.array(content["classifier"]["0"]["correlation"])
    rows = [official.index(code) for code in codes]
    drawn_values = matrices[1].images[0].get_array().filled(1)
    np.testing.assert_array_equal(drawn_values, found[np.ix_(rows, rows)])


def test_resolution(tmp_path):
    draw_agreement(
        agreement(4), classes(4), tmp_path / "a.png", settings=Figures(dpi=70)
    )  # fmt: skip
    assert Image.open(tmp_path / "a.png").width == 770
