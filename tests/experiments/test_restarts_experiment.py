"""The experiment on restarts: what the best of K has on average, what is chosen by what, and what is said of it."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from experiments import restarts
from experiments.restarts import Config, Found, expected_best, powers_of_two

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(seeds=2, restarts=3, units=3, epochs=2, batch_size=64)


def errors(training=(0.1, 0.2, 0.3, 0.4), held_out=(0.5, 0.3, 0.2, 0.4), test=(0.3, 0.5, 0.1, 0.7), keys=4):
    """Return the errors of three seeds with four restarts each; the test errors differ by the seed."""
    three = [np.tile(values, (3, 1)) for values in (training, held_out, test)]
    shift = np.array([[0.0], [0.02], [0.04]])
    three[2] = three[2] * (1 + shift)
    return Found(*three, three[0] / 2, np.array([4, 4, keys]), np.array([0, 0, 1]))


def found_by(monkeypatch, found, **options):
    monkeypatch.setattr(restarts, "measured", lambda config: found)
    return restarts.main(Config(**{"seeds": 3, "restarts": 4, **options}))


def test_the_expected_best_is_the_mean_over_all_subsets():
    rng = np.random.default_rng(0)
    values, by = rng.normal(size=(2, 6)), rng.normal(size=(2, 6))
    for row, keys in zip(values, by, strict=True):
        for k in range(1, 7):
            chosen = [min(subset, key=keys.__getitem__) for subset in itertools.combinations(range(6), k)]
            got = expected_best(row[None], keys[None], [k])
            np.testing.assert_allclose(got, [[row[chosen].mean()]])


def test_the_best_of_one_is_the_mean_and_that_of_all_the_least():
    values = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 8.0]])
    np.testing.assert_allclose(expected_best(values, values, [1, 3]), [[2, 1], [6, 5]])
    first = expected_best(np.array([[7.0, 1.0]]), np.zeros((1, 2)), [2])  # equally good: what the test says decides not
    np.testing.assert_allclose(first, [[7]])


@pytest.mark.parametrize(("most", "counts"), [(2, [1, 2]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9]), (3, [1, 2, 3])])
def test_powers_of_two(most, counts):
    assert powers_of_two(most) == counts


@pytest.mark.slow  # `make course` runs it small
def test_a_small_run_and_its_record(monkeypatch):
    found = restarts.measured(SMALL)
    assert {values.shape for values in found[:4]} == {(2, 3)}
    assert all(((values >= 0) & (values <= 1)).all() for values in found[:4])
    assert found.keys.tolist() == [3, 3]
    assert len(np.unique(found.training)) > 3  # neither lanes nor seeds are alike
    assert not np.array_equal(found.one_start, found.training)
    monkeypatch.setattr(restarts, "QUICK", {})
    result = found_by(monkeypatch, found, seeds=2, restarts=3, quick=True)  # held to the facts alone
    assert result.holds, result.verdict
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert figures["final"]["training"] == found.training.tolist()
    assert figures["training_error"]["best"]["values"] == found.training.min(axis=1).tolist()


def test_the_gain_is_over_the_average_restart(monkeypatch):
    result = found_by(monkeypatch, errors())
    assert result.holds
    # The lowest training error is that of the first, the lowest held-out error that of the third; the mean is 0.4.
    gain = result.figures["gain"]
    assert gain["by training"]["values"] == pytest.approx([0.1, 0.102, 0.104])
    assert gain["by held-out"]["values"] == pytest.approx([0.3, 0.306, 0.312])
    assert result.figures["held_out_over_training"]["values"] == pytest.approx([0.2, 0.204, 0.208])
    best_of = result.figures["expected_best"]
    assert best_of["training error"]["2"]["mean"] == pytest.approx(1 / 6)  # (3 * 0.1 + 2 * 0.2 + 0.3) / 6
    assert best_of["test, by training"]["4"]["values"][0] == pytest.approx(0.3)
    assert best_of["test, by held-out"]["4"]["values"][0] == pytest.approx(0.1)
    assert result.figures["sd_of_training_error"]["one start"]["mean"] == pytest.approx(
        np.std([1, 2, 3, 4], ddof=1) / 20
    )
    assert result.verdict == (
        "digits, 8 sigmoid units, 4 restarts, 3 seeds: training error 10.0 % of the best, 25.0 % of the median, 40.0 % "
        "of the worst (sd 12.9 points, 6.5 from one start, where the order of images alone differs). In test accuracy "
        "the best of all brings, over the average restart, chosen by training error +10.2 points (+9.7 to +10.7); "
        "chosen by held-out error +30.6 points (+29.1 to +32.1); by held-out rather than training error +20.4 points "
        "(+19.4 to +21.4). 1 diverged."
    )


def test_what_may_be_chance_is_said(monkeypatch):
    found = errors()
    found.test[:] = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.2, 0.3, 0.1], [0.1, 0.2, 0.2, 0.3]]
    told = found_by(monkeypatch, found).verdict
    assert "by training error +3.3 points (-36.6 to +43.3), which may be chance" in told
    found.test[:] = [0.4, 0.3, 0.2, 0.1]
    told = found_by(monkeypatch, found).verdict
    assert "chosen by training error -15.0 points (-15.0 to -15.0); chosen by held-out" in told


def test_the_pictures_show_every_restart(monkeypatch):
    result = found_by(monkeypatch, errors())
    dots, lines = [block for section in result.pictures for block in section.blocks if hasattr(block, "figure")]
    groups = [line.get_xdata() for line in dots.figure.axes[0].get_lines() if line.get_label() == "seed"]
    np.testing.assert_allclose(groups, [[10, 20, 30, 40], [5, 10, 15, 20]] * 3)
    drawn = {line.get_label(): line.get_ydata() for line in lines.figure.axes[0].get_lines()}
    np.testing.assert_allclose(drawn["training error"], [25, 100 / 6, 10])


def test_a_key_that_two_restarts_share_is_seen(monkeypatch):
    result = found_by(monkeypatch, errors(keys=3))
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: 4 restarts with keys of their own, with every seed. digits")


def test_a_best_that_rises_with_k_is_seen(monkeypatch):
    honest = expected_best
    monkeypatch.setattr(restarts, "expected_best", lambda *args: -honest(*args))
    result = found_by(monkeypatch, errors())
    assert result.verdict.startswith("NOT as promised: the expected best of K does not rise with K, with every seed. ")


def test_a_best_that_is_worse_than_the_median_is_seen(monkeypatch):
    honest = expected_best
    monkeypatch.setattr(restarts, "expected_best", lambda *args: honest(*args) + 0.2)
    result = found_by(monkeypatch, errors())
    assert result.verdict.startswith("NOT as promised: the best of all is no worse than the median, with every seed. ")


def test_choosing_that_brings_nothing_on_the_test_set_is_seen(monkeypatch):
    found = errors()
    found.test[:] = [0.4, 0.2, 0.2, 0.2]  # the lowest training error has the highest test error
    result = found_by(monkeypatch, found)
    missed = "the best of 4 by training error beats the average restart on the test set, beyond the 95 % interval"
    assert not result.holds
    assert result.verdict.startswith(f"NOT as promised: {missed}. digits")
    found.test[:] = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.2, 0.3, 0.1], [0.1, 0.2, 0.2, 0.3]]  # and where it may be chance
    result = found_by(monkeypatch, found)
    assert not any(kept for promise, kept in result.promises.items() if "beats the average restart" in promise)


def test_quick_is_held_to_the_facts(monkeypatch):
    monkeypatch.setattr(restarts, "QUICK", {})
    found = errors()
    found.test[:] = 0.5
    result = found_by(monkeypatch, found, quick=True)
    assert result.holds
    assert result.verdict.startswith("not judged: digits")
    assert not found_by(monkeypatch, errors(keys=3), quick=True).holds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "^restarts: expected at least 2 seeds, got 1. "),
        ({"restarts": 1}, "^restarts: expected at least 2 restarts, got 1. "),
        ({"held_out": 1.0}, r"^split: expected a fraction in \(0, 1\), got 1.0. "),
        ({"units": 0}, "^Dense: expected features"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        restarts.main(dataclasses.replace(SMALL, **options))
