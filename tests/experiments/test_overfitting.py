"""The experiment on over-training: where it stops, what is read at which epoch, and what it says."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import overfitting
from experiments.overfitting import Config, Found, drawn, reached, stopping, wrong_label_given
from jaxcnn import data
from jaxcnn.layers import Dense, Flatten, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(per_class=6, wrong=0.3, test_images=30, seeds=2, patience=1, most_epochs=4, more_epochs=3, batch_size=20)


RISE = "the test loss is higher 3 epochs after the stop than that of the weights given back, beyond the 95 % interval"


def curves(later_test=(0.5, 0.6, 0.7), later_loss=3.0, agree=True):
    """Return the curves of three seeds over 5 epochs: best after 1, stopped after 2, and 3 epochs more."""
    flat = np.full((5, 3), 0.5)
    loss = flat.copy()
    loss[0], loss[4] = 0.2, later_loss
    test = flat.copy()
    test[0], test[4] = (0.1, 0.2, 0.3), later_test
    learned = np.linspace(0, 1, 5)[:, None] * np.ones(3)
    names = ("training loss", "training error", "validation error", "right labels learned")
    lines = dict.fromkeys(names, flat) | {"validation loss": flat, "test loss": loss, "test error": test}
    lines["wrong labels learned"] = learned
    seconds = np.tile(np.arange(1.0, 6)[:, None], 3)
    return Found(lines, np.array([1, 1, 1]), np.array([2, 2, 2]), test[0], agree, seconds)


@pytest.mark.parametrize(
    ("values", "patience", "best", "last"),
    [
        ([3, 2, 1, 2, 3, 0], 2, 3, 5),  # the better one comes too late
        ([3, 2, 1, 2, 0, 4], 2, 5, 6),
        ([3, 3, 3, 3, 3, 3], 3, 1, 4),
        ([6, 5, 4, 3, 2, 1], 1, 6, 6),  # nothing stops it
        ([np.nan, 5, np.nan, np.nan, 2, 1], 2, 2, 4),
    ],
)
def test_it_stops_where_patience_ends(values, patience, best, last):
    found = stopping(np.array([values, values], float).T, patience, 6)
    assert [each.tolist() for each in found] == [[best, best], [last, last]]


def test_it_stops_after_the_most_epochs_lane_by_lane():
    falling, turning = [6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]
    best, last = stopping(np.array([falling, turning], float).T, 2, 4)
    assert (best.tolist(), last.tolist()) == ([4, 1], [4, 3])


def test_a_wrong_label_counts_where_it_is_given():
    batch = {"label": jnp.array([0, 0, 1, 1]), "true": jnp.array([0, 1, 1, 0])}
    outputs = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert wrong_label_given(outputs, batch).tolist() == [0, 1, 0, 0]


def test_each_seed_is_read_at_its_own_epoch():
    assert reached(np.arange(12).reshape(4, 3), np.array([1, 4, 2])).tolist() == [0, 10, 5]


def test_each_seed_has_images_and_wrong_labels_of_its_own():
    train_set, test_set = (overfitting.relabelled(part, 0.0, key=jax.random.key(0)) for part in data.load("digits"))
    one, same, other = (drawn(SMALL, train_set, test_set, jax.random.key(seed)) for seed in (0, 0, 1))
    for name in ("image", "label", "true"):
        np.testing.assert_array_equal(one.learned[name], same.learned[name])
    assert not np.array_equal(one.learned["image"], other.learned["image"])
    assert not np.array_equal(one.held["image"], other.held["image"])
    wrong = [
        (s.learned["label"] != s.learned["true"]).sum() + (s.held["label"] != s.held["true"]).sum()
        for s in (one, other)
    ]
    assert wrong == [18, 18]  # 30 % of 60
    assert (one.learned["held"] == 0).all() and (one.held["held"] == 1).all()
    np.testing.assert_array_equal(one.both["held"], np.arange(one.both.size) < one.held.size)
    np.testing.assert_array_equal(one.both["image"], np.concatenate([one.held["image"], test_set["image"]]))
    assert (jax.random.key_data(one.key) != jax.random.key_data(other.key)).any()


def test_a_mean_over_two_sets_is_parted():
    history = [
        {
            "validation_loss": np.array([2.0]),
            "validation_held_loss": np.array([1.5]),
            "validation_held": np.array([0.25]),
        }
    ]
    held, other = overfitting.parted(types.SimpleNamespace(history=history), "loss")
    assert (held.tolist(), other.tolist()) == ([[6.0]], [[pytest.approx(2 / 3)]])


@pytest.fixture
def smaller(monkeypatch):
    """Train a net that compiles sooner."""
    monkeypatch.setattr(overfitting, "by_heart", lambda info: Sequential(flatten=Flatten(), head=Dense(10)))


@pytest.mark.slow  # `make course` runs all experiments small
def test_a_small_run_and_its_record(monkeypatch, smaller):
    found = overfitting.measured(SMALL)
    assert found.agree
    epochs = int(found.stop.max()) + SMALL.more_epochs
    assert all(line.shape == (epochs, 2) for line in found.lines.values())
    assert found.seconds.shape == (epochs, 2) and (np.diff(found.seconds, axis=0) >= 0).all()
    np.testing.assert_allclose(found.given_back, reached(found.lines["test error"], found.best), atol=1e-5)
    wrong, right = found.lines["wrong labels learned"], found.lines["right labels learned"]
    assert ((wrong >= 0) & (wrong <= 1) & (right >= 0) & (right <= 1 + 1e-6)).all()
    assert (found.lines["training error"][:, 0] != found.lines["training error"][:, 1]).any()
    monkeypatch.setattr(overfitting, "measured", lambda config: found)
    figures = json.loads(json.dumps(overfitting.main(SMALL).figures, allow_nan=False))
    assert figures["agree"]
    assert figures["best"]["test error"]["values"] == pytest.approx(found.given_back.tolist(), abs=1e-5)
    assert figures["epoch"]["later"]["values"] == (found.stop + 3).tolist()


def test_the_net_takes_the_images():
    train_set, _ = data.load("digits")
    net = overfitting.by_heart(train_set.info)
    outputs = jax.eval_shape(
        lambda key, x: net.apply(*net.init(key, x), x, train=False)[0], jax.random.key(0), train_set.spec
    )
    assert outputs.shape == (1, 10)


def test_it_says_what_more_epochs_cost(monkeypatch):
    monkeypatch.setattr(overfitting, "measured", lambda config: curves())
    result = overfitting.main(dataclasses.replace(SMALL, seeds=3))
    assert result.holds
    assert result.figures["cost"]["values"] == pytest.approx([0.4, 0.4, 0.4])
    assert result.figures["seconds"]["more"]["mean"] == pytest.approx(3)
    assert result.verdict == (
        "digits, 6 images of each class, 30% of labels wrong, 3 seeds: stopped after 2 epochs, the best weights have "
        "learned 0 % of the wrong labels, 3 epochs later the net has 100 %; the test error goes from 20.0 % to 60.0 %, "
        "+40.0 points (+40.0 to +40.0), which is harm, the test loss from 0.20 to 3.00; they take 3.0 s more after "
        "2.0 s."
    )
    pictures = [block for section in result.pictures for block in section.blocks if hasattr(block, "figure")]
    assert [len(picture.figure.axes[0].get_lines()) for picture in pictures] == [4, 5, 5]  # and two marks in each


@pytest.mark.parametrize(
    ("later", "words"), [((0.0, 0.09, 0.18), "which is a gain"), ((0.0, 0.4, 0.2), "which may be chance")]
)
def test_harm_is_what_is_beyond_the_interval(monkeypatch, later, words):
    monkeypatch.setattr(overfitting, "measured", lambda config: curves(later))
    assert words in overfitting.main(dataclasses.replace(SMALL, seeds=3)).verdict


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (curves(later_loss=(0.1, 3.0, 3.0)), RISE),  # it may be chance
        (curves(later_loss=0.1), RISE),
        (curves(agree=False), "the trainings with and without patience agree up to the stop"),
    ],
)
def test_it_does_not_hold_where_a_promise_is_broken(monkeypatch, found, missed):
    monkeypatch.setattr(overfitting, "measured", lambda config: found)
    result = overfitting.main(dataclasses.replace(SMALL, seeds=3))
    assert not result.holds
    assert result.verdict.startswith(f"NOT as promised: {missed}. digits, 6 images")


@pytest.mark.parametrize(("agree", "holds"), [(True, True), (False, False)])
def test_quick_is_held_to_the_facts(monkeypatch, agree, holds):
    monkeypatch.setattr(overfitting, "measured", lambda config: curves(later_loss=0.1, agree=agree))
    monkeypatch.setattr(overfitting, "QUICK", {"seeds": 3, "more_epochs": 3})
    result = overfitting.main(dataclasses.replace(SMALL, quick=True))
    assert result.holds == holds
    assert "not judged: " in result.verdict


@pytest.mark.slow
def test_trainings_that_differ_are_seen(monkeypatch, smaller):
    honest = overfitting.column

    def altered(found, name):
        values = honest(found, name)
        return values if found.validation["held"].all() else values * 1.01  # the one with the test images

    monkeypatch.setattr(overfitting, "column", altered)
    assert not overfitting.measured(SMALL).agree


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "^overfitting: expected at least 2 seeds, got 1. "),
        ({"more_epochs": 0}, "^overfitting: expected more_epochs >= 1, got 0. "),
        ({"wrong": 0.0}, "^overfitting: expected some wrong labels to learn, got wrong=0.0. "),
        ({"patience": 0}, "^early_stopping: expected patience >= 1 or None, got 0. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        overfitting.main(dataclasses.replace(SMALL, **options))
