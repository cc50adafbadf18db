"""The one-pixel attack: the best pixel of a linear net, how many change, and its strength beside torchattacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.goal import Goal, reached
from jaxcnn.attack.one_pixel import _painted, _valid, one_pixel
from tests.attack.twins import digits_twin, peer
from tests.small_nets import CASES
from tests.torch_twins import tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)
close = np.testing.assert_allclose


def test_finds_the_best_pixel_of_a_linear_net(linear):
    far = lambda x: linear.logits_fn(x) + 50 * jax.nn.one_hot(linear.y, 4)  # noqa: E731
    found = one_pixel(KEY, far, linear.x, linear.y, population=60, generations=40, loss="margin")
    goal = Goal(linear.y)
    value = lambda x: attack.objective.negative_margin(far(x), goal)  # noqa: E731
    every = jnp.stack(
        [linear.x.reshape(6, 9).at[:, p].set(c).reshape(linear.x.shape) for p in range(9) for c in (0, 1)]
    )
    best = jax.vmap(value)(every).max(0)
    close(value(found), best, rtol=1e-4)
    np.testing.assert_array_equal(attack.judge(far, linear.x, found, linear.y).l0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [1, 3])
def test_changes_no_more_pixels_and_stays_within_bounds(pixels, images):
    case = CASES["plain"]
    y = case.logits_fn(images).argmax(-1)
    found = one_pixel(KEY, case.logits_fn, images, y, pixels=pixels, population=12, generations=4)
    changed = (found != images).any(-1).sum((1, 2))
    assert (changed <= pixels).all()
    assert (changed > 0).any()
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.slow
def test_fools_the_net_and_says_what_it_cost(digits):
    logits_fn, x, y = digits
    options = {"population": 50, "generations": 6, "return_queries": True}
    found, queries = one_pixel(KEY, logits_fn, x, y, pixels=3, **options)
    judged = attack.judge(logits_fn, x, found, y)
    before = np.asarray(reached(logits_fn(x), Goal(y)))
    assert 0 < judged.robust_accuracy < 0.8
    np.testing.assert_array_equal(found[before], x[before])
    np.testing.assert_array_equal(queries == 1, before)
    np.testing.assert_array_equal(queries[~judged.success], 1 + 7 * 50)
    assert ((queries - 1) % 50 == 0).all()
    assert len(np.unique(queries)) > 3
    again, _ = one_pixel(KEY, logits_fn, x, y, pixels=3, **options)
    np.testing.assert_array_equal(found, again)
    chunked, _ = one_pixel(KEY, logits_fn, x, y, pixels=3, **options, chunk=7)
    close(chunked, found, atol=1e-6)
    one = one_pixel(KEY, logits_fn, x, y, population=50, generations=6)
    assert attack.judge(logits_fn, x, one, y).success.sum() < judged.success.sum()


@pytest.mark.slow
def test_generations_help(digits):
    logits_fn, x, y = digits
    value = lambda images: attack.objective.negative_margin(logits_fn(images), Goal(y))  # noqa: E731
    first, last = (one_pixel(KEY, logits_fn, x, y, population=30, generations=n) for n in (1, 20))
    assert value(last).mean() > value(first).mean()


@pytest.mark.slow
def test_targets_single_images_and_jit(digits, linear):
    logits_fn, x, y = digits
    target = (y + 1) % 10
    options = {"pixels": 5, "population": 50, "generations": 15}
    found = one_pixel(KEY, logits_fn, x, y, target=target, **options)
    judged = attack.judge(logits_fn, x, found, y, target=target)
    assert judged.success.any()
    np.testing.assert_array_equal(judged.success, judged.prediction == np.asarray(target))
    logits_fn, x, y = linear
    traces = []

    def counted(x):
        traces.append(1)
        return logits_fn(x)

    options = {"population": 10, "generations": 3}
    one = one_pixel(KEY, counted, x[0], y[0], **options)
    count = len(traces)
    assert one.shape == x[0].shape
    one_pixel(jax.random.key(1), counted, x[1], y[1], mutation=0.8, **options)
    assert len(traces) == count
    inside = jax.jit(lambda key, x: one_pixel(key, logits_fn, x, y[0], **options))(KEY, x[0])
    close(inside, one, atol=1e-6)


@pytest.mark.slow
def test_members_are_painted():
    x = jnp.zeros((2, 3, 4, 2))
    member = jnp.asarray([[[1.5, 2.2, 0.5, 0.6], [0.1, 3.9, 0.7, 0.8]], [[2.9, 0.0, 0.1, 0.2], [2.0, 0.9, 0.3, 0.4]]])
    expected = x.at[0, 1, 2].set([0.5, 0.6]).at[0, 0, 3].set([0.7, 0.8]).at[1, 2, 0].set([0.3, 0.4])
    close(_painted(x, member), expected)
    close(_painted(x[0], member[0]), expected[0])
    outside = jnp.asarray([[-0.5, 4.25, -1.0, 2.0]])
    close(_valid(outside, x, (0.0, 1.0)), [[2.5, 0.25, 0, 1]])


def test_refuses(digits):
    logits_fn, x, y = digits
    with pytest.raises(ValueError, match=r"^one_pixel: expected population as an int >= 4, got 3\."):
        one_pixel(KEY, logits_fn, x, y, population=3)
    with pytest.raises(ValueError, match=r"^one_pixel: expected pixels of at most 64, got 65\."):
        one_pixel(KEY, logits_fn, x, y, pixels=65)
    with pytest.raises(ValueError, match=r"^one_pixel: expected mutation above 0, got 0\."):
        one_pixel(KEY, logits_fn, x, y, mutation=0)
    flat = lambda x: x @ jnp.ones((5, 3))  # noqa: E731
    with pytest.raises(ValueError, match=r"^one_pixel: expected x of shape \(\.\.\., H, W, C\).*got \(2, 5\)"):
        one_pixel(KEY, flat, jnp.ones((2, 5)), jnp.zeros(2, jnp.int32))


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [1, 3])
def test_is_as_strong_as_torchattacks_on_the_twin(pixels, digits):
    net, torchattacks = digits_twin(digits), peer("torchattacks")
    import torch

    logits_fn, x, y = digits
    labels = torch.tensor(np.asarray(y)).long()
    np.random.seed(0)  # noqa: NPY002  # theirs draws from it
    fooled = torchattacks.OnePixel(net, pixels=pixels, steps=10, popsize=60)(tensor(x), labels)
    theirs = float((net(fooled).argmax(1) == labels).float().mean())
    # A population of 60 and 10 generations, the first not among them, for both.
    found = one_pixel(KEY, logits_fn, x, y, pixels=pixels, population=60, generations=10)
    assert attack.judge(logits_fn, x, found, y).robust_accuracy <= theirs + 1 / 32
