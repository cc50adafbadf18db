"""Batch normalization against its definition, Flax, PyTorch and figures worked out by hand."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import functional as F

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def fresh(channels: int) -> F.BatchStats:
    return F.BatchStats(jnp.zeros(channels), jnp.ones(channels))


@functools.partial(jax.jit, static_argnames="axis_name")
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


def test_axis_name_under_vmap_equals_the_whole_batch():
    x, cotangent = draw(0, 2, 3, 4, 2), draw(1, 2, 3, 4, 2)

    def lanes(x):
        return jax.vmap(lambda lane: train(lane, axis_name="lanes"), axis_name="lanes")(x)

    def whole(x):
        y, stats = train(x.reshape(24, 2))
        return y.reshape(x.shape), jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), stats)

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
    with pytest.raises(TypeError, match=r"^batch_norm: expected stats as a BatchStats\(mean, var\), got tuple\. Start"):
        F.batch_norm(X, None, None, tuple(STATS), train=True)
    with pytest.raises(TypeError, match="train"):
        F.batch_norm(X, None, None, STATS)
