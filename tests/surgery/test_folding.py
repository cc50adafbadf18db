"""Batch norm folded into the layer before it: the same outputs, fewer layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models
from jaxcnn.layers import (
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    GlobalAvgPool,
    MaxPool,
    Residual,
    Sequential,
)
from jaxcnn.surgery import edit, fold_batch_norm, paths

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(5)
SPEC = jax.ShapeDtypeStruct((2, 8, 6, 3), jnp.float32)


def trained(net, spec=SPEC):
    """Return weights and statistics that are not the initial ones."""
    random = np.random.default_rng(5)
    draw = lambda leaf: random.uniform(0.1, 1, leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, jax.eval_shape(lambda: net.init(KEY, spec)))


def same(net, spec=SPEC, tolerance=1e-5):
    """Return the folded net, having seen that it gives the same."""
    params, state = trained(net, spec)
    folded, *weights = fold_batch_norm(net, params, state)
    x = np.random.default_rng(6).standard_normal(spec.shape).astype(np.float32)
    both = ((net, (params, state)), (folded, weights))
    y, other = jax.jit(lambda x: [n.apply(*w, x, train=False)[0] for n, w in both])(x)
    np.testing.assert_allclose(other, y, rtol=tolerance, atol=tolerance * float(jnp.abs(y).max()))
    fresh = jax.eval_shape(lambda: folded.init(KEY, spec))
    assert jax.tree.structure(fresh) == jax.tree.structure(tuple(weights))
    return folded


@pytest.mark.parametrize(
    "layer",
    [
        Conv(4, stride=2),
        Conv(6, use_bias=False, groups=3),
        DepthwiseConv(3, multiplier=2, use_bias=False),
        ConvTranspose(6, 2, stride=2, groups=3),
        Dense(5),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize(
    "norm", [BatchNorm(), BatchNorm(eps=0.1, use_scale=False), BatchNorm(use_scale=False, use_bias=False)], ids=repr
)
def test_gives_the_same(layer, norm):
    folded = same(Sequential(a=layer, b=norm, c=F.relu))
    assert paths(folded) == ["a", "c"]


def test_at_any_depth_and_other_norms_stay():
    net = Sequential(
        first=BatchNorm(),
        stem=Sequential(conv=Conv(4), norm=BatchNorm(), act=F.relu),
        block=Residual(
            Sequential(conv=Conv(4, use_bias=False), norm=BatchNorm()), Sequential(pool=Conv(4, 1), n=BatchNorm())
        ),
        mix=Concat(a=Sequential(conv=Conv(2), act=F.relu, norm=BatchNorm()), b=Conv(3)),
        conv=Conv(3),
        pool=MaxPool(2),
        norm=BatchNorm(),
        end=GlobalAvgPool(),
    )
    folded = same(net)
    left = [path for path in paths(net) if path not in paths(folded)]
    assert left == ["stem/norm", "block/branch/norm", "block/shortcut/n"]


@pytest.mark.slow
def test_a_model():
    folded = same(models.create("cifar_resnet8", width=4), jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32))
    assert not any("norm" in path for path in paths(folded))


def test_one_conv_takes_up_one_norm():
    assert paths(same(Sequential(a=Conv(3), b=BatchNorm(), c=BatchNorm()))) == ["a", "c"]


def test_what_is_edited_stays():
    net = edit(Sequential(a=Conv(3), b=BatchNorm(), c=Conv(2), d=BatchNorm()), {"a": lambda y: 2 * y})
    assert paths(same(net)) == ["a", "b", "c"]


def test_nothing_to_fold():
    net = Sequential(norm=BatchNorm(), conv=Conv(3), act=F.relu)
    with pytest.raises(
        ValueError, match=r"^fold_batch_norm: expected a net with a BatchNorm right after .*, got none\."
    ):
        fold_batch_norm(net, *trained(net))
