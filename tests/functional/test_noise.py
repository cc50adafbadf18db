"""Dropout and its kin against their definitions, Flax and statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn.functional import noise
from jaxcnn.functional.noise import keep_mask

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
ones = jnp.ones((100, 100))
X = jnp.linspace(-2, 3, 240).reshape(2, 6, 5, 4)
ALL = {f.__name__: f for f in (F.dropout, F.spatial_dropout, F.drop_path, F.drop_block)}
every = pytest.mark.parametrize("name", ALL)
DRAWS = 1_000_000


# The mask


@pytest.mark.parametrize("keep", [0.001, 0.3, 0.5, 0.9])
def test_realised_probability(keep):
    kept, probability = keep_mask(key, jnp.float32(keep), (DRAWS,))
    assert abs(float(probability) - keep) <= 0.5 / 65536 + 1e-7
    assert float(probability) * 65536 == round(float(probability) * 65536)
    deviation = np.sqrt(keep * (1 - keep) / DRAWS)
    assert abs(float(kept.mean()) - float(probability)) < 5 * deviation


def test_the_rarest_events_are_drawn_as_often_as_they_should_be():
    # Of 2^20 draws about 16 are 0 and about 16 are 65535: a Poisson count of mean 16 lies in 2 .. 40.
    for keep in (1, 65535):
        kept, _ = keep_mask(key, jnp.float32(keep / 65536), (2**20,))
        rare = int(kept.sum() if keep == 1 else (~kept).sum())
        assert 2 <= rare <= 40


def test_probabilities_zero_and_one_are_exact():
    for keep in (0.0, 1.0):
        kept, probability = keep_mask(key, jnp.float32(keep), (DRAWS,))
        assert bool(kept.all() if keep else ~kept.any())
        assert float(probability) == keep


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 8, 100])
def test_draws_near_each_other_are_independent(impl, lag):
    # Four halves come of one threefry block, two of one word.
    kept = np.asarray(keep_mask(jax.random.key(1, impl=impl), jnp.float32(0.5), (DRAWS,))[0], np.float32) - 0.5
    for phase in range(4):
        first, second = kept[:-lag][phase::4], kept[lag:][phase::4]
        assert abs(4 * np.mean(first * second)) < 5 / np.sqrt(first.size)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (3,), (5, 1, 7), (4, 4)])
def test_any_shape_of_mask(shape):
    kept, _ = keep_mask(key, jnp.float32(0.5), shape)
    assert (kept.shape, kept.dtype) == (shape, jnp.bool_)
    longer, _ = keep_mask(key, jnp.float32(0.5), (40,))
    np.testing.assert_array_equal(kept.ravel(), longer[: kept.size])


def test_keys_and_their_splits_give_unrelated_masks():
    keys = [key, jax.random.key(1), *jax.random.split(key), jax.random.fold_in(key, 7)]
    masks = np.stack([keep_mask(k, jnp.float32(0.5), (DRAWS // 4,))[0] for k in keys]).astype(np.float32)
    assert np.abs(np.corrcoef(masks) - np.eye(5)).max() < 5 / np.sqrt(DRAWS / 4)


# Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_fraction_mean_and_scale(rate):
    y = np.asarray(F.dropout(key, ones, rate))
    # Five standard deviations of a Bernoulli mean of 10,000 draws.
    allowed = 5 * np.sqrt(rate * (1 - rate) / ones.size)
    assert abs(np.mean(y == 0) - rate) < allowed
    assert abs(y.mean() - 1) < allowed / (1 - rate)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=0.5 / 65536 / (1 - rate) + 1e-6)


def test_the_mean_is_kept_exactly():
    # At rates that are no multiples of 1/65536, the scale is one over what was realised.
    for rate in (0.1, 1 / 3, 0.999):
        _, probability = keep_mask(key, 1 - jnp.float32(rate), ())
        y = F.dropout(key, jnp.ones(100_000), rate)
        np.testing.assert_allclose(y.max() * probability, 1, rtol=1e-7)
        assert set(np.unique(y)) == {0.0, float(y.max())}
    x = jnp.arange(1.0, 257.0)
    half = F.dropout(key, x.astype(jnp.bfloat16), 0.1)
    np.testing.assert_array_equal(half, F.dropout(key, x, 0.1).astype(jnp.bfloat16))  # rounded once, after scaling


def test_entries_are_independent():
    dropped = np.asarray(F.dropout(key, jnp.ones((1000, 5, 2)), 0.5) == 0).reshape(1000, 10).astype(float)
    correlation = np.corrcoef(dropped.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(1000)


def test_rate_zero_is_the_identity_and_rate_one_is_zero():
    x = jnp.linspace(-2, 3, 20).reshape(4, 5)
    np.testing.assert_array_equal(F.dropout(key, x, 0), x)
    np.testing.assert_array_equal(F.dropout(key, x, 0.0), x)
    np.testing.assert_array_equal(F.dropout(key, x, 1), np.zeros((4, 5)))
    np.testing.assert_array_equal(F.dropout(key, x.at[0, 0].set(jnp.inf), 1.0), np.zeros((4, 5)))


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_gradient_is_the_mask_and_never_nan(rate):
    x = jnp.array([1.0, -2.0, 3e38, jnp.inf, 0.0, 5.0])
    y, pullback = jax.vjp(lambda x, rate: F.dropout(key, x, rate), x, rate)
    to_x, to_rate = pullback(jnp.ones(6))
    kept = F.dropout(key, jnp.ones(6), rate)
    np.testing.assert_allclose(to_x, kept, rtol=1e-6)
    finite = jax.grad(lambda rate: F.dropout(key, x[:2], rate).sum())(rate)
    assert np.isfinite(finite)
    assert not np.isnan(y).any()
    assert to_rate.shape == ()


def test_the_key_decides():
    first, again, other = (F.dropout(jax.random.key(seed), ones, 0.5) for seed in (1, 1, 2))
    assert (first == again).all()
    assert 0.4 < (first != other).mean() < 0.6
    raw = F.dropout(jax.random.PRNGKey(1), ones, 0.5)
    assert (raw == first).all()


def test_agrees_with_flax_but_for_the_draw():
    x = 1 + jax.random.uniform(key, (1000,))
    flax = np.asarray(nn.Dropout(0.25, deterministic=False).apply({}, x, rng=key))
    ours = np.asarray(F.dropout(key, x, 0.25))
    both = (flax != 0) & (ours != 0)
    assert both.any()
    np.testing.assert_allclose(ours[both], flax[both], rtol=1e-6)
    assert abs(np.mean(ours == 0) - np.mean(flax == 0)) < 5 * np.sqrt(2 * 0.25 * 0.75 / 1000)


# Whole maps, images and blocks


def masks(name, shape=(200, 6, 5, 8), rate=0.3, **options):
    """Return y for ones: zero where dropped, the scale elsewhere."""
    return np.asarray(jax.jit(lambda x: ALL[name](key, x, rate, **options))(jnp.ones(shape)))


def test_spatial_dropout_drops_whole_maps():
    y = masks("spatial_dropout")
    assert (y == y[:, :1, :1]).all()
    dropped = y[:, 0, 0] == 0
    assert abs(dropped.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / dropped.size)
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-4)
    # Every map has a draw of its own.
    assert np.abs(np.corrcoef(dropped.T.astype(float)) - np.eye(8)).max() < 5 / np.sqrt(200)


def test_drop_path_drops_whole_images():
    y = masks("drop_path", (2000, 2, 3, 4))
    assert (y == y[:, :1, :1, :1]).all()
    dropped = y[:, 0, 0, 0] == 0
    assert abs(dropped.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 2000)
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-4)


@pytest.mark.parametrize("name", ["spatial_dropout", "drop_path"])
def test_all_leading_axes_are_images(name):
    x = jnp.ones((6, 5, 2, 2, 3))
    y = ALL[name](key, x, 0.5)
    flat = ALL[name](key, x.reshape(30, 2, 2, 3), 0.5)
    np.testing.assert_array_equal(y.reshape(flat.shape), flat)
    assert set(np.unique(ALL[name](key, x[0, 0], 0.5))) <= {0.0, 2.0}


@pytest.mark.parametrize("shared", [False, True])
def test_drop_block_drops_blocks(shared):
    block = (3, 2)
    dropped = masks("drop_block", (50, 9, 8, 4), 0.2, block_size=block, shared=shared) == 0
    assert (dropped == dropped[..., :1]).all() == shared
    # Every dropped pixel lies in a block that is dropped and wholly in the image.
    corners = np.lib.stride_tricks.sliding_window_view(dropped, block, axis=(1, 2)).all(axis=(-2, -1))
    again = np.zeros_like(dropped)
    for u, v in np.ndindex(block):
        again[:, u : u + corners.shape[1], v : v + corners.shape[2]] |= corners
    np.testing.assert_array_equal(again, dropped)


def test_drop_block_seeds_as_equation_1_says():
    height, width, (bh, bw), rate = 12, 10, (4, 3), 0.05
    dropped = masks("drop_block", (2000, height, width, 8), rate, block_size=(bh, bw)) == 0
    gamma = rate / (bh * bw) * height * width / ((height - bh + 1) * (width - bw + 1))
    # The corner is in one block alone; a pixel in the middle in bh bw of them, drawn independently.
    draws = 2000 * 8
    for pixel, blocks in (((0, 0), 1), ((11, 9), 1), ((0, 1), 2), ((6, 5), bh * bw)):
        expected = 1 - (1 - gamma) ** blocks
        found = dropped[:, pixel[0], pixel[1]].mean()
        assert abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / draws), pixel


def test_drop_block_keeps_the_sum_of_each_image():
    y = masks("drop_block", (20, 9, 9, 4), 0.3, block_size=3)
    kept = (y != 0).mean(axis=(1, 2, 3))
    assert len(np.unique(kept)) > 1
    np.testing.assert_allclose(y.mean(axis=(1, 2, 3)), 1, rtol=1e-5)
    np.testing.assert_allclose(y.max(axis=(1, 2, 3)), 1 / kept, rtol=1e-5)


def test_a_block_as_large_as_the_image_drops_the_map():
    y = masks("drop_block", (500, 3, 2, 8), 0.3, block_size=7)
    np.testing.assert_array_equal(y, masks("drop_block", (500, 3, 2, 8), 0.3, block_size=(3, 2)))
    assert ((y == 0) == (y[:, :1, :1] == 0)).all()
    dropped = (y[:, 0, 0] == 0).mean()
    assert abs(dropped - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)
    assert (masks("drop_block", (2, 3, 2, 8), 1.0) == 0).all()


def test_a_block_of_one_pixel_is_dropout():
    np.testing.assert_array_equal(masks("drop_block", rate=0.3, block_size=1) == 0, masks("dropout", rate=0.3) == 0)


# What all of them keep


@every
def test_rate_zero_is_the_identity(name):
    for rate in (0, 0.0, jnp.float32(0)):
        np.testing.assert_array_equal(ALL[name](key, X, rate), X)


@pytest.mark.parametrize("name", ["spatial_dropout", "drop_path"])
def test_rate_one_is_zero(name):
    np.testing.assert_array_equal(ALL[name](key, X.at[0].set(jnp.inf), 1), jnp.zeros_like(X))
    assert (jax.grad(lambda x: ALL[name](key, x, 1.0).sum())(X) == 0).all()


@every
def test_a_traced_rate_draws_the_same(name):
    traces = []

    @jax.jit
    def traced(key, x, rate):
        traces.append(None)
        return ALL[name](key, x, rate)

    for rate in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(traced(key, X, rate), ALL[name](key, X, rate), rtol=1e-6)
    assert len(traces) == 1


@every
def test_the_same_key_draws_the_same_and_vmap_is_a_loop(name):
    keys = jax.random.split(key, 3)
    x = jnp.stack([X, X + 1, -X])
    mapped = jax.vmap(ALL[name], (0, 0, None))(keys, x, 0.4)
    for lane in range(3):
        np.testing.assert_array_equal(mapped[lane], ALL[name](keys[lane], x[lane], 0.4))
    assert not (mapped[0] == mapped[1]).all()
    np.testing.assert_array_equal(ALL[name](jax.random.PRNGKey(1), X, 0.4), ALL[name](jax.random.key(1), X, 0.4))


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_keeps_shape_and_dtype(name, dtype):
    y = jax.eval_shape(ALL[name], key, jax.ShapeDtypeStruct((2, 3, 4, 5), dtype), 0.5)
    assert (y.shape, y.dtype) == ((2, 3, 4, 5), dtype)


def test_in_float64():
    with jax.enable_x64(True):
        x = jnp.linspace(1, 2, 1000)
        y = F.dropout(key, x, 0.1)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y[y != 0], x[y != 0] / (round(0.9 * 65536) / 65536), rtol=1e-15)


@every
@pytest.mark.parametrize("rate", [-0.1, 1.5, 2, float("nan"), np.float32(1.5), jnp.float32(1.5)])
def test_bad_rates(name, rate):
    with pytest.raises(ValueError, match=rf"^{name}: expected a rate in \[0, 1\], got .*\. The rate is the fraction"):
        ALL[name](key, X, rate)


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_traced_rate_out_of_range_gives_nan(name, dtype):
    x = X.astype(dtype)
    drop = jax.jit(lambda rate: ALL[name](key, x, rate))
    for rate in (-0.001, -3.0, 1.001, 2.0, np.nan, np.inf):
        assert jnp.isnan(drop(rate)).all()
    for rate in (0.0, 0.3, 1.0):
        np.testing.assert_array_equal(drop(rate), ALL[name](key, x, rate))
    lanes = jax.vmap(drop)(jnp.array([0.3, 1.5]))
    np.testing.assert_array_equal(lanes[0], drop(0.3))
    assert jnp.isnan(lanes[1]).all()


@every
def test_nan_does_not_depend_on_the_mask(name, monkeypatch):
    # What integer NaN becomes is the device's affair.
    for kept in (True, False):
        monkeypatch.setattr(noise, "keep_mask", lambda key, keep, shape, k=kept: (jnp.full(shape, k), jnp.float32(k)))
        assert jnp.isnan(jax.jit(lambda rate: ALL[name](key, X, rate))(1.5)).all()


@every
def test_a_rate_is_one_number(name):
    for rate in (jnp.full(4, 0.5), "0.5", None):
        with pytest.raises(ValueError, match=rf"^{name}: expected a rate in \[0, 1\], got (an array of|'0|None)"):
            ALL[name](key, X, rate)


@every
@pytest.mark.parametrize("not_a_key", [None, 0, 0.5, np.zeros(2), jax.random.split(key)], ids=repr)
def test_what_is_no_key(name, not_a_key):
    with pytest.raises(
        TypeError, match=rf"(?s)^{name}: expected one PRNG key, got .*\. Pass jax\.random\.key\(0\), or"
    ):
        ALL[name](not_a_key, X, 0.5)


@every
def test_integer_images(name):
    with pytest.raises(TypeError, match=rf"^{name}: expected x of a floating dtype, got uint8\. .*to_float"):
        ALL[name](key, np.zeros((2, 3, 3, 1), np.uint8), 0.5)


@pytest.mark.parametrize("name", ["spatial_dropout", "drop_path", "drop_block"])
def test_vectors(name):
    with pytest.raises(
        ValueError, match=rf"^{name}: expected images of shape \(\.\.\., H, W, C\), got \(100, 100\)\. "
    ):
        ALL[name](key, ones, 0.5)


@pytest.mark.parametrize("block_size", [0, (3, -1), 2.5, (1, 2, 3)])
def test_bad_blocks(block_size):
    with pytest.raises(ValueError, match=r"^drop_block: expected block_size as a positive int or two of them, got"):
        F.drop_block(key, X, 0.5, block_size=block_size)


def test_blocks_of_images_without_pixels():
    with pytest.raises(ValueError, match=r"^drop_block: expected images of at least one pixel, got \(2, 0, 5, 4\)\. "):
        F.drop_block(key, X[:, :0], 0.5)
