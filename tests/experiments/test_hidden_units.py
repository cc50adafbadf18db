"""The experiment on the number of hidden units: its data, its masked nets, what it chooses and what it says."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import hidden_units
from experiments.apparatus import image_sets
from experiments.apparatus.few_images import mistakes, of_the_best
from experiments.apparatus.image_sets import relabelled
from experiments.apparatus.small_nets import masked, one_hidden_layer
from experiments.hidden_units import Config, Found, of
from jaxcnn import data, search, training

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(per_class=6, widths=(1, 4), folds=2, restarts=2, seeds=2, epochs=2, batch_size=16)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def few():
    return data.per_class(data.load("digits")[0], 5, key=KEY)


@pytest.fixture(scope="module")
def swept(few):
    make = masked(lambda width: one_hidden_layer(few.info, width), 5)
    return search.sweep(make, few, over={"width": [2, 5]}, restarts=2, epochs=3, batch_size=25, key=KEY)


def shapes(seeds=3, step=0.01):
    """Return errors of widths 1, 4, 16 that fall and rise again, a little different from seed to seed."""
    wobble = step * np.arange(seeds)[:, None]
    validation = (np.array([0.8, 0.3, 0.5]) + wobble)[..., None] + np.array([-0.02, 0.02])
    test = np.array([0.7, 0.2, 0.4]) + wobble * np.array([1, -1, 0.5])
    return Found(validation, np.array([0.8, 0.2, 0.0]) + wobble, test, np.array([4] * seeds))


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.3, 15), (0.5, 25)])
def test_so_many_labels_become_another_class(few, fraction, expected):
    found = relabelled(few, fraction, key=KEY)
    assert (found["label"] != found["true"]).sum() == expected
    np.testing.assert_array_equal(found["true"], few["label"])
    np.testing.assert_array_equal(found["image"], few["image"])
    assert found.info.class_names == few.info.class_names
    other = relabelled(few, 0.5, key=jax.random.key(1))
    assert (other["label"] != found["label"]).any()


def test_wrong_labels_are_of_all_classes(few):
    found = relabelled(few, 0.9, key=KEY)
    assert len(set(((found["label"] - found["true"]) % 10).tolist())) == 10


def test_a_masked_net_is_the_narrow_one_and_stays_it(few, swept):
    narrow = one_hidden_layer(few.info, 2)
    state = swept.state(0)
    hidden, head = state.params["hidden"], state.params["head"]
    assert not jnp.any(head["kernel"][2:])
    assert jnp.all(jnp.any(head["kernel"][:2], axis=1))
    params = {
        "hidden": {"kernel": hidden["kernel"][:, :2], "bias": hidden["bias"][:2]},
        "head": {"kernel": head["kernel"][:2], "bias": head["bias"]},
    }
    ours = training.predict(swept.net(0), state.params, state.model_state, few)
    np.testing.assert_allclose(ours, training.predict(narrow, params, {}, few), rtol=1e-4, atol=1e-5)
    assert jnp.all(jnp.any(swept.state(2).params["head"]["kernel"], axis=1))


def test_errors_are_those_of_evaluate(few, swept):
    found = mistakes(swept, few)
    assert found.shape == (4, few.size)
    for lane in range(len(swept)):
        state = swept.state(lane)
        expected = 1 - training.evaluate(swept.net(lane), state.params, state.model_state, few)["accuracy"]
        assert found[lane].mean() == pytest.approx(expected, abs=1e-6)


def test_the_restart_with_the_lowest_training_loss_counts():
    values = np.arange(6.0)
    loss = np.array([3, 1, 2, np.nan, np.inf, 9])
    np.testing.assert_array_equal(of_the_best(values, loss, (2, 3)), [1, 5])
    np.testing.assert_array_equal(of_the_best(values, loss[::-1], (2, 3)), [0, 4])
    np.testing.assert_array_equal(of(values.reshape(2, 3), np.array([1, 4, 16]), np.array([16, 1])), [2, 3])


@pytest.mark.slow  # `make course` runs all experiments small
def test_a_small_run_and_its_record():
    result = hidden_units.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    for part in ("validation", "training", "test"):
        assert list(figures[part]) == ["1", "4"]
        assert all(0 <= v <= 1 for width in figures[part].values() for v in width["values"])
        assert np.ptp(figures[part]["4"]["values"]) > 0  # other images, other weights
    assert figures["test"]["4"]["n"] == 2
    assert set(figures["chosen"]["rule"]) <= {1, 4}


@pytest.mark.parametrize(
    ("most", "words"),
    [(0.4, "too many do harm"), (0.12, "more only help"), (0.185, "too many do no harm that is seen")],
)
def test_it_says_whether_too_many_do_harm(monkeypatch, most, words):
    found = shapes()
    found.test[:, 2] += most - 0.4
    monkeypatch.setattr(hidden_units, "measured", lambda config: found)
    result = hidden_units.main(dataclasses.replace(SMALL, widths=(1, 4, 16), seeds=3))
    assert result.holds
    assert f"; {words} (16 beside 4: " in result.verdict
    assert "One standard error chooses 4 (3x), 19.0 % wrong; the minimum 19.0 %." in result.verdict
    assert result.figures["chosen"] == {"rule": [4, 4, 4], "minimum": [4, 4, 4]}
    assert result.figures["cost"]["fewest"]["mean"] == pytest.approx(0.52)
    assert result.figures["standard_error"]["1"]["mean"] == pytest.approx(0.02)


def test_where_the_widest_is_best_none_are_too_many(monkeypatch):
    found = shapes()
    found.validation[:, 2] -= 0.4
    monkeypatch.setattr(hidden_units, "measured", lambda config: found)
    verdict = hidden_units.main(dataclasses.replace(SMALL, widths=(1, 4, 16), seeds=3)).verdict
    assert "40.5 % with 16 units; none of these are too many. One" in verdict


def test_it_does_not_hold_where_the_fewest_do_no_harm(monkeypatch):
    found = shapes()
    found.test[:, 0] = found.test[:, 1] + np.array([0.01, -0.01, 0])
    monkeypatch.setattr(hidden_units, "measured", lambda config: found)
    config = dataclasses.replace(SMALL, widths=(1, 4, 16), seeds=3)
    result = hidden_units.main(config)
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: the fewest units do harm. digits, 6 images of each class")
    found = Found(found.validation[:, ::2], found.training[:, ::2], found.test[:, ::2], np.array([1, 1, 16]))
    monkeypatch.setattr(hidden_units, "measured", lambda config: found)
    result = hidden_units.main(dataclasses.replace(config, widths=(1, 2, 4, 16), quick=True))
    assert result.holds
    assert result.verdict.startswith("not judged: ")


def test_the_picture_shows_the_bound_and_the_choice():
    errors = np.array([[0.5, 0.7], [0.2, 0.4], [0.1, 0.3]])
    (axes,) = hidden_units.chosen_picture((1, 4, 16), errors, 4).axes
    ys = [np.asarray(line.get_ydata(), float).tolist() for line in axes.lines]
    assert [30.0] in [pytest.approx(y) for y in ys]  # the choice
    assert any(np.allclose(y, 30.0) and len(y) == 2 for y in ys)  # 20 + a standard error of 10
    assert any("chosen: 4" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "^hidden_units: expected at least 2 seeds, got 1. "),
        ({"widths": (4,)}, r"^hidden_units: expected two rising widths or more, got \(4,\)"),
        ({"widths": (4, 2)}, r"^hidden_units: expected two rising widths or more, got \(4, 2\)"),
        ({"wrong": 1.0}, r"^relabelled: expected a fraction in \[0, 1\), got 1.0"),
        ({"folds": 1}, r"^cross_validate: expected folds in "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        hidden_units.main(dataclasses.replace(SMALL, **options))


def test_a_stream_is_refused(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name, split_seed: (None, None))
    with pytest.raises(ValueError, match=r"^here: expected a set that fits into memory, got None\. Choose"):
        image_sets.load("here", "large", 0)
