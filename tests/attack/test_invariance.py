"""Shifts and rotations: nets whose answers to moved images are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.invariance import rotation_accuracy, shift_accuracy, shift_consistency

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
DOT = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4].set(1)
BAR = jnp.zeros((1, 9, 9, 1)).at[0, 1, 2:7].set(1)  # along the upper side


def reads(*places):
    """Return a net whose logits are the sums over places (row, column) of the image, one a class."""

    def logits_fn(x):
        return jnp.stack([sum(x[..., r, c, 0] for r, c in each) for each in places], -1)

    return logits_fn


def everywhere(x):
    return jnp.stack([x.sum((-3, -2, -1)), 0.5 + 0 * x[..., 0, 0, 0]], -1)


middle = reads([(4, 4)], [(0, 0), (0, 1)])
SIDES = reads(
    [(1, c) for c in range(2, 7)], [(r, 1) for r in range(2, 7)], [(7, c) for c in range(2, 7)],
    [(r, 7) for r in range(2, 7)],
)  # fmt: skip


@pytest.mark.slow
def test_shifts_by_hand():
    # Where the middle is black both logits are 0, and the first class is it: so ask for the second.
    below = reads([(4, 4), (5, 4)], [(0, 0), (3, 4), (4, 5)])
    close(shift_accuracy(middle, DOT, 0, distances=[0]), [1])
    # Down stays in class 0, up and to the right go to 1, to the left everything is 0.
    close(shift_accuracy(below, DOT, 0, distances=[0, 1]), [1, 0.5])
    close(shift_accuracy(below, DOT, 1, distances=[0, 1]), [0, 0.5])
    # Off the image after 5 pixels.
    close(shift_accuracy(everywhere, DOT, 0, distances=range(7)), [1, 1, 1, 1, 1, 0, 0])
    close(shift_accuracy(everywhere, DOT, 0, distances=[5], padding_mode="reflect"), [1])
    bright = shift_accuracy(everywhere, jnp.zeros((2, 9, 9, 1)), 1, distances=[0, 1], fill=1.0)
    close(bright, [1, 0])


@pytest.mark.slow
def test_the_mean_is_over_images():
    x = jnp.concatenate([DOT, jnp.zeros_like(DOT), DOT, DOT])
    found = shift_accuracy(everywhere, x, jnp.array([0, 1, 1, 0]), distances=(0, 5))
    close(found, [0.75, 0.5])
    close(shift_accuracy(everywhere, x.reshape(2, 2, 9, 9, 1), jnp.array([[0, 1], [1, 0]]), distances=(0, 5)), found)
    close(shift_accuracy(everywhere, x[0], 0, distances=(0, 5)), [1, 0])


@pytest.mark.slow
def test_rotations_are_numpys():
    for turns, side in enumerate(("up", "left", "down", "right")):
        assert SIDES(jnp.asarray(np.rot90(BAR, turns, (1, 2)))).argmax() == turns, side
        close(rotation_accuracy(SIDES, BAR, turns, degrees=[0, 90, 180, 270]), np.arange(4) == turns)
    close(rotation_accuracy(SIDES, BAR, 3, degrees=[-90, 85, -95]), [1, 0, 1])
    few = rotation_accuracy(SIDES, BAR, 0)
    assert few.shape == (25,)
    assert few[12] == 1 and few[[0, -1]].max() == 0


@pytest.mark.slow
def test_consistency_by_hand():
    assert shift_consistency(everywhere, DOT) == 1
    # Sees even rows and columns alone: a dot in the middle is lost by any shift of one pixel, and back after two.
    even = lambda x: everywhere(x[..., ::2, ::2, :])  # noqa: E731
    assert shift_consistency(even, DOT) == 0
    assert shift_consistency(even, DOT, distance=2) == 1
    rows = lambda x: everywhere(x[..., ::2, :, :])  # noqa: E731
    assert shift_consistency(rows, DOT) == 0.5
    assert shift_consistency(rows, jnp.concatenate([DOT, 0 * DOT])) == 0.75
    assert shift_consistency(everywhere, jnp.ones((1, 1, 1, 1)) * 0.9, distance=1) == 1
    assert shift_consistency(everywhere, jnp.ones((1, 1, 1, 1)) * 0.9, padding_mode="constant") == 0


def test_one_trace_for_other_weights_and_moves():
    traces = []

    def fn(scale, x):
        traces.append(1)
        return scale * everywhere(x)

    for scale in (1.0, 2.0):
        for degrees in ([0, 10], [20, 30]):
            rotation_accuracy(jax.tree_util.Partial(fn, jnp.float32(scale)), DOT, 0, degrees=degrees)
            if len(traces) and scale == 1.0 and degrees == [0, 10]:
                first = len(traces)
    assert len(traces) == first


def test_lost_logits_are_wrong():
    nothing = lambda x: jnp.nan * everywhere(x)  # noqa: E731
    close(shift_accuracy(nothing, DOT, 0, distances=[0]), [0])
    assert shift_consistency(nothing, DOT) == 0


@pytest.mark.slow
def test_a_trained_net(digits):
    near = shift_accuracy(digits.logits_fn, digits.x, digits.y, distances=range(4))
    assert near[0] == np.mean(digits.logits_fn(digits.x).argmax(-1) == digits.y)
    assert near[0] > near[1] > near[3]
    turned = rotation_accuracy(digits.logits_fn, digits.x, digits.y, degrees=[0, 10, 90], chunk=2)
    assert turned[0] == near[0] > turned[2] + 0.3
    assert shift_consistency(digits.logits_fn, digits.x) < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shift_accuracy(middle, DOT, 0, distances=[0.5]), r"^shift_accuracy: expected distances in whole pi"),
        (lambda: shift_accuracy(middle, DOT, 0, distances=[]), r"^shift_accuracy: expected distances in whole pixels"),
        (lambda: shift_accuracy(middle, DOT, 2), r"^shift_accuracy: expected y in 0\.\.1, got 2\."),
        (lambda: shift_accuracy(middle, 2 * DOT, 0), r"^shift_accuracy: expected images within bounds"),
        (lambda: shift_accuracy(middle, DOT, 0, padding_mode="wrap"), r"^shift_accuracy: expected padding_mode to be"),
        (
            lambda: rotation_accuracy(middle, DOT, 0, degrees=[np.inf]),
            r"^rotation_accuracy: expected degrees as finite",
        ),
        (lambda: rotation_accuracy(middle, DOT, 0, fill=2.0), r"^rotation_accuracy: expected fill in \[0, 1\], got 2"),
        (
            lambda: shift_consistency(middle, DOT, distance=0),
            r"^shift_consistency: expected distance as a positive int",
        ),
        (
            lambda: shift_consistency(lambda x: x @ jnp.ones((5, 2)), jnp.ones((3, 5))),
            r"^shift_consistency: expected x of shape \(\.\.\., H, W, C\), a row of logits .*, got \(3, 5\)",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_images_have_no_accuracy():
    for measure in (shift_accuracy, rotation_accuracy):
        with pytest.raises(ValueError, match=rf"^{measure.__name__}: expected at least one image, got shape \(0, 9"):
            measure(middle, DOT[:0], 0)


def test_accuracies_are_float32():
    assert shift_accuracy(middle, DOT, 0, distances=[0]).dtype == np.float32
    assert rotation_accuracy(middle, DOT, 0, degrees=[0]).dtype == np.float32
