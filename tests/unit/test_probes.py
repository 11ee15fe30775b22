import numpy as np
import pytest
from sklearn.linear_model import Ridge

from geolatents.learning import probes


def parts(rng, features=5, columns=2, n=(120, 40, 30), noise=0.1):
    x = [rng.standard_normal((size, features)) for size in n]
    weights = rng.standard_normal((features, columns))
    y = [block @ weights + noise * rng.standard_normal((len(block), columns)) for block in x]
    return probes.Parts(*x), probes.Parts(*y)


def test_ridge_is_that_of_scikit_learn_with_the_best_penalty_of_validation():
    x, y = parts(np.random.default_rng(0), noise=1.0)
    found = probes.ridge_predictions(x, y)
    scaled = probes.standardised(x)
    for column in range(2):
        fits = [Ridge(alpha=a).fit(scaled.train, y.train[:, column]) for a in probes.PENALTIES]
        errors = [
            ((f.predict(scaled.validation) - y.validation[:, column]) ** 2).mean() for f in fits
        ]
        expected = fits[int(np.argmin(errors))].predict(scaled.test)
        np.testing.assert_allclose(found[:, column], expected)


def test_leave_one_out_errors_are_those_of_refitting():
    x, y = parts(np.random.default_rng(1), n=(25, 0, 5), noise=1.0)
    scaled, mean = probes.standardised(x), y.train.mean(axis=0)
    values, axes = np.linalg.eigh(scaled.train.T @ scaled.train)
    turned = scaled.mapped(lambda block: block @ axes)
    moments = turned.train.T @ (y.train - mean)
    found = probes._error(turned, y, mean, values, moments, 1.0)
    errors = []
    for left in range(25):
        kept = np.arange(25) != left
        fit = Ridge(alpha=1.0).fit(scaled.train[kept], y.train[kept])
        errors.append((fit.predict(scaled.train[[left]])[0] - y.train[left]) ** 2)
    np.testing.assert_allclose(found, np.mean(errors, axis=0), rtol=1e-6)


def test_hinges_follow_a_bent_function():
    rng = np.random.default_rng(2)
    x = probes.Parts(*(rng.random((n, 1)) for n in (300, 60, 100)))
    y = x.mapped(lambda block: np.abs(block - 0.5))
    found = probes.ridge_predictions(probes.hinge_features(x), y)
    assert np.abs(found - y.test).max() < 0.05
    assert np.abs(probes.ridge_predictions(x, y) - y.test).max() > 0.2


def test_radial_features_follow_an_interaction():
    rng = np.random.default_rng(3)
    x = probes.Parts(*(rng.uniform(-1, 1, (n, 2)) for n in (500, 100, 200)))
    y = x.mapped(lambda block: np.sign(block[:, :1] * block[:, 1:]))
    found = probes.ridge_predictions(probes.radial_features(x), y)
    assert (np.sign(found) == y.test).mean() > 0.9


def test_classes_are_read_out_and_unknown_ones_ignored():
    rng = np.random.default_rng(4)
    centres = 4 * rng.standard_normal((3, 6))
    number = [rng.integers(0, 3, n) for n in (90, 30, 60)]
    x = probes.Parts(*(centres[c] + rng.standard_normal((len(c), 6)) for c in number))
    validation = np.where(np.arange(30) < 3, -1, number[1])
    found = probes.ridge_classes(x, (number[0], validation), 3)
    assert (found == number[2]).mean() > 0.95


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_constant_column_is_harmless(constant):
    x, y = parts(np.random.default_rng(5))
    wide = x.beside(x.mapped(lambda block: np.full((len(block), 1), constant)))
    np.testing.assert_allclose(
        probes.ridge_predictions(wide, y), probes.ridge_predictions(x, y), atol=1e-9
    )
