"""Batch normalization against its definition, Flax, PyTorch and figures worked out by hand."""

import functools

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")


def fresh(channels: int) -> F.BatchStats:
    return F.BatchStats(jnp.zeros(channels), jnp.ones(channels))


@functools.partial(jax.jit, static_argnames=("axis_name", "groups", "fast_variance"))
def train(x, **options):
    """Return the value and the statistics, with a scale, a bias and running statistics unlike the initial ones."""
    c = x.shape[-1]
    stats = F.BatchStats(draw(8, c), 1 + draw(9, c) ** 2)
    return F.batch_norm(x, 1 + draw(6, c) ** 2, draw(7, c), stats, train=True, **options)


def close(a, b, rtol=1e-5, atol=1e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def gradient(fn, x, cotangent):
    return jax.jit(lambda x, cotangent: jax.vjp(fn, x)[1](cotangent)[0])(x, cotangent)


def test_by_hand():
    x = jnp.array([[0.0], [4.0]])  # mean 2, variance 4
    y, stats = F.batch_norm(x, jnp.array([3.0]), jnp.array([5.0]), fresh(1), train=True, decay=0.9, eps=0.0)
    close(y, jnp.array([[2.0], [8.0]]))  # 5 -+ 3 * 2 / sqrt(4)
    close(stats, (jnp.array([0.2]), jnp.array([0.9 + 0.4])))  # the biased variance
    y, after = F.batch_norm(x, None, None, F.BatchStats(jnp.array([4.0]), jnp.array([16.0])), train=False, eps=0.0)
    close(y, jnp.array([[-1.0], [0.0]]))
    close(after, (jnp.array([4.0]), jnp.array([16.0])))


@given(st.sampled_from([(8, 3), (2, 3, 2), (3, 2, 4, 2), (2, 2, 2, 3, 2)]), st.floats(0, 1), st.floats(1e-6, 1.0))
def test_follows_the_definition(shape, decay, eps):
    x = 2 + 3 * draw(0, *shape)
    y, stats = train(x, decay=decay, eps=eps)
    wide, axes = np.asarray(x, np.float64), tuple(range(len(shape) - 1))
    c = shape[-1]
    mean, var = wide.mean(axis=axes), wide.var(axis=axes)
    close(y, (wide - mean) / np.sqrt(var + eps) * np.asarray(1 + draw(6, c) ** 2) + np.asarray(draw(7, c)), rtol=1e-4)
    close(stats.mean, decay * draw(8, c) + (1 - decay) * mean)
    close(stats.var, decay * (1 + draw(9, c) ** 2) + (1 - decay) * var)


def test_the_gradient_of_eps_follows_the_definition():
    x = draw(0, 6, 2)

    def plain(eps):
        return jnp.sum(((x - x.mean(0, keepdims=True)) / jnp.sqrt(x.var(0, keepdims=True) + eps)) ** 3)

    def ours(eps):
        return jnp.sum(F.batch_norm(x, None, None, fresh(2), train=True, eps=eps)[0] ** 3)

    close(jax.grad(ours)(0.1), jax.grad(plain)(0.1))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_agrees_with_flax(agree, training):
    layer = nn.BatchNorm(use_running_average=not training, momentum=0.7, epsilon=1e-3, use_fast_variance=False)
    stats = F.BatchStats(draw(1, 2), 1 + draw(2, 2) ** 2)

    def ours(x, scale, bias):
        return F.batch_norm(x, scale, bias, stats, train=training, decay=0.7, eps=1e-3)[0]

    def flax(x, scale, bias):
        variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": stats._asdict()}
        return layer.apply(variables, x, mutable=["batch_stats"])

    x, scale, bias = draw(3, 3, 4, 5, 2), draw(4, 2), draw(5, 2)
    agree(ours, lambda *args: flax(*args)[0], x, scale, bias)
    after = F.batch_norm(x, scale, bias, stats, train=training, decay=0.7)[1]
    close(after._asdict(), flax(x, scale, bias)[1]["batch_stats"])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_agrees_with_torch(agree_with_torch, training):
    import torch

    mean, var = draw(1, 2), 1 + draw(2, 2) ** 2
    running = [torch.tensor(np.asarray(v)) for v in (mean, var)]
    x = draw(3, 3, 4, 5, 2)
    agree_with_torch(
        lambda x, scale, bias: F.batch_norm(x, scale, bias, F.BatchStats(mean, var), train=training, decay=0.7)[0],
        lambda x, scale, bias: torch.nn.functional.batch_norm(
            x, *running, scale, bias, training=training, momentum=0.3, eps=1e-5
        ),
        x,
        draw(4, 2),
        draw(5, 2),
        axes=("images", "as is", "as is"),
        output="images",
    )
    # PyTorch keeps the unbiased variance: n / (n - 1) times the batch's.
    n = 3 * 4 * 5
    ours = F.batch_norm(x, None, None, F.BatchStats(mean, var), train=training, decay=0.7)[1]
    unbiased = (ours.var - 0.7 * var) * n / (n - 1) + 0.7 * var if training else var
    close((ours.mean, unbiased), tuple(v.numpy() for v in running))


def test_running_statistics_follow_their_recurrence():
    x, stats = draw(0, 6, 2), fresh(2)
    for _ in range(4):
        _, stats = F.batch_norm(x, None, None, stats, train=True, decay=0.5)
    close(stats.mean, (1 - 0.5**4) * x.mean(axis=0))
    close(stats.var, 0.5**4 + (1 - 0.5**4) * x.var(axis=0))


def test_decay_zero_forgets_and_decay_one_keeps():
    x = draw(0, 6, 2)
    close(train(x, decay=0)[1], (x.mean(axis=0), x.var(axis=0)))
    close(train(x, decay=1)[1], (draw(8, 2), 1 + draw(9, 2) ** 2))


def test_eval_returns_the_very_statistics_it_was_given():
    stats = F.BatchStats(draw(1, 2), 1 + draw(2, 2) ** 2)
    _, after = F.batch_norm(draw(0, 3, 2), None, None, stats, train=False)
    assert all((a == b).all() for a, b in zip(after, stats, strict=True))


@pytest.mark.parametrize("names", ["a", ("a", "b")], ids=str)
def test_axis_name_under_vmap_equals_the_whole_batch(names):
    x, cotangent = draw(0, 2, 3, 4, 2), draw(1, 2, 3, 4, 2)

    def lanes(x):
        run = functools.partial(train, axis_name=names)
        for name in reversed(names):
            run = jax.vmap(run, axis_name=name)
        return run(x)

    def whole(x):
        y, stats = train(x.reshape(24, 2))
        shape = (*x.shape[: len(names)], 2)
        return y.reshape(x.shape), jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), stats)

    close(jax.jit(lanes)(x), jax.jit(whole)(x))
    ours, expected = (gradient(lambda x, fn=fn: fn(x)[0], x, cotangent) for fn in (lanes, whole))
    close(ours, expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_mask_equals_the_unmasked_subset(axes):
    x = draw(0, 4, 3, 2, 2)
    mask = np.random.default_rng(1).random(x.shape[:axes]) < 0.6
    hidden = jnp.where(mask.reshape(*mask.shape, *(1,) * (4 - axes)), x, 1e6)
    y, stats = train(hidden, mask=mask)
    expected, expected_stats = train(x[mask])
    close(y[mask], expected, rtol=1e-4)
    close(stats, expected_stats)


def test_gradient_with_a_mask_is_that_of_the_unmasked_subset():
    x, mask = draw(0, 5, 3, 2), np.array([True, False, True, True, False])
    cotangent = draw(1, *x.shape) * mask[:, None, None]
    ours = gradient(lambda x: train(x, mask=mask)[0], x, cotangent)
    subset = gradient(lambda x: train(x)[0], x[mask], cotangent[mask])
    close(ours[mask], subset, rtol=1e-4)
    close(ours[~mask], jnp.zeros((2, 3, 2)))


def test_a_batch_of_which_nothing_counts_moves_no_statistics():
    x, stats = draw(0, 4, 3, 2), F.BatchStats(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]))
    _, after = F.batch_norm(x, None, None, stats, train=True, mask=jnp.zeros(4, bool))
    for a, b in zip(after, stats, strict=True):
        np.testing.assert_array_equal(a, b)
    lanes = jax.vmap(
        lambda x, m: F.batch_norm(x, None, None, stats, train=True, mask=m, axis_name="lanes")[1], axis_name="lanes"
    )
    mask = jnp.array([[False, False], [True, True]])  # one lane counts: both move
    for a, b in zip(
        lanes(x.reshape(2, 2, 3, 2), mask), F.batch_norm(x[2:], None, None, stats, train=True)[1], strict=True
    ):
        np.testing.assert_allclose(a, jnp.broadcast_to(b, (2, 2)), rtol=1e-5)


def test_what_is_masked_and_not_finite_is_in_no_gradient():
    x, mask = draw(0, 4, 3, 2).at[3, 1].set(jnp.nan), np.array([True, True, True, False])
    scale = jnp.array([2.0, 3.0])

    def loss(x, scale, mask=None):
        y, _ = F.batch_norm(x, scale, None, F.BatchStats(jnp.zeros(2), jnp.ones(2)), train=True, mask=mask)
        return jnp.sum(y[:3] ** 3)

    ours, subset = jax.grad(loss, (0, 1))(x, scale, mask), jax.grad(loss, (0, 1))(x[:3], scale)
    close(ours[0][:3], subset[0], rtol=1e-4)
    close(ours[1], subset[1], rtol=1e-4)
    close(ours[0][3], jnp.zeros((3, 2)))


def test_a_mask_of_weights_is_refused():
    with pytest.raises(TypeError, match=r"batch_norm: expected a mask of bools, got float32\. Compare first"):
        train(draw(0, 4, 2), mask=jnp.ones(4))


def test_mask_and_axis_name_weigh_every_example_alike():
    x = draw(0, 2, 4, 3)
    mask = jnp.array([[True, False, False, False], [True, True, True, False]])
    lanes = jax.vmap(lambda x, m: train(x, mask=m, axis_name="lanes"), axis_name="lanes")
    y, stats = jax.jit(lanes)(x, mask)
    expected, expected_stats = train(x[mask])
    close(y[mask], expected)
    close(jax.tree.map(lambda leaf: leaf[0], stats), expected_stats)


def test_variance_is_exact_and_never_negative_far_from_zero():
    # E[x^2] - E[x]^2 in float32 would be off by several at mean 1e4.
    x = jnp.asarray(np.random.default_rng(0).normal(1e4, 0.1, (64, 3)), jnp.float32)
    y, stats = F.batch_norm(x, None, None, fresh(3), train=True, decay=0.0)
    close(stats.var, np.asarray(x, np.float64).var(axis=0), rtol=1e-2, atol=0)
    close(np.asarray(y).std(axis=0), np.ones(3), rtol=1e-2)
    constant, stats = F.batch_norm(jnp.full((64, 3), 1e4), None, None, fresh(3), train=True, decay=0.0)
    assert (stats.var >= 0).all()
    close(stats.var, np.zeros(3), atol=1e-6)
    assert np.isfinite(constant).all()


def test_half_precision_accumulates_in_float32():
    # 4096 numbers about 100: their sum exceeds float16, and bfloat16 would stop counting at 256 of them.
    x = np.random.default_rng(0).normal(100, 1, (4096, 2))
    for dtype in (jnp.bfloat16, jnp.float16):
        half = jnp.asarray(x, dtype)
        exact = np.asarray(half, np.float64)
        y, stats = F.batch_norm(half, None, None, fresh(2), train=True, decay=0.0)
        assert y.dtype == dtype
        assert {leaf.dtype for leaf in stats} == {jnp.dtype(jnp.float32)}
        close(stats.mean, exact.mean(axis=0), rtol=1e-5)
        close(stats.var, exact.var(axis=0), rtol=1e-3)
        close(y.astype(jnp.float32), (exact - exact.mean(axis=0)) / exact.std(axis=0), atol=0.02, rtol=0.02)


def test_statistics_keep_their_dtype_in_double_precision():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
        stats = F.BatchStats(jnp.zeros(2, jnp.float32), jnp.ones(2, jnp.float32))
        y, after = F.batch_norm(x, None, None, stats, train=True)
        assert y.dtype == jnp.float64
        assert {leaf.dtype for leaf in after} == {jnp.dtype(jnp.float32)}


# Groups of the batch


def test_groups_by_hand():
    x = jnp.array([[0.0], [4.0], [10.0], [12.0]])  # mean 2, variance 4; mean 11, variance 1
    y, stats = F.batch_norm(x, jnp.array([3.0]), None, fresh(1), train=True, eps=0.0, groups=2)
    close(y, jnp.array([[-3.0], [3.0], [-3.0], [3.0]]))
    close(stats, (jnp.array([0.65]), jnp.array([0.9 + 0.25])))  # decay 0.9 towards 6.5 and 2.5
    y, after = F.batch_norm(x[:3], None, None, stats, train=False, groups=2)  # nothing to divide in evaluation
    close((y, after), F.batch_norm(x[:3], None, None, stats, train=False))


def test_groups_may_be_an_array_that_is_no_tracer():
    x, two = draw(0, 4, 3), jnp.array(2)
    run = jax.jit(lambda x: F.batch_norm(x, None, None, fresh(3), train=True, groups=two)[0])
    close(run(x), F.batch_norm(x, None, None, fresh(3), train=True, groups=2)[0])


@pytest.mark.parametrize("fast", [False, True], ids=["two passes", "one pass"])
@pytest.mark.parametrize(("shape", "groups"), [((6, 3), 3), ((4, 3, 2, 2), 2), ((4, 2, 2), 4)])
def test_groups_are_batches_of_their_own(shape, groups, fast):
    x, cotangent = 2 + 3 * draw(0, *shape), draw(1, *shape)

    def one_by_one(x):
        parts = [train(part, decay=0.7) for part in jnp.split(x, groups)]
        means = (jnp.mean(jnp.stack(moments), axis=0) for moments in zip(*(stats for _, stats in parts), strict=True))
        return jnp.concatenate([y for y, _ in parts]), tuple(means)

    def together(x):
        return train(x, decay=0.7, groups=groups, fast_variance=fast)

    close(together(x), jax.jit(one_by_one)(x))
    ours, expected = (gradient(lambda x, fn=fn: fn(x)[0], x, cotangent) for fn in (together, one_by_one))
    close(ours, expected, atol=3e-5)


def test_groups_agree_with_torch(agree_with_torch):
    import torch

    def theirs(x, scale, bias):
        parts = [torch.nn.functional.batch_norm(part, None, None, scale, bias, training=True) for part in x.split(2)]
        return torch.cat(parts)

    agree_with_torch(
        lambda x, scale, bias: F.batch_norm(x, scale, bias, fresh(2), train=True, groups=3)[0],
        theirs,
        draw(3, 6, 4, 5, 2),
        draw(4, 2),
        draw(5, 2),
        axes=("images", "as is", "as is"),
        output="images",
    )


@pytest.mark.parametrize("fast", [False, True], ids=["two passes", "one pass"])
def test_groups_span_the_named_axes(fast):
    """The g-th groups of all lanes are one."""
    x = draw(0, 2, 4, 3, 2)  # two lanes of four examples
    lanes = jax.vmap(lambda x: train(x, axis_name="lanes", groups=2, fast_variance=fast), axis_name="lanes")
    y, stats = jax.jit(lanes)(x)
    gathered = x.reshape(2, 2, 2, 3, 2).swapaxes(0, 1).reshape(8, 3, 2)  # lane, group, example -> group, lane, example
    expected, expected_stats = train(gathered, groups=2)
    close(y, expected.reshape(2, 2, 2, 3, 2).swapaxes(0, 1).reshape(x.shape))
    close(jax.tree.map(lambda leaf: leaf[1], stats), expected_stats)


# The variance in one pass


def test_one_pass_agrees_with_two(agree):
    for shape in [(8, 4, 3, 2), (6, 2), (2,)]:
        x = 5 + draw(0, *shape)
        agree(lambda x: train(x, fast_variance=True)[0], lambda x: train(x)[0], x, atol=3e-5)
        close(train(x, fast_variance=True)[1], train(x)[1])


def test_one_pass_agrees_with_flax(agree):
    layer = nn.BatchNorm(use_running_average=False, epsilon=1e-3, use_fast_variance=True)

    def flax(x, scale, bias):
        variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": fresh(2)._asdict()}
        return layer.apply(variables, x, mutable=["batch_stats"])[0]

    agree(
        lambda *args: F.batch_norm(*args, fresh(2), train=True, eps=1e-3, fast_variance=True)[0],
        flax,
        draw(3, 3, 4, 5, 2),
        draw(4, 2),
        draw(5, 2),
    )


def test_one_pass_has_the_second_derivative_too():
    x, direction = draw(0, 5, 2), draw(1, 5, 2)

    def curvature(fast):
        def loss(x):
            return jnp.sum(jnp.sin(train(x, fast_variance=fast)[0]))

        return jax.jit(lambda x: jax.jvp(jax.grad(loss), (x,), (direction,))[1])(x)

    close(curvature(True), curvature(False), rtol=1e-3, atol=1e-4)


def test_one_pass_is_another_computation_unless_there_is_a_mask():
    def computation(**options):
        return str(jax.make_jaxpr(functools.partial(F.batch_norm, train=True, **options))(X, None, None, STATS))

    assert computation(fast_variance=True) != computation()
    mask = np.array([True, True, False, True])
    assert computation(fast_variance=True, mask=mask) == computation(mask=mask)


def test_one_pass_under_vmap_equals_the_whole_batch():
    x, cotangent = 100 + draw(0, 2, 3, 4, 2), draw(1, 2, 3, 4, 2)
    lanes = jax.vmap(lambda lane: train(lane, axis_name="lanes", fast_variance=True), axis_name="lanes")
    y, stats = jax.jit(lanes)(x)
    whole, whole_stats = train(x.reshape(24, 2))
    close(y, whole.reshape(x.shape), rtol=1e-4, atol=1e-4)
    close(jax.tree.map(lambda leaf: leaf[1], stats), whole_stats)
    expected = gradient(lambda x: train(x.reshape(24, 2))[0].reshape(x.shape), x, cotangent)
    close(gradient(lambda x: lanes(x)[0], x, cotangent), expected, atol=1e-4)


def relative_error(x, fast):
    """Return that of the batch's variance against float64, per channel, and the exact mean and variance."""
    stats = F.BatchStats(jnp.zeros(x.shape[-1]), jnp.ones(x.shape[-1]))
    ours = np.asarray(moments(x, stats, fast_variance=fast).var, np.float64)
    assert (ours >= 0).all()
    axes = tuple(range(x.ndim - 1))
    mean, var = (getattr(x.astype(np.float64), name)(axis=axes) for name in ("mean", "var"))
    return np.abs(ours - var) / np.where(var > 0, var, 1), mean, var


@functools.partial(jax.jit, static_argnames="fast_variance")
def moments(x, stats, fast_variance):
    return F.batch_norm(x, None, None, stats, train=True, decay=0.0, fast_variance=fast_variance)[1]


channels = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-3, 4)), min_size=3, max_size=3)


@pytest.mark.parametrize("shape", [(64, 3), (16, 6, 5, 3)], ids=str)
@hypothesis.settings(max_examples=40)
@given(channels, st.integers(0, 99))
def test_variance_of_channels_far_from_zero(shape, channels, seed):
    """Where the deviation is at least 1e-3 of the mean: means to 1e4, deviations from 1e-3 to 1e4."""
    means, deviations = (
        np.array(v) for v in zip(*((m, max(10.0**d, 2e-3 * abs(m))) for m, d in channels), strict=True)
    )
    x = np.random.default_rng(seed).normal(means, deviations, shape).astype(np.float32)
    exact, mean, var = relative_error(x, fast=False)
    assert (np.sqrt(var) >= 1e-3 * np.abs(mean)).all()
    assert (exact < 1e-4).all()
    assert (relative_error(x, fast=True)[0] < 1e-6 * shape[0]).all()


@hypothesis.settings(max_examples=60)
@given(arrays.arrays(np.float32, (8, 2, 2), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)))
def test_variance_of_anything(x):
    """The exact form wherever the deviation is at least 1e-3 of the mean, the fast one wherever float32 has squares."""
    x = np.where(np.abs(x) < 1e-12, 0, x)
    error, mean, var = relative_error(x, fast=False)
    assert (error < 1e-3)[np.sqrt(var) >= 1e-3 * np.abs(mean)].all()
    error, _, var = relative_error(x, fast=True)
    assert (error < 1e-6 * 8)[var > 1e-24].all()


@pytest.fixture
def full_compilation(quick_compilation):
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.mark.usefixtures("full_compilation")
def test_one_pass_is_never_negative_for_constant_channels():
    """The mean of equal numbers is often off by a rounding, and so is then the difference of the moments."""
    values = np.random.default_rng(0).normal(0, 1e4, 500).astype(np.float32)
    x = np.broadcast_to(values, (5, 6, 500))
    one_pass = functools.partial(F.batch_norm, train=True, decay=0.0, fast_variance=True)
    var = np.asarray(jax.jit(lambda x: one_pass(x, None, None, fresh(500))[1].var)(x))
    assert (var >= 0).all()
    close(var, np.zeros(500), atol=1e-5)


@pytest.mark.parametrize("outlier", ["first pixel", "first example", "last example"])
def test_one_pass_with_an_outlier_at_the_worst_place(outlier):
    x = np.random.default_rng(0).normal(1e4, 10, (128, 8, 8, 4))
    x[{"first pixel": (0, 0, 0), "first example": 0, "last example": -1}[outlier]] += 3000
    error, _, _ = relative_error(x.astype(np.float32), fast=True)
    assert (error < 1e-6 * 128).all()
    if outlier != "first example":
        assert (error < 3e-6).all()


@pytest.mark.parametrize("fast", [False, True], ids=["two passes", "one pass"])
def test_constant_channels_have_finite_gradients(fast):
    for value in (0.0, 0.1, 1e4):
        x = jnp.full((7, 3, 2), value)
        y, dx = (
            train(x, fast_variance=fast)[0],
            gradient(lambda x: train(x, fast_variance=fast)[0], x, draw(0, 7, 3, 2)),
        )
        assert np.isfinite(y).all()
        assert np.isfinite(dx).all()


def test_the_layer_passes_groups_and_one_pass_on():
    key, x = jax.random.key(0), draw(0, 6, 3, 2)
    layer = BatchNorm(groups=3, fast_variance=True)
    params, state = layer.init(key, x)

    def options(**changes):
        arguments = {"train": True, "groups": 3, "fast_variance": True} | changes
        return str(jax.make_jaxpr(lambda x: F.batch_norm(x, params["scale"], params["bias"], state, **arguments))(x))

    ours = str(jax.make_jaxpr(lambda x: layer.apply(params, state, x, train=True))(x))
    assert ours == options()
    assert ours not in (options(groups=1), options(fast_variance=False))
    assert len({BatchNorm(), BatchNorm(groups=2), BatchNorm(fast_variance=True)}) == 3
    assert repr(layer) == "BatchNorm(groups=3, fast_variance=True)"
    for groups in (0, 2.0, True):
        with pytest.raises(ValueError, match=r"^BatchNorm: expected groups as a positive int, got .*\. Pass groups=8"):
            BatchNorm(groups=groups)


def test_leading_axes_are_one_batch():
    x = draw(0, 2, 3, 4, 5, 2)
    y, stats = train(x)
    flat, flat_stats = train(x.reshape(120, 2))
    close(y, flat.reshape(x.shape))
    close(stats, flat_stats)


X, STATS = np.zeros((4, 3, 2), np.float32), F.BatchStats(np.zeros(2, np.float32), np.ones(2, np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[0, 0, 0]}, r"x of shape \(\.\.\., C\), got \(\)\. Add a channel axis, last\."),
        ({"x": X[..., :1]}, r"stats\.mean of shape \(1,\), got \(2,\)\. Pass stats\.mean with that shape\."),
        ({"scale": np.ones(3)}, r"scale of shape \(2,\), got \(3,\)\. "),
        ({"bias": np.ones((2, 1))}, r"bias of shape \(2,\), got \(2, 1\)\. "),
        ({"decay": 1.5}, r"decay in \[0, 1\], got 1\.5\. PyTorch's momentum is 1 - decay\."),
        ({"decay": np.float32(-1)}, r"decay in \[0, 1\], got -1\.0\. "),
        ({"x": X[:0]}, r"at least one example, got x of shape \(0, 3, 2\)\. Skip empty batches\."),
        (
            {"groups": 3},
            r"a first axis that groups=3 divide, got x of shape \(4, 3, 2\)\. Choose a divisor of the batch's",
        ),
        ({"x": X[0, 0], "groups": 2}, r"a first axis that groups=2 divide, got x of shape \(2,\)\. "),
        ({"groups": 0}, r"groups as a positive int, got 0\. Pass groups=8"),
        ({"groups": 2.0}, r"groups as a positive int, got 2\.0\. "),
        ({"groups": True}, r"groups as a positive int, got True\. "),
        ({"groups": 2, "mask": np.ones(4, bool)}, r"no mask with groups, got a mask and groups=2\. Leave out one of"),
        ({"eps": -1e-5}, r"eps >= 0, got -1e-05\. "),
        ({"mask": np.ones(3, bool)}, r"a mask whose shape is the beginning of \(4, 3\), got \(3,\)\. Pass one bool"),
        ({"mask": np.ones((4, 3, 2), bool)}, r"a mask whose shape is the beginning of \(4, 3\), got \(4, 3, 2\)\. "),
    ],
)
def test_bad_values(changes, message):
    arguments = {"x": X, "scale": None, "bias": None, "stats": STATS, "train": True} | changes
    with pytest.raises(ValueError, match=f"^batch_norm: expected {message}"):
        F.batch_norm(**arguments)


def test_bad_types():
    with pytest.raises(TypeError, match=r"^batch_norm: expected x of a floating dtype, got uint8\. .*to_float"):
        F.batch_norm(X.astype(np.uint8), None, None, STATS, train=True)
    with pytest.raises(
        TypeError, match=r"^batch_norm: expected stats as a BatchStats\(mean, var\), got \(an array .*\. Start"
    ):
        F.batch_norm(X, None, None, tuple(STATS), train=True)
    with pytest.raises(TypeError, match="train"):
        F.batch_norm(X, None, None, STATS)
