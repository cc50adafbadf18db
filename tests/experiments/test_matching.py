"""The experiment on matching: its parts, what it promises and what it says."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import matching
from experiments.matching import MEASURES, PIXELS, PRECISION, TRAINED, UNTRAINED, Config, Found
from jaxcnn import data

pytestmark = pytest.mark.usefixtures("quick_compilation", "two_stages")
SMALL = Config(
    dataset="digits", train_images=64, test_images=40, seeds=2, epochs=1, batch_size=32, width=2, embedding=4
)  # fmt: skip


@pytest.mark.slow
def test_no_seed_trains_on_what_it_is_tested_with():
    train, test = data.load("digits")
    parts = matching.divided(SMALL, train, test, jax.random.split(jax.random.key(0), 3))
    assert len({part.unseen for part in parts}) == 3
    for part in parts:
        assert len(part.unseen) == 4
        seen, unseen, moved = part.tests.values()
        assert list(part.tests) == list(matching.TESTS)
        assert set(unseen["label"]) == set(part.unseen)
        assert not {*train["label"][part.train], *seen["label"]} & set(part.unseen)
        assert (len(np.unique(part.train)), seen.size, unseen.size) == (64, 40, 40)
        np.testing.assert_array_equal(moved["label"], unseen["label"])
        still = (np.abs(moved["image"] - unseen["image"] / 255) < 1e-3).all((1, 2, 3))
        assert 0 < still.sum() < 20  # of nine moves by a pixel at most, one is none


@pytest.mark.slow  # CI runs it in the course
@pytest.mark.parametrize("loss", ["contrastive", pytest.param("triplet", marks=pytest.mark.slow)])
def test_a_small_run_is_json_and_its_queries_stand_worst_first(loss):
    result = matching.main(dataclasses.replace(SMALL, loss=loss))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert [len(unseen) for unseen in figures["unseen"]] == [4, 4]
    assert list(figures["found"]) == list(matching.TESTS)
    for test, of in figures["found"].items():
        assert list(of) == list(MEASURES)
        for measure, by_way in of.items():
            assert list(by_way) == [TRAINED, UNTRAINED, PIXELS]
            assert all(0 < value <= 1 for found in by_way.values() for value in found["values"])
            gain = by_way[TRAINED]["mean"] - by_way[PIXELS]["mean"]
            assert figures["over_pixels"][test][measure]["mean"] == pytest.approx(gain)
    recalls = [figures["found"][matching.UNSEEN][f"recall at {k}"][PIXELS]["mean"] for k in matching.AT]
    assert recalls == sorted(recalls)
    assert recalls[0] > 0.6  # digits are found by their pixels alone
    assert "digits, 4 classes never seen in training" in result.verdict
    worst, first, _ = result.pictures[1].blocks
    (axes,) = worst.figure.axes
    assert len(axes.images) == matching.SHOWN * (1 + matching.FOUND)
    names = [text.get_text() for text in axes.texts if "average precision" in text.get_text()]
    precision = [float(name.rsplit(" ", 1)[1]) for name in names]
    assert precision == sorted(precision)
    assert len(first.figure.axes[0].images) == len(axes.images)


def test_captions_say_what_is_right():
    label = np.array([0, 0, 1, 1])
    rows = np.array([[1.0, 0], [0.9, 0.1], [1, 0.05], [0, 1]], np.float32)
    images = np.zeros((4, 8, 8, 1), np.uint8)
    test = data.from_arrays(images, label, class_names=("cat", "dog"))
    found = {TRAINED: Found(rows, matching.host(matching.matching.retrieve(rows, label, at=(1, 3))))}
    picture = matching.queries(test, found, np.array([0]), ("cat", "dog"), "Some")
    words = [text.get_text() for text in picture.figure.axes[0].texts]
    assert words == ["1. cat: average precision 0.50", "query", "dog", "right", "dog"]


def made_up(trained, untrained, pixels):
    """Return what three seeds found, by their mean average precision with a little wobble."""

    def of(precision):
        recall = np.full((4, len(matching.AT)), precision, np.float32)
        retrieved = matching.matching.Retrieved(
            np.tile(np.arange(10), (40, 1)), np.ones((40, 10)), recall, np.full(40, precision)
        )  # fmt: skip
        return Found(np.random.default_rng(0).normal(size=(40, 2)), retrieved)

    values = {TRAINED: trained, UNTRAINED: untrained, PIXELS: pixels}
    found = [{way: of(value + wobble) for way, value in values.items()} for wobble in (0.0, 0.01, 0.02)]
    return [dict.fromkeys(matching.TESTS, seed) for seed in found]


@pytest.mark.parametrize(
    ("precision", "missed"),
    [
        ((0.8, 0.5, 0.6), []),
        ((0.59, 0.5, 0.6), [f"{PIXELS} (seen)", f"{PIXELS} (unseen, moved)"]),
        ((0.5, 0.5, 0.4), ["untrained (seen)"]),
    ],
)
def test_what_it_promises(monkeypatch, precision, missed):
    monkeypatch.setattr(matching, "measured", lambda *_: made_up(*precision))
    config = dataclasses.replace(SMALL, seeds=3)
    result = matching.main(config)
    assert result.holds == (not missed)
    broken = "; ".join(f"{PRECISION} above that of {way}" for way in missed)
    assert result.verdict.startswith(f"NOT as promised: {broken}. digits" if missed else "digits")
    assert f"{TRAINED} {100 * precision[0] + 1:.1f} ± 1.0 %" in result.verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^matching: expected at least 2 seeds, got 1\. "),
        ({"unseen": 1}, r"^matching: expected 2 to 8 unseen classes, got 1\. "),
        ({"unseen": 9}, r"^matching: expected 2 to 8 unseen classes, got 9\. "),
        ({"margin": 0.0}, r"^pair_loss: expected a finite margin > 0, got 0\.0\. "),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        matching.main(dataclasses.replace(SMALL, **options))
