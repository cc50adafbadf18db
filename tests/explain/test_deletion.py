"""Deletion and insertion: closed forms of linear models, the order of pixels, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import trust
from jaxcnn.explain.baseline import blurred
from jaxcnn.explain.trust.pixels import rank_of_pixels
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
# Of each pixel of a 2x2 image what it adds to the first logit; the second is 0.
SHARES = jnp.array([[1.0, 4.0], [3.0, 2.0]])
X = jnp.stack([0.25 * jnp.ones((2, 2)), 0.75 * jnp.ones((2, 2))], axis=-1)


def linear(x):
    first = (x * SHARES[..., None]).sum((-3, -2, -1))
    return jnp.stack([first, jnp.zeros_like(first)], axis=-1)


def test_deletion_of_a_linear_model():
    found = trust.deletion(linear, X, X * SHARES[..., None], 0, steps=4, score="score")
    close(found.fraction, [0, 0.25, 0.5, 0.75, 1])
    close(found.value, [10, 6, 3, 1, 0], atol=1e-6)
    close(found.area, 0.25 * (8 + 4.5 + 2 + 0.5), rtol=1e-6)
    close(trust.deletion(linear, X, SHARES, 1, steps=4, score="score").value, 0)
    likely = trust.deletion(linear, X, SHARES, 0, steps=4)
    close(likely.value, 1 / (1 + np.exp(-np.array([10, 6, 3, 1, 0.0]))), rtol=1e-5)


def test_insertion_of_a_linear_model():
    found = trust.insertion(linear, X, SHARES, 0, steps=4, baseline=0.0, score="score")
    close(found.value, [0, 4, 7, 9, 10], atol=1e-6)
    close(found.area, 0.25 * (2 + 5.5 + 8 + 9.5), rtol=1e-6)


def test_baselines():
    other = jnp.array([0.5, 1.0])  # of each channel: a pixel of share s then gives 1.5 s
    found = trust.deletion(linear, X, SHARES, 0, steps=2, baseline=other, score="score")
    close(found.value, [10, 3 + 1.5 * 7, 15], rtol=1e-6)
    found = trust.deletion(linear, X, SHARES, 0, steps=2, baseline=0.5, score="score")
    close(found.value[-1], 10, rtol=1e-6)
    image = jax.random.uniform(jax.random.key(0), (16, 12, 3))
    close(blurred(jnp.ones((5, 7, 2))), 1, rtol=1e-6)
    assert blurred(image).std() < 0.2 * image.std()
    # By hand, along one axis: side 8, so a deviation of 1 pixel.
    point = jnp.zeros((8, 1, 1)).at[3].set(1.0)
    weights = np.exp(-((np.arange(8)[:, None] - np.arange(8)) ** 2) / 2)
    close(blurred(point)[:, 0, 0], (weights / weights.sum(1, keepdims=True))[:, 3], rtol=1e-5)


def test_parts_are_as_equal_as_they_can_be():
    found = trust.deletion(linear, X, SHARES, 0, steps=3, score="score")
    close(found.fraction, [0, 0.25, 0.5, 1])
    close(found.value, [10, 6, 3, 0], atol=1e-6)
    close(found.area, 0.25 * 8 + 0.25 * 4.5 + 0.5 * 1.5, rtol=1e-6)


def test_equal_pixels_go_in_reading_order():
    assert rank_of_pixels(jnp.zeros((2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert rank_of_pixels(jnp.array([[0.0, 2.0], [-0.0, 2.0]])).tolist() == [[2, 0], [3, 1]]
    found = trust.deletion(linear, X, jnp.zeros((2, 2)), 0, steps=4, score="score")
    close(found.value, [10, 9, 5, 2, 0], atol=1e-6)


def test_no_order_deletes_faster_than_the_true_shares():
    best = trust.deletion(linear, X, SHARES, 0, steps=4, score="score").area
    orders = jax.random.uniform(jax.random.key(1), (20, 2, 2))
    images = jnp.broadcast_to(X, (20, 2, 2, 2))
    assert (trust.deletion(linear, images, orders, 0, steps=4, score="score").area >= best - 1e-6).all()


@pytest.mark.slow
def test_ends_are_the_image_and_the_baseline(images, targets):
    case = CASES["plain"]
    maps = jax.random.normal(jax.random.key(2), images.shape)
    likely = lambda x: jax.nn.softmax(case.logits_fn(x))[np.arange(4), targets]  # noqa: E731
    gone = trust.deletion(case.logits_fn, images, maps, targets, steps=5, chunk=2)
    come = trust.insertion(case.logits_fn, images, maps, targets, steps=5)
    assert gone.value.shape == (4, 6)
    close(gone.value[:, 0], likely(images), rtol=1e-4)
    close(gone.value[:, -1], likely(jnp.zeros_like(images)), rtol=1e-4)
    close(come.value[:, 0], likely(blurred(images)), rtol=1e-4)
    close(come.value[:, -1], likely(images), rtol=1e-4)
    alone = trust.deletion(case.logits_fn, images[2], maps[2], targets[2], steps=5)
    close(alone.value, gone.value[2], rtol=1e-4)
    nested = trust.deletion(
        case.logits_fn, images.reshape(2, 2, *images.shape[1:]), maps.reshape(2, 2, *maps.shape[1:]),
        targets.reshape(2, 2), steps=5, chunk=4,
    )  # fmt: skip
    close(nested.area.ravel(), gone.area, rtol=1e-4)


def test_a_function_as_target_counts_as_it_is():
    found = trust.deletion(linear, X, SHARES, lambda y: 3 * y[..., 0], steps=4)
    close(found.value, [30, 18, 9, 3, 0], atol=1e-5)


def test_one_trace_for_other_maps_targets_and_weights():
    calls = []

    def run(weights, x):
        calls.append(None)
        return (x * weights).sum((-3, -2, -1))[..., None] * jnp.array([1.0, -1.0])

    for number in range(3):
        logits_fn = jax.tree_util.Partial(run, number * SHARES[..., None])
        trust.deletion(logits_fn, X, number * SHARES, number % 2, steps=4)
        if number == 0:
            first = len(calls)
    assert len(calls) == first


def test_inside_of_jit_and_vmap():
    images, targets = jnp.stack([X, 0.5 * X, X**2]), jnp.array([0, 1, 0])
    maps = images.sum(-1) * SHARES
    one = lambda x, m, t: trust.deletion(linear, x, m, t, steps=4).value  # noqa: E731
    plain = one(images, maps, targets)
    close(jax.jit(one)(images, maps, targets), plain, rtol=1e-4)
    close(jax.vmap(one)(images, maps, targets), plain, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 5}, r"^deletion: expected steps of at most 4, got 5\. "),
        ({"steps": 0}, r"^deletion: expected steps as a positive int, got 0\. "),
        ({"chunk": 0}, r"^deletion: expected chunk as a positive int, got 0\. "),
        ({"score": "logit"}, r"^deletion: expected score as one of \('probability', 'score'\), got 'logit'\. "),
        ({"baseline": "grey"}, r"^deletion: expected baseline as a number, an array that fits x, or \"blur\", got 'gr"),
        ({"baseline": np.zeros(3)}, r'^deletion: expected baseline as a number, an array that fits x, or "blur", got '),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        trust.deletion(linear, X, SHARES, 0, **{"steps": 2, **options})


def test_refuses_attributions():
    message = r"^insertion: expected an attribution of shape \(2, 2, 2\) or \(2, 2\), got \(1, 2\)\. Enlarge smaller"
    with pytest.raises(ValueError, match=message):
        trust.insertion(linear, X, SHARES[:1], 0, steps=2)
    with pytest.raises(ValueError, match=r"^deletion: expected finite values in attribution, got 1 that are not"):
        trust.deletion(linear, X, SHARES.at[0, 0].set(jnp.nan), 0, steps=2)
    with pytest.raises(TypeError, match=r"^deletion: expected attribution of a floating dtype, got int32"):
        trust.deletion(linear, X, SHARES.astype(int), 0, steps=2)
