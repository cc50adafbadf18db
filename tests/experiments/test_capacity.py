"""The experiment on capacity: the spirals, the regions, and what it says of more neurons."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import capacity
from experiments.capacity import Config, Found, regions, spirals
from jaxcnn import search
from jaxcnn.layers import Dense, Flatten, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(widths=(1, 3), points=40, test_points=60, restarts=2, seeds=2, epochs=3, batch_size=20)
KEY = jax.random.key(0)


def found(training, test):
    """Return errors of three seeds with a little wobble."""
    wobble = 0.01 * np.arange(3)[:, None] * np.arange(1, 3)
    points, field = spirals(KEY, 40, 1.0, 0.0), np.linspace(0, 1, 25).reshape(5, 5)
    return Found(np.array(training) + wobble, np.array(test) + wobble, points, {1: field, 3: field})


def test_points_lie_on_the_spirals_where_there_is_no_noise():
    drawn = spirals(KEY, 50, 1.5, 0.0)
    assert drawn["image"].shape == (50, 1, 1, 2)
    assert np.bincount(drawn["label"]).tolist() == [25, 25]
    x, y = (drawn["image"].reshape(50, 2).T - 0.5) / 0.4
    radius = np.hypot(x, y)
    assert radius.min() >= 0.1 and radius.max() <= 1
    turned = np.arctan2(y, x) - 2 * math.pi * 1.5 * radius - math.pi * drawn["label"]
    np.testing.assert_allclose(np.cos(turned), 1, atol=1e-4)


def test_noise_moves_points_and_keeps_them_in_the_image():
    still, moved = (spirals(KEY, 2000, 1.0, noise)["image"] for noise in (0.0, 0.1))
    assert (moved - still).std() == pytest.approx(0.04, rel=0.05)
    wild = spirals(KEY, 2000, 1.0, 5.0)["image"]
    assert (wild.min(), wild.max()) == (0, 1)


@pytest.mark.slow
def test_regions_are_those_of_the_lane(monkeypatch):
    net = Sequential(flatten=Flatten(), head=Dense(2))
    trained = search.random_restarts(net, spirals(KEY, 40, 1.0, 0.0), restarts=2, epochs=1, batch_size=20, key=KEY)
    states = trained.states
    kernel = jnp.zeros((2, 2, 2)).at[1, 0, 1].set(8.0)  # the second lane: class 1 where x > 1/2, whatever y is
    bias = jnp.zeros((2, 2)).at[1, 1].set(-4.0)
    states = states.replace(params={"head": {"kernel": kernel, "bias": bias}})
    field = regions(dataclasses.replace(trained, states=states), 1)
    assert field.shape == (capacity.SIDE, capacity.SIDE)
    np.testing.assert_allclose(field, np.broadcast_to(field[0], field.shape), rtol=1e-5)
    np.testing.assert_allclose(field[0, [0, -1]], [1 / (1 + math.exp(4)), 1 / (1 + math.exp(-4))], rtol=1e-4)


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_and_its_record():
    result = capacity.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["error"]["test"]) == ["1", "3"]
    assert figures["error"]["training"]["3"]["n"] == 2
    assert list(figures["won"]["test"]) == ["1 to 3"]
    picture = result.pictures[0].blocks[0].figure
    assert [axes.get_title(loc="left").split("\n")[0] for axes in picture.axes] == ["1 neurons", "3 neurons"]
    assert sum(len(line.get_xdata()) for line in picture.axes[0].lines) == SMALL.points
    assert np.ptp(figures["error"]["training"]["3"]["values"]) > 0  # other points, other weights


@pytest.mark.slow
def test_errors_are_those_of_each_seeds_own_points():
    one = capacity.measured(dataclasses.replace(SMALL, epochs=150, noise=0.0, turns=0.3, widths=(3, 5)))
    assert one.training.max() == 0  # nearly straight lines: learned by heart, whichever points a seed has
    assert one.test.max() < 0.1
    points = spirals(jax.random.split(jax.random.key(0), 3)[0], 80, 0.3, 0.0)
    np.testing.assert_array_equal(one.points["image"], points["image"][:40])


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ([0.5, 0.1], "the test error falls from 1 to 3 (-"),
        ([0.1, 0.5], "the test error rises from 1 to 3 (+"),
        ([0.3, 0.29], "the test error stays, as far as can be seen, from 1 to 3 ("),
    ],
)
def test_it_says_what_the_test_error_does(monkeypatch, test, words):
    monkeypatch.setattr(capacity, "measured", lambda config: found([0.4, 0.1], test))
    result = capacity.main(dataclasses.replace(SMALL, seeds=3))
    assert result.holds
    assert words in result.verdict
    assert "3 seeds: training error 41.0 %, 12.0 %, test error " in result.verdict
    assert result.figures["won"]["training"]["1 to 3"]["mean"] == pytest.approx(0.29)


def test_it_does_not_hold_where_more_neurons_learn_no_more(monkeypatch):
    monkeypatch.setattr(capacity, "measured", lambda config: found([0.12, 0.1], [0.2, 0.2]))
    result = capacity.main(dataclasses.replace(SMALL, seeds=3))
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: the most neurons learn more than the fewest with every seed. 1")
    result = capacity.main(dataclasses.replace(SMALL, quick=True))
    assert result.holds
    assert result.verdict.startswith("not judged: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "^capacity: expected at least 2 seeds, got 1. "),
        ({"widths": (6, 3)}, r"^capacity: expected two rising widths or more, got \(6, 3\)"),
        ({"points": 1}, "^capacity: expected at least 2 points, got 1. "),
        ({"batch_size": 41}, "^sweep: expected a batch_size of at most the 40 training examples, got 41. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        capacity.main(dataclasses.replace(SMALL, **options))
