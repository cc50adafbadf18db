"""The experiment on learning rates: what a curve is called, what is promised of the rates, and what is said."""

import dataclasses
import json
import math

import numpy as np
import pytest

from experiments import learning_rate
from experiments.learning_rate import KINDS, Config, Found, kind, lowest, most_common, promised

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(rates=(0.001, 0.1, 1e6), seeds=2, epochs=4, batch_size=128, maps=2)
GUESSING = math.log(10)
CURVES = {
    "crawls": np.linspace(2.3, 1.5, 8),
    "converges": 2.3 * 0.4 ** np.arange(8),
    "oscillates": np.array([2.0, 1.0, 0.5, 0.1, 0.4, 0.1, 0.05, 0.01]),
    "diverges": np.array([9.0, 2.31, 2.3, 2.32, 2.31, 2.33, 2.31, 2.32]),
}


def curves(*names, diverged=False):
    """Return lanes of two seeds: for each rate the curve of that name, and one that is a little higher."""
    loss = np.stack([[CURVES[name], 1.01 * CURVES[name]] for name in names])
    accuracy = np.linspace(0.1, 0.9, len(names))[:, None] + np.array([0.0, 0.02])
    return Found(loss, np.full(loss.shape[:2], diverged), accuracy, GUESSING)


def seeds_of(result):
    """Return the test accuracies of all lanes, in percent."""
    return [100 * value for row in result.figures["rates"] for value in row["test_accuracy"]["values"]]


def found_by(monkeypatch, found, **options):
    monkeypatch.setattr(learning_rate, "measured", lambda config: found)
    rates = tuple(10.0 ** np.arange(len(found.loss)))
    return learning_rate.main(Config(**{"rates": rates, "seeds": 2, "epochs": 8, **options}))


@pytest.mark.parametrize("name", KINDS)
def test_curves_are_called_what_they_are(name):
    assert kind(CURVES[name], False, GUESSING) == name
    assert kind(CURVES[name], True, GUESSING) == "diverges"


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ([2, 1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1], "converges"),  # rises of 0.2 are less than a tenth of 2.3
        ([2, 1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2], "oscillates"),  # and of 0.3 more
        ([2, 1.5, 1, 0.24], "crawls"),
        ([2, 1.5, 1, 0.22], "converges"),
        ([2, 1, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 9.0], "oscillates"),  # one peak at the end is not the end
        ([2.2, 2.0, 2.5, 2.4], "diverges"),
        ([2.5, 2.4, 2.35, 2.31], "diverges"),
        ([2.0, np.nan, np.nan, np.nan], "diverges"),
    ],
)
def test_the_rules_at_their_bounds(loss, name):
    assert kind(np.array(loss, float), False, GUESSING) == name


def test_a_rate_is_what_most_lanes_are():
    assert most_common(["crawls", "converges", "converges"]) == "converges"
    assert most_common(["oscillates", "converges", "oscillates", "converges"]) == "oscillates"


@pytest.mark.parametrize(
    ("names", "missed"),
    [
        (("crawls", "converges", "oscillates", "converges", "diverges"), []),
        (("crawls", "converges", "diverges", "oscillates", "diverges"), []),
        (("crawls", "diverges"), ["some rate converges"]),
        (("converges", "oscillates"), ["some rate crawls", "some rate diverges"]),
        (("converges", "crawls", "diverges"), ["no rate converges below one that crawls"]),
        (("crawls", "converges", "diverges", "converges"), ["no rate diverges below one that converges"]),
    ],
)
def test_what_is_promised(monkeypatch, names, missed):
    assert [promise for promise, kept in promised(names).items() if not kept] == missed
    result = found_by(monkeypatch, curves(*names))
    assert result.holds == (not missed)
    assert result.verdict.startswith(f"NOT as promised: {'; '.join(missed)}. digits" if missed else "digits")


def test_what_it_says(monkeypatch):
    result = found_by(monkeypatch, curves("crawls", "crawls", "converges", "oscillates", "diverges"))
    assert result.verdict == (
        "digits, plain SGD, 8 epochs, 2 seeds: it crawls at 1, 10; converges at 100; oscillates at 1000; diverges at "
        "10000. The training loss is lowest at 100, with a test accuracy of 51.0 % (sd 1.4)."
    )
    assert [row["kind"] for row in result.figures["rates"]][2:] == ["converges", "oscillates", "diverges"]
    assert result.figures["rates"][0]["lanes"] == {"crawls": 2, "converges": 0, "oscillates": 0, "diverges": 0}
    loss, accuracy = [block for section in result.pictures for block in section.blocks if hasattr(block, "figure")]
    drawn = {line.get_label(): line for line in loss.figure.axes[0].get_lines()}
    assert list(drawn) == ["10 crawls", "100 converges", "1000 oscillates", "10000 diverges", "constant guessing"]
    np.testing.assert_allclose(drawn["100 converges"].get_ydata(), 1.005 * CURVES["converges"])
    axes = accuracy.figure.axes[0]
    names = {text.get_text(): text for text in axes.texts}
    assert list(names) == list(KINDS)
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(sorted(np.concatenate([line.get_ydata() for line in dots])), sorted(seeds_of(result)))
    assert names["crawls"].get_position()[0] == pytest.approx(10**0.5)  # amid its rates
    for text, word in zip(axes.texts, KINDS, strict=True):  # one colour a kind, in both pictures
        assert text.get_color() == next(line for name, line in drawn.items() if word in name).get_color()


def test_the_lowest_loss_is_of_lanes_that_train():
    found = curves("crawls", "oscillates", "converges")
    assert lowest(found) == 2
    found.diverged[2, 1] = True
    assert lowest(found) == 1


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_and_its_record():
    result = learning_rate.main(SMALL)
    assert result.verdict.startswith(
        "NOT as promised: some rate converges. digits, plain SGD, 4 epochs, 2 seeds: it crawls"
    )
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    slow, _, fast = figures["rates"]
    assert (slow["kind"], fast["kind"]) == ("crawls", "diverges")
    assert all(len(lane) == 4 for row in figures["rates"] for lane in row["loss"])
    assert slow["loss"][0][0] == pytest.approx(GUESSING, abs=0.05)  # the head begins at zero
    assert slow["loss"][0] != slow["loss"][1]
    for lane in slow["loss"]:  # lanes of the rate that they are said to be of
        assert lane == sorted(lane, reverse=True)
        assert lane[-1] > 2.2


def test_quick_is_not_judged(monkeypatch):
    found = curves("diverges", "diverges", diverged=True)
    found = found._replace(loss=found.loss[..., :6])
    result = found_by(monkeypatch, found, rates=(1, 2, 3, 4, 5), quick=True)
    assert result.holds
    assert result.verdict.startswith("not judged: digits, plain SGD, 6 epochs, 2 seeds: it crawls at none; ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": (0.1,)}, r"^learning_rate: expected two rates or more, positive and rising, got \(0.1,\). "),
        ({"rates": (0.1, 0.1)}, "^learning_rate: expected two rates or more, positive and rising, "),
        ({"rates": (0.0, 0.1)}, "^learning_rate: expected two rates or more, positive and rising, "),
        ({"seeds": 1}, "^learning_rate: expected at least 2 seeds, got 1. "),
        ({"epochs": 3}, "^learning_rate: expected at least 4 epochs, got 3. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        learning_rate.main(dataclasses.replace(SMALL, **options))
