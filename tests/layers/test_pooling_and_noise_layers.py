"""What pooling and noise layers make of their hyperparameters, and that they are the functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn.layers import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    DropBlock,
    Dropout,
    DropPath,
    GlobalMaxPool,
    Layer,
    LpPool,
    MaxPool,
    SpatialDropout,
    SpatialPyramidPool,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 7, 5, 3)), jnp.float32)
key = jax.random.key(0)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (
            MaxPool(3, stride=2, padding=1, ceil_mode=True),
            lambda x: F.max_pool(x, 3, stride=2, padding=1, ceil_mode=True),
        ),
        (AvgPool(2, ceil_mode=True), lambda x: F.avg_pool(x, ceil_mode=True)),
        (
            AvgPool(3, stride=2, padding="SAME", count_include_pad=False),
            lambda x: F.avg_pool(x, 3, stride=2, padding="SAME", count_include_pad=False),
        ),
        (
            LpPool((3, 2), p=3, stride=2, padding=1, ceil_mode=True),
            lambda x: F.lp_pool(x, (3, 2), p=3, stride=2, padding=1, ceil_mode=True),
        ),
        (GlobalMaxPool(), F.global_max_pool),
        (AdaptiveAvgPool((2, 3)), lambda x: F.adaptive_avg_pool(x, (2, 3))),
        (AdaptiveMaxPool((2, 3)), lambda x: F.adaptive_max_pool(x, (2, 3))),
        (SpatialPyramidPool((1, 3)), lambda x: F.spatial_pyramid_pool(x, (1, 3))),
        (SpatialPyramidPool(average=True), lambda x: F.spatial_pyramid_pool(x, average=True)),
        (SpatialDropout(0.4), lambda x: F.spatial_dropout(key, x, 0.4)),
        (DropPath(0.4), lambda x: F.drop_path(key, x, 0.4)),
        (DropBlock(0.2, block_size=(3, 2)), lambda x: F.drop_block(key, x, 0.2, block_size=(3, 2))),
        (DropBlock(0.2, block_size=2, shared=True), lambda x: F.drop_block(key, x, 0.2, block_size=2, shared=True)),
    ],
    ids=lambda value: repr(value) if isinstance(value, Layer) else "",
)
def test_is_the_function(layer, function):
    y, state = layer.apply({}, {}, X, train=True, key=key)
    np.testing.assert_array_equal(y, function(X))
    assert state == {}


@pytest.mark.parametrize("layer", [SpatialDropout, DropPath, DropBlock])
def test_noise_is_the_identity_when_not_training_and_at_rate_zero(layer):
    np.testing.assert_array_equal(layer(0.5).apply({}, {}, X, train=False)[0], X)
    np.testing.assert_array_equal(layer(0).apply({}, {}, X, train=True)[0], X)  # no key needed


def test_equal_hyperparameters_make_equal_layers():
    for one, two in [
        (AdaptiveAvgPool(2), AdaptiveAvgPool((2, 2))),
        (SpatialPyramidPool(), SpatialPyramidPool([1, 2, np.int64(4)])),
        (LpPool(2, p=3), LpPool((2, 2), p=3.0, stride=2)),
        (DropBlock(np.float32(0.5), block_size=7), DropBlock(0.5)),
        (DropPath(1), DropPath(1.0)),
    ]:
        assert one == two
        assert hash(one) == hash(two)
        assert repr(one) == repr(two)
    others = [MaxPool(), MaxPool(ceil_mode=True), AdaptiveAvgPool(2), AdaptiveMaxPool(2), LpPool(), LpPool(p=3)]
    others += [Dropout(0.5), SpatialDropout(0.5), DropPath(0.5), DropBlock(0.5), DropBlock(0.5, shared=True)]
    assert len(set(others)) == len(others)
    assert repr(DropBlock(0.1, block_size=(5, 5))) == "DropBlock(rate=0.1, block_size=5)"
    assert repr(SpatialPyramidPool([1, 2])) == "SpatialPyramidPool(levels=(1, 2))"
    assert repr(LpPool(2, p=3, ceil_mode=True)) == "LpPool(ceil_mode=True, p=3.0)"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SpatialDropout(1.5), r"^SpatialDropout: expected a rate in \[0, 1\], got 1\.5\. It is the fraction"),
        (lambda: DropPath(float("nan")), r"^DropPath: expected a rate in \[0, 1\], got nan\. "),
        (lambda: DropBlock(-1), r"^DropBlock: expected a rate in \[0, 1\], got -1\. "),
        (lambda: DropBlock(0.1, block_size=0), r"^DropBlock: expected block_size as a positive int or two of them, "),
        (lambda: LpPool(0), r"^LpPool: expected window as a positive int or two of them, got 0\. "),
        (lambda: LpPool(p=0.5), r"^LpPool: expected a finite p >= 1, got 0\.5\. "),
        (lambda: AdaptiveAvgPool(0), r"^AdaptiveAvgPool: expected size as a positive int or two of them, got 0\. "),
        (lambda: AdaptiveMaxPool((1, 2, 3)), r"^AdaptiveMaxPool: expected size as a positive int or two of them, got "),
        (lambda: SpatialPyramidPool(()), r"^SpatialPyramidPool: expected levels as a sequence of positive ints, got "),
    ],
)
def test_bad_hyperparameters(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("layer", [MaxPool, AvgPool, LpPool])
def test_only_the_window_is_positional(layer):
    with pytest.raises(TypeError, match="positional"):
        layer(2, 1)
