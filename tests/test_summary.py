"""What a net costs, against counts by hand and papers, and what it sees, against gradients."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from jaxcnn import functional as F
from jaxcnn import models, summarize, surgery
from jaxcnn.initializers import Constant
from jaxcnn.interop.flax import Linen
from jaxcnn.layers import (
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    Gate,
    GlobalAvgPool,
    Layer,
    LocalContrastNorm,
    LocalConv,
    MaxPool,
    Residual,
    SeparableConv,
    Sequential,
    StandardizedConv,
    Upsample,
)
from jaxcnn.models.cifar_resnet import PadShortcut

pytestmark = pytest.mark.usefixtures("quick_compilation")


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def rows(summary):
    return {row.path: row for row in summary.rows}


# --- parameters and multiply-adds


def test_the_classic_lenet5_by_hand():
    summary = summarize(models.create("lenet5", classic=True), spec(1, 32, 32, 1))
    expected = {  # path: (output, weights + biases, outputs * window * channels)
        "conv1": ((1, 28, 28, 6), 25 * 6 + 6, 28 * 28 * 6 * 25),
        "act1": ((1, 28, 28, 6), 0, 0),
        "pool1": ((1, 14, 14, 6), 0, 0),
        "conv2": ((1, 10, 10, 16), 150 * 16 + 16, 10 * 10 * 16 * 150),
        "act2": ((1, 10, 10, 16), 0, 0),
        "pool2": ((1, 5, 5, 16), 0, 0),
        "conv3": ((1, 1, 1, 120), 400 * 120 + 120, 120 * 400),
        "act3": ((1, 1, 1, 120), 0, 0),
        "flatten": ((1, 120), 0, 0),
        "dense1": ((1, 84), 120 * 84 + 84, 120 * 84),
        "act4": ((1, 84), 0, 0),
        "head": ((1, 10), 84 * 10 + 10, 84 * 10),
    }
    assert {row.path: (row.output, row.parameters, row.multiply_adds) for row in summary.rows} == expected
    assert (summary.parameters, summary.multiply_adds) == (61_706, 416_520)


def test_resnet20_by_hand_and_as_in_the_paper():
    summary = summarize(models.create("cifar_resnet20"), spec(1, 32, 32, 3))
    stem, narrower, same = 32 * 32 * 16 * 27, 16 * 16 * 32 * 144, 32 * 32 * 16 * 144
    assert summary.multiply_adds == stem + 6 * same + 2 * (narrower + 5 * same) + 64 * 10 == 40_551_040
    kernels = 27 * 16 + 6 * 144 * 16 + (144 * 32 + 5 * 288 * 32) + (288 * 64 + 5 * 576 * 64) + 64 * 10
    scales_and_biases = 2 * (16 + 6 * 16 + 6 * 32 + 6 * 64) + 10
    assert summary.parameters == kernels + scales_and_biases == 269_722
    assert round(summary.parameters / 1e6, 2) == 0.27  # He et al. 2016, table 6


@pytest.mark.parametrize(
    ("net", "multiply_adds"),
    [
        (Conv(12, (3, 5), stride=2, groups=2), 5 * 4 * 12 * (15 * 4)),
        (Conv(6, 3, padding="VALID", dilation=2), 6 * 4 * 6 * (9 * 8)),
        (Conv(4, 1), 10 * 8 * 4 * 8),
        (Dense(5), 10 * 8 * 5 * 8),
        (Sequential(a=BatchNorm(), b=F.relu, c=MaxPool(), d=Dropout(0.5)), 0),
        (Concat(a=Dense(5), b=Residual(Dense(8))), 10 * 8 * (5 + 8) * 8),
        (DepthwiseConv((3, 5), multiplier=2, stride=2), 5 * 4 * 16 * 15),
        (SeparableConv(6, 5, multiplier=2, padding="VALID"), 6 * 4 * (16 * 25 + 6 * 16)),
        (LocalConv(6, (3, 5), stride=2), 4 * 2 * 6 * (15 * 8)),
        (StandardizedConv(6, 5), 10 * 8 * 6 * (25 * 8)),
        # Every pixel of the input paints the kernel.
        (ConvTranspose(6, (3, 4), stride=2, groups=2), 10 * 8 * 6 * (12 * 4)),
        (ConvTranspose(6, 2, stride=2), 10 * 8 * 6 * (4 * 8)),
        (ConvTranspose(6, 3, dilation=2), 10 * 8 * 6 * (9 * 8)),
    ],
    ids=[
        "grouped",
        "dilated",
        "1x1",
        "dense",
        "nothing",
        "parallel",
        "depthwise",
        "separable",
        "local",
        "standardized",
        "transposed",
        "transposed tiles",
        "transposed dilated",
    ],
)
def test_multiply_adds_by_hand(net, multiply_adds):
    assert summarize(Sequential(net=net), spec(1, 10, 8, 8)).multiply_adds == multiply_adds


def test_the_batch_does_not_count():
    net = models.create("lenet5")
    assert summarize(net, spec(64, 8, 8, 1)) == summarize(net, spec(1, 8, 8, 1))


def test_parameters_are_those_of_init():
    net = models.create("cifar_resnet8", width=4)
    params, _ = jax.eval_shape(lambda: net.init(jax.random.key(0), spec(1, 8, 8, 3)))
    assert summarize(net, spec(1, 8, 8, 3)).parameters == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_composites_stand_before_their_parts_with_their_totals():
    net = models.create("cifar_resnet8", width=4)
    summary = summarize(net, spec(1, 16, 16, 3))
    table = rows(summary)
    assert list(table) == surgery.paths(net)
    for path, row in table.items():
        parts = [r for p, r in table.items() if p.rpartition("/")[0] == path]
        if parts:
            assert row.parameters == sum(part.parameters for part in parts)
            assert row.multiply_adds == sum(part.multiply_adds for part in parts)
    assert summary.multiply_adds == sum(row.multiply_adds for p, row in table.items() if "/" not in p)


def test_edits_change_nothing():
    net = models.create("lenet5")
    edited = surgery.edit(net, {"stage1": jnp.tanh, "stage2/conv1": jnp.negative, "act1": jnp.negative})
    assert summarize(edited, spec(1, 8, 8, 1)) == summarize(net, spec(1, 8, 8, 1))


@dataclass(frozen=True)
class Attention(Layer):
    """A layer of one's own: products in all the forms in which a program may hold them."""

    def init(self, key, spec):
        c = spec.shape[-1]
        return {"query": jnp.ones((c, c)), "steps": {"kernel": jnp.ones((3, c, c))}}, {}

    def apply(self, params, state, x, *, train, key=None):
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        scores = jax.jit(lambda t: jnp.einsum("bic,cd,bjd->bij", t, params["query"], t))(tokens)
        mixed = jax.checkpoint(lambda t: jax.nn.softmax(scores) @ t)(tokens)
        return jax.lax.scan(lambda t, kernel: (t @ kernel, None), mixed, params["steps"]["kernel"])[0], state


def test_layers_of_ones_own_are_counted():
    row = rows(summarize(Sequential(mine=Attention()), spec(2, 3, 4, 5)))["mine"]
    n, c = 12, 5
    assert row.multiply_adds == n * c * c + n * n * c + n * n * c + 3 * n * c * c
    assert (row.kind, row.parameters, row.output) == ("Attention", 4 * c * c, (1, n, c))


# --- receptive field


def linear(features=2, *args, layer=Conv, **options):
    return layer(features, *args, kernel_init=Constant(1.0), **options)


def larger(window, **options):
    return linear(2, window, layer=ConvTranspose, **options)


CHAINS = {
    "one": Sequential(a=linear(2, (3, 5))),
    "stride": Sequential(a=linear(2, 3, stride=2), b=linear(2, 3), c=linear(2, 5, stride=(1, 2)), d=linear(2, 3)),
    "dilation": Sequential(a=linear(2, 3, dilation=(2, 3)), b=linear(2, 2, dilation=2, stride=2), c=linear()),
    "pool": Sequential(a=linear(), b=AvgPool(2), c=linear(), d=AvgPool(3, stride=2), e=linear(2, 3, dilation=2)),
    "valid": Sequential(a=linear(2, 5, padding="VALID"), b=AvgPool((1, 2)), c=linear(2, 3, padding="VALID")),
    "residual": Sequential(
        a=AvgPool(2), b=Residual(Sequential(c=linear(), d=linear())), e=Residual(linear(2, 1), linear(2, 5))
    ),
    "strided residual": Sequential(
        a=linear(),
        b=Residual(Sequential(c=linear(4, 3, stride=2, padding=1), d=linear(4)), PadShortcut(4)),
        e=linear(),
    ),
    "concat": Sequential(
        a=Concat(
            tall=linear(2, (7, 1)), wide=linear(2, (1, 5)), small=Sequential(b=linear(), c=linear(2, 1)), as_is=jnp.tanh
        ),
        d=linear(2, 3, stride=2),
        e=Concat(f=linear(1, 5), g=linear(1, 3, dilation=3)),
        h=linear(),
    ),
    "other convolutions": Sequential(
        a=linear(2, 5, layer=SeparableConv, stride=2),
        b=DepthwiseConv((3, 2), kernel_init=Constant(1.0), dilation=2),
        c=linear(2, (2, 3), layer=LocalConv, stride=2),
    ),
    "enlarged": Sequential(a=larger(3, stride=2), b=linear(2, (2, 4)), c=larger((4, 5), stride=(3, 2))),
    "enlarged in tiles": Sequential(a=larger(2, stride=2), b=linear(), c=larger(2, stride=2), d=linear(2, (5, 4))),
    "enlarged with gaps": Sequential(a=larger((1, 2), stride=3), b=linear(2, 2), c=linear(2, 3, dilation=2)),
    "enlarged, dilated": Sequential(a=larger(3, dilation=2), b=larger((2, 3), stride=2), c=linear(2, 2, dilation=3)),
    "there and back": Sequential(
        a=linear(2, 3, stride=2),
        b=linear(2, (5, 3), stride=2),
        c=larger(3, stride=2),
        d=linear(),
        e=larger(4, stride=2),
    ),
    "enlarged by interpolation": Sequential(a=linear(), b=F.upsample, c=linear(), d=Upsample((3, 1)), e=linear(2, 7)),
    "functions": Sequential(a=linear(), b=F.avg_pool, c=linear(), d=jnp.tanh, e=linear(2, 2)),
    "local contrast": Sequential(a=LocalContrastNorm(size=5, divisive=False), b=linear()),
    "enlarged in parallel": Sequential(
        a=linear(2, 3, stride=2), b=Concat(c=larger(4, stride=2), d=larger((2, 5), stride=2)), e=linear()
    ),
}


# What they are made of is in the others too.
LONG = ("stride", "residual", "enlarged in tiles", "enlarged with gaps", "enlarged, dilated", "there and back")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in CHAINS])
def test_receptive_field_is_the_support_of_the_gradient(name):
    net, x = CHAINS[name], jnp.zeros((1, 48, 52, 2))
    params, state = net.init(jax.random.key(0), x)
    # Transposed convolutions let neighbours see differently much: the most that one of them sees counts.
    around = range(-3, 4) if "enlarged" in name or name == "there and back" else (0,)

    @jax.jit
    @jax.jacrev
    def seen(x):
        _, found = surgery.activations(net, params, state, x, surgery.paths(net))
        # All channels of a pixel in the middle, of every layer; weights are positive, so that nothing cancels.
        middles = {path: (y[0].sum(-1), y.shape[1] // 2, y.shape[2] // 2) for path, y in found.items()}
        return {path: jnp.stack([y[i + k, j + k] for k in around]) for path, (y, i, j) in middles.items()}

    def extent(touched):
        return int(np.ptp(np.flatnonzero(touched))) + 1 if touched.any() else 0

    for path, gradients in seen(x).items():
        touched = np.abs(np.asarray(gradients[:, 0])).sum(-1) > 0
        size = tuple(max(extent(one.any(axis)) for one in touched) for axis in (1, 0))
        assert rows(summarize(net, x))[path].receptive_field == size, path


@pytest.mark.parametrize("last", [GlobalAvgPool(), Flatten()], ids=repr)
def test_after_pooling_or_flattening_all_is_seen(last):
    table = rows(summarize(Sequential(a=Conv(4), b=last, c=F.relu, d=Dense(3)), spec(1, 9, 9, 1)))
    assert [row.receptive_field for row in table.values()] == [(3, 3), "all", "all", "all"]


def test_windows_of_adaptive_pooling_grow_with_the_image():
    net = Sequential(a=Conv(4), b=AdaptiveAvgPool(3), c=Conv(4))
    sizes = [[row.receptive_field for row in rows(summarize(net, spec(1, n, n, 1))).values()] for n in (9, 3)]
    assert sizes == [[(3, 3), "all", "all"], [(3, 3), (3, 3), (5, 5)]]


@dataclass(frozen=True)
class Doubled(Layer):
    """A layer of one's own that does not say how far it looks."""

    def apply(self, params, state, x, *, train, key=None):
        return 2 * x, state


@dataclass(frozen=True)
class Pointwise(Doubled):
    """One that says it."""

    kernel_size = 1


def test_where_a_layer_does_not_say_how_far_it_looks_it_is_not_known():
    foreign = Linen(linen.Conv(4, (7, 7)))
    net = Sequential(
        a=Conv(2),
        b=Concat(c=foreign, d=Conv(2)),
        e=Conv(2),
        f=Gate(Sequential(pool=GlobalAvgPool(), dense=Dense(2))),
        g=Flatten(),
    )
    table = rows(summarize(net, spec(1, 9, 9, 1)))
    seen = {path: table[path].receptive_field for path in ("a", "b/c", "b/d", "b", "e", "f", "g")}
    assert list(seen.values()) == [(3, 3), "unknown", (5, 5), "unknown", "unknown", "unknown", "all"]
    assert str(summarize(Sequential(a=foreign), spec(1, 9, 9, 1))).splitlines()[2].endswith("  unknown")
    net = Sequential(a=Conv(2), b=Pointwise(), c=lambda x: x[:, ::2], d=Doubled())
    table = rows(summarize(net, spec(1, 9, 9, 1)))
    assert [row.receptive_field for row in table.values()] == [(3, 3), (3, 3), "unknown", "unknown"]


def test_dense_on_images_sees_what_its_input_saw():
    assert rows(summarize(Sequential(a=Conv(4), b=Dense(3)), spec(1, 9, 9, 1)))["b"].receptive_field == (3, 3)


# --- the table, and what is not computed


def test_the_printed_table():
    net = Sequential(
        stem=Sequential(conv=Conv(8, 5, stride=2), norm=BatchNorm(), act=F.relu), pool=GlobalAvgPool(), head=Dense(10)
    )
    assert str(summarize(net, spec(1, 32, 30, 3))) == (
        "layer   kind            output  parameters  multiply-adds  sees\n"
        "---------------------------------------------------------------\n"
        "stem    Sequential     16x15x8         624        144,000   5x5\n"
        "  conv  Conv           16x15x8         608        144,000   5x5\n"
        "  norm  BatchNorm      16x15x8          16              0   5x5\n"
        "  act   relu           16x15x8           0              0   5x5\n"
        "pool    GlobalAvgPool        8           0              0   all\n"
        "head    Dense               10          90             80   all\n"
        "---------------------------------------------------------------\n"
        "total                                  714        144,080"
    )


def test_nothing_is_computed():
    def traced(key, shape, dtype):
        assert isinstance(key, jax.core.Tracer)
        return jnp.zeros(shape, dtype)

    def look(x):
        assert isinstance(x, jax.core.Tracer)
        return x

    # 300 GB of images, a net of 90 GB.
    many = functools.partial(Conv, 50_000, kernel_init=traced)
    net = Sequential(a=many(), b=look, c=Residual(many()), d=GlobalAvgPool(), e=Dense(7, kernel_init=traced))
    summary = summarize(net, spec(16, 40_000, 40_000, 3))
    assert summary.parameters == 27 * 50_000 + 9 * 50_000**2 + 2 * 50_000 + 7 * 50_000 + 7
    assert rows(summary)["c"].multiply_adds == 40_000**2 * 9 * 50_000**2


def test_inputs_that_do_not_fit():
    net = models.create("lenet5", classic=True)
    with pytest.raises(
        ValueError, match=r"^summarize: expected a spec with a batch axis, got \(32,\)\. Add it: \(1, H"
    ):
        summarize(net, spec(32))
    with pytest.raises(ValueError, match=r"^conv: expected an image of at least 5x5 pixels"):
        summarize(net, spec(1, 28, 28, 1))
    with pytest.raises(TypeError, match=r"^Conv: expected x of a floating dtype, got uint8\. .*to_float"):
        summarize(net, jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.uint8))
