"""What attacks are given: what is refused, and with which sentence."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.given import epsilons, expect_finite, prepared
from jaxcnn.attack.goal import image_axes, per_image


def test_what_is_given_comes_back_for_jit(linear):
    logits_fn, x, goal, bounds = prepared("attack", linear.logits_fn, linear.x, 2, target=1, bounds=[0, 1])
    assert goal.label.tolist() == [2] * 6
    assert goal.target.tolist() == [1] * 6
    assert bounds == (0.0, 1.0)
    assert image_axes(x, goal) == (1, 2, 3)
    assert per_image(goal.label, x).shape == (6, 1, 1, 1)
    assert goal.of(slice(2)).target.shape == (2,)
    assert jax.jit(lambda f, x: f(x))(logits_fn, x).shape == (6, 4)
    one = prepared("attack", linear.logits_fn, linear.x[0], 2)
    assert one[2].label.shape == ()
    assert image_axes(one[1], one[2]) == (0, 1, 2)


def test_an_epsilon_of_half_precision_is_one():
    for epsilon in (jnp.bfloat16(0.25), jnp.float16(0.25), np.array([0.25, 0.5], jnp.bfloat16)):
        found = epsilons("attack", epsilon, "linf", (0.0, 1.0))
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, np.asarray(epsilon, np.float32))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"logits_fn": 3}, TypeError, "expected logits_fn as a function of images, got 3"),
        ({"x": np.zeros((6, 3, 3, 1), np.uint8)}, TypeError, r"got uint8\. Convert it first, uint8 images with"),
        (
            {"x": np.full((6, 3, 3, 1), 255.0, np.float32)},
            ValueError,
            r"within bounds=\(0.0, 1.0\), got values from 255",
        ),
        ({"x": np.full((6, 3, 3, 1), np.nan)}, ValueError, "got values from nan to nan. Scale the images"),
        ({"y": 4}, ValueError, r"expected y in 0\.\.3, got 4"),
        ({"y": np.zeros(5, int)}, ValueError, r"expected y of shape \(\) or \(6,\), got \(5,\)"),
        ({"y": 1.5}, TypeError, "expected y as a class, an array of classes, got 1.5"),
        ({"target": -1}, ValueError, r"expected target in 0\.\.3, got -1"),
        ({"bounds": (1, 0)}, ValueError, r"expected bounds as \(least, largest\) value of a pixel, got \(1, 0\)"),
        ({"bounds": 1}, ValueError, "expected bounds as"),
        ({"bounds": (0, float("inf"))}, ValueError, "expected bounds as"),
        ({"logits_fn": lambda x: x.mean((1, 2))[:2]}, ValueError, r"expected outputs \(\.\.\., classes\), one row"),
        ({"logits_fn": lambda x: x.mean((1, 2))}, ValueError, "expected logits of at least 2 classes, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(linear, given, error, message):
    arguments = {"logits_fn": linear.logits_fn, "x": linear.x, "y": linear.y} | given
    options = {name: arguments.pop(name) for name in ("target", "bounds") if name in arguments}
    with pytest.raises(error, match=f"^attack: .*{message}"):
        prepared("attack", *arguments.values(), **options)


def test_probabilities_are_refused_where_logits_are_needed(linear):
    def probabilities(x):
        return jax.nn.softmax(linear.logits_fn(x))

    with pytest.raises(ValueError, match=r"^attack: expected logits, got probabilities\. Pass logits: leave out the"):
        prepared("attack", probabilities, linear.x, linear.y)
    prepared("attack", probabilities, linear.x, linear.y, decision=True)
    prepared("attack", lambda x: jnp.log(probabilities(x)), linear.x, linear.y)


def test_random_nets_are_refused(linear):
    """Randomness of NumPy, drawn once where it is traced, and of the host, drawn again with each call."""
    draw = np.random.default_rng(0)
    calls = itertools.count()

    def traced(x):
        return linear.logits_fn(x) + draw.normal()

    def called(x):
        logits = linear.logits_fn(x)
        return logits + jax.pure_callback(lambda: np.float32(next(calls)), jax.ShapeDtypeStruct((), jnp.float32))

    for random in (traced, called):
        with pytest.raises(ValueError, match=r"^attack: expected logits_fn to give the same logits twice, got others"):
            prepared("attack", random, linear.x, linear.y)


def test_values_are_not_looked_at_under_jit(linear):
    @jax.jit
    def attacked(x, y):
        return prepared("attack", linear.logits_fn, x, y)[2].label

    assert attacked(linear.x + 5, linear.y).tolist() == linear.y.tolist()


def test_epsilons():
    inside = "linf", (0.0, 1.0)
    assert epsilons("attack", 0.1, *inside).shape == ()
    assert epsilons("attack", [0, 1], *inside).shape == (2,)
    for wrong in (-0.1, float("nan"), float("inf"), "0.1", None, [0.1, -1.0], True, []):
        with pytest.raises(ValueError, match=r"^attack: expected epsilon .*, got .*Pass epsilon=8 / 255"):
            epsilons("attack", wrong, *inside)


def test_no_value_can_change_by_more_than_the_bounds_are_apart():
    """Somebody who passes 8 for 8 / 255 is told."""
    message = r"^attack: expected epsilon of at most 1, the width of the bounds, got 8\. It has the unit of the pixels"
    for wrong in (8, [0.1, 8.0]):
        with pytest.raises(ValueError, match=message):
            epsilons("attack", wrong, "linf", (0.0, 1.0))
    assert epsilons("attack", 8, "l2", (0.0, 1.0)) == 8
    assert epsilons("attack", 3, "linf", (-1.0, 2.0)) == 3
    assert jax.jit(lambda epsilon: epsilons("attack", epsilon, "linf", (0.0, 1.0)))(8.0) == 8


def test_gradients_that_are_not_finite_are_refused():
    expect_finite("attack", jnp.array([True, True]))
    with pytest.raises(ValueError, match=r"^attack: expected finite gradients, got infinite or NaN ones\. Attack it"):
        expect_finite("attack", jnp.array([True, False]))


EMPTY = (
    *("bim", "colour_shift", "ddn", "deepfool", "fgsm", "jacobian_saliency", "momentum_iterative"),
    *("apgd", "boundary", "fab", "fmn", "hop_skip_jump", "nes", "one_pixel", "pgd", "random_fgsm", "simba", "square"),
    *("carlini_wagner", "spatial", "spatial_random"),
)
FEW = {"steps": 2, "queries": 2, "generations": 2, "samples": 2, "shifts": 1, "angles": 1}


@pytest.mark.parametrize("name", EMPTY)
def test_of_no_images_attacks_return_none(name, linear):
    run = getattr(attack, name)
    known = inspect.signature(run).parameters
    options = {option: value for option, value in FEW.items() if option in known}
    if "epsilon" in known and known["epsilon"].default is inspect.Parameter.empty:
        options["epsilon"] = 0.1
    key = (jax.random.key(0),) if "key" in known else ()
    x, y = jnp.zeros((0, 3, 3, 1)), jnp.zeros(0, jnp.int32)
    assert run(*key, linear.logits_fn, x, y, **options).shape == x.shape
