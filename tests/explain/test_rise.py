"""RISE: its masks, what the mean over them is, and the pixel that matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import attribution
from jaxcnn.explain.attribution.rise import _mask
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(4)
X = jax.random.uniform(jax.random.key(0), (2, 9, 6, 2))


def masks(count, size, cells, keep):
    return jax.jit(jax.vmap(lambda key: _mask(key, size, cells, keep)))(jax.random.split(KEY, count))


@pytest.mark.slow
def test_masks_are_parts_of_enlarged_grids():
    """The key draws the grid and two shifts: the rest by the paper's own words, with another program."""

    @jax.jit
    @jax.vmap
    def drawn(key):
        grid, down, right = jax.random.split(key, 3)
        cells = jax.random.bernoulli(grid, 0.4, (3, 3)).astype(jnp.float32)
        large = jax.image.resize(cells, (4 * 3, 4 * 2), "bilinear", antialias=False)  # a cell is of 3 x 2 pixels
        return large, jax.random.randint(down, (), 0, 3), jax.random.randint(right, (), 0, 2)

    large, tops, lefts = drawn(jax.random.split(KEY, 8))
    assert len(set(zip(tops.tolist(), lefts.tolist(), strict=True))) > 2
    for mask, grid, top, left in zip(masks(8, (9, 6), 3, 0.4), large, tops, lefts, strict=True):
        close(mask, grid[top : top + 9, left : left + 6], atol=1e-6)


def test_pixels_are_seen_as_often_as_asked():
    found = masks(600, (9, 6), 3, 0.3)
    assert 0 <= found.min() < 0.01
    assert 0.99 < found.max() <= 1 + 1e-6
    close(found.mean(0), 0.3, atol=0.06)


@pytest.mark.slow
def test_the_mean_over_masks():
    seen = masks(20, (9, 6), 3, 0.5)
    value = jnp.tanh((X * seen[:, None, :, :, None]).sum((-3, -2, -1)))
    expected = jnp.einsum("mn,mhw->nhw", value, seen) / seen.sum(0)
    found = attribution.rise(
        KEY, lambda x: jnp.tanh(x.sum((-3, -2, -1)))[..., None], X, 0, masks=20, cells=3, score="score"
    )
    assert found.shape == X.shape
    close(found, jnp.broadcast_to(expected[..., None], X.shape), rtol=1e-4)


@pytest.mark.slow
def test_the_probability_is_that_of_the_softmax():
    pair = lambda x: jnp.stack([x.sum((-3, -2, -1)), jnp.zeros(x.shape[:-3])], -1)  # noqa: E731
    first = attribution.rise(KEY, pair, X, 0, masks=9, cells=3)
    second = attribution.rise(KEY, pair, X, 1, masks=9, cells=3)
    close(first + second, 1, rtol=1e-5)
    odds = lambda y: jax.nn.sigmoid(y[..., 0] - y[..., 1])  # noqa: E731
    close(attribution.rise(KEY, pair, X, odds, masks=9, cells=3), first, rtol=1e-5)


def test_one_pixel_matters():
    found = attribution.rise(
        KEY, lambda x: x[..., 4, 2, :1], jnp.ones((9, 6, 1)), 0, masks=400, cells=6, score="score", baseline=0.0
    )
    assert np.unravel_index(np.argmax(found[..., 0]), (9, 6)) == (4, 2)
    far = found[0, 5, 0]
    close(far, 0.5, atol=0.1)  # seen or not has nothing to do with that pixel


@pytest.mark.slow
def test_what_no_mask_changes_has_a_blank_map(images):
    case = CASES["plain"]
    found = attribution.rise(KEY, case.logits_fn, images, 1, masks=5, cells=4, baseline=images, score="score")
    close(found, jnp.broadcast_to(case.logits_fn(images)[:, 1, None, None, None], images.shape), rtol=1e-4)


def test_other_keep_and_no_other_trace():
    calls = []

    def run(x):
        calls.append(None)
        return x.sum((-3, -2))

    logits_fn = jax.tree_util.Partial(run)
    maps = []
    for keep in (0.2, 0.8):
        maps.append(attribution.rise(KEY, logits_fn, X, 0, masks=9, cells=3, keep=keep, score="score"))
        if keep == 0.2:
            first = len(calls)
    assert len(calls) == first
    assert maps[1].mean() > maps[0].mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": 0}, r"^rise: expected masks as a positive int, got 0\."),
        ({"cells": 7}, r"^rise: expected cells of at most 6, got 7\."),
        ({"keep": 1.0}, r"^rise: expected keep between 0 and 1, got 1\.0\."),
        ({"score": "logit"}, r"^rise: expected score as one of \('probability', 'score'\), got 'logit'\."),
        ({"baseline": "grey"}, r"^rise: expected baseline as a number"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        attribution.rise(KEY, lambda x: x.sum((-3, -2)), X, 0, **{"cells": 3} | options)
