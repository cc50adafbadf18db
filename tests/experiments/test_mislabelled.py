"""The experiment on random labels: which they are, what it promises, and a small run."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import mislabelled
from experiments.mislabelled import Config, Found, epochs_to_learn, with_random_labels
from jaxcnn import data
from jaxcnn.layers import Dense, Flatten, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(per_class=6, fractions=(0.0, 1.0), test_images=50, seeds=2, epochs=3, batch_size=20)


def made(training=((1.0, 1.0, 1.0), (1.0, 0.995, 1.0)), test=((0.9, 0.9, 0.92), (0.1, 0.09, 0.13))) -> Found:
    """Return the curves of two parts and three seeds over 4 epochs, which end with these accuracies."""

    def curve(ends):
        ends = np.asarray(ends)[..., None]
        return np.concatenate([0.2 * ends, 0.5 * ends, 0.98 * ends, ends], -1)

    test = curve(test)
    test[1, :, 1] = 0.3  # before it learns by heart
    return Found(curve(training), test, 10)


def test_random_labels_are_drawn_from_all_classes():
    train_set, _ = data.load("digits")
    few = data.per_class(train_set, 100, key=jax.random.key(0))
    changed = {}
    for part in (0.0, 0.25, 0.5, 1.0):
        label = with_random_labels(few, part, key=jax.random.key(1))
        assert label.dtype == np.int32
        changed[part] = label != few["label"]
        assert abs(changed[part].mean() - 0.9 * part) < 0.04
    assert not (changed[0.25] & ~changed[0.5]).any() and not (changed[0.5] & ~changed[1.0]).any()
    assert (np.bincount(label) > 60).all()
    assert not (with_random_labels(few, 1.0, key=jax.random.key(2)) == label).all()


def test_when_labels_are_learned():
    curves = np.array([[0.5, 0.99, 0.9, 1.0], [0.5, 0.6, 0.7, 0.8], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(epochs_to_learn(curves), [2, np.nan, 1])


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_and_its_record(monkeypatch):
    monkeypatch.setattr(mislabelled, "roomy_net", lambda info: Sequential(flatten=Flatten(), head=Dense(10)))
    seen = {}
    restarts = mislabelled.search.random_restarts

    def watched(net, pool, **options):
        seen.update(options, pool=pool)
        return restarts(net, pool, **options)

    monkeypatch.setattr(mislabelled.search, "random_restarts", watched)
    found = mislabelled.measured(SMALL)
    assert found.training.shape == found.test.shape == (2, 2, 3) and found.classes == 10
    assert ((found.training >= 0) & (found.training <= 1)).all()
    pool, lanes = seen["pool"], seen["examples"]
    assert lanes.shape == (4, 60)
    images, labels = pool["image"][lanes], pool["label"][lanes]
    np.testing.assert_array_equal(images[:2], images[2:])  # a seed's images with right and with random labels
    assert not (images[0] == images[1]).all()
    assert (np.bincount(labels[0]) == 6).all() and (labels[0] != labels[2]).mean() > 0.7
    monkeypatch.setattr(mislabelled, "measured", lambda config: found)
    result = mislabelled.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures) == ["0 %", "100 %"]
    assert figures["100 %"]["test_accuracy"]["values"] == found.test[1, :, -1].tolist()
    pictures = [block for block in result.pictures[0].blocks if hasattr(block, "figure")]
    assert [len(picture.figure.axes[0].get_lines()) for picture in pictures] == [2, 2]


def test_the_net_takes_the_images():
    train_set, _ = data.load("digits")
    net = mislabelled.roomy_net(train_set.info)
    outputs = jax.eval_shape(
        lambda key, x: net.apply(*net.init(key, x), x, train=False)[0], jax.random.key(0), train_set.spec
    )
    assert outputs.shape == (1, 10)


def test_what_it_says(monkeypatch):
    monkeypatch.setattr(mislabelled, "measured", lambda config: made())
    result = mislabelled.main(dataclasses.replace(SMALL, seeds=3))
    assert result.holds
    assert result.verdict.startswith(
        "digits, 6 images of each class, 3 seeds: with 0 % and 100 % of the labels random the net learns 100.0 % and "
        "99.8 % of them by heart (99% after 4 and 4 epochs) and is right on 90.7 % and 10.7 % of the test images; "
        "with the most of them on 5.5 to 15.8 %, where chance is 10.0 %."
    )
    assert result.verdict.endswith("as the test images themselves say, is 4 and 2: 90.7 % and 30.0 % right.")
    assert result.figures["100 %"]["epochs_to_learn"] == [4, 4, 4]


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (made(training=((1.0, 1.0, 1.0), (1.0, 0.98, 1.0))), "at least 99% of the labels are learned, with every"),
        (made(test=((0.1, 0.1, 0.1), (0.2, 0.0, 0.2))), "the test accuracy falls with each part"),
        (made(test=((0.9, 0.9, 0.9), (0.3, 0.31, 0.32))), "random labels alone teach nothing"),
    ],
)
def test_it_does_not_hold_where_a_promise_is_broken(monkeypatch, found, missed):
    monkeypatch.setattr(mislabelled, "measured", lambda config: found)
    result = mislabelled.main(dataclasses.replace(SMALL, seeds=3))
    assert not result.holds
    assert result.verdict.startswith(f"NOT as promised: {missed}")


def test_quick_is_not_judged(monkeypatch):
    monkeypatch.setattr(mislabelled, "measured", lambda config: made(test=((0.1, 0.1, 0.1), (0.5, 0.5, 0.5))))
    monkeypatch.setattr(mislabelled, "QUICK", {"seeds": 3})
    result = mislabelled.main(dataclasses.replace(SMALL, quick=True))
    assert result.holds
    assert result.verdict.startswith("not judged: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "^mislabelled: expected at least 2 seeds, got 1. "),
        ({"fractions": (1.0, 0.5)}, "^mislabelled: expected 2 to 5 rising fractions, got "),
        ({"fractions": (0.0, 1.5)}, "^mislabelled: expected 2 to 5 rising fractions, got "),
        ({"fractions": (0.5,)}, "^mislabelled: expected 2 to 5 rising fractions, got "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        mislabelled.main(dataclasses.replace(SMALL, **options))
