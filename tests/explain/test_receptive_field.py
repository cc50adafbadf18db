"""Receptive fields against brute force: every pixel is changed, and what changes with it is looked at."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models
from jaxcnn.explain import inside
from jaxcnn.layers import (
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Flatten,
    Gate,
    GlobalAvgPool,
    GroupNorm,
    LayerNorm,
    LocalConv,
    LocalResponseNorm,
    MaxPool,
    Residual,
    Sequential,
)
from jaxcnn.models.cifar_resnet import PadShortcut
from jaxcnn.summary import summarize
from jaxcnn.surgery import activations, freeze, paths, rematerialize
from tests.small_nets import CASES, NETS, SPEC

pytestmark = pytest.mark.usefixtures("quick_compilation")


def every_second(x):
    return x[..., ::2, 1::2, :]


def blurred(x):
    """A function of one's own, of a library's convolution with channels first."""
    first = jnp.moveaxis(x, -1, 1)
    kernel = jnp.ones((first.shape[1], 1, 1, 5))
    y = jax.lax.conv_general_dilated(first, kernel, (1, 2), "SAME", feature_group_count=first.shape[1])
    return jnp.moveaxis(y, 1, -1)


def either(x):
    """A function of one's own with branches, of which that which is not taken sees less."""
    averaged = functools.partial(F.avg_pool, window=3, stride=1, padding="SAME")
    y = jax.lax.cond(True, averaged, jnp.negative, x)
    return jax.lax.cond(False, jnp.negative, averaged, y)


def conv(features=4, kernel=3, **options):
    return Conv(features, kernel, **options)


SPECIAL = {
    "dilation": Sequential(a=conv(dilation=2), b=conv(dilation=(1, 3), padding=0)),
    "stride": Sequential(a=conv(stride=2), b=F.relu, c=conv(kernel=(3, 5), stride=(2, 1)), d=MaxPool(2, stride=1)),
    "padding": Sequential(a=conv(kernel=4, padding=((2, 1), (0, 3)), stride=3), b=conv(kernel=2, padding="SAME")),
    "strided residual": Sequential(
        a=conv(), block=Residual(Sequential(b=conv(stride=2), c=F.relu, d=conv()), Conv(4, 1, stride=2)), e=conv()
    ),
    "padded shortcut": Sequential(block=Residual(conv(6, stride=2), PadShortcut(6)), b=conv()),
    "concat": Sequential(c=Concat(one=Conv(2, 1), five=Sequential(a=conv(2, 5), b=F.relu)), d=conv()),
    "pooling": Sequential(a=AvgPool(3, stride=2, padding=1), b=MaxPool(3, stride=2, ceil_mode=True), c=conv()),
    "transposed": Sequential(a=conv(stride=2), b=ConvTranspose(4, 3, stride=2), c=conv()),
    "transposed, in between": Sequential(a=conv(stride=3), b=ConvTranspose(4, 2, stride=2, padding="VALID")),
    "adaptive": Sequential(a=conv(), b=AdaptiveAvgPool((3, 4))),
    "depthwise": Sequential(a=DepthwiseConv(), b=conv(4, groups=2)),
    "local": Sequential(a=LocalConv(4, 3), b=LocalResponseNorm(size=3), c=conv(kernel=1)),
    "gate": Sequential(a=conv(), b=Gate(Sequential(p=GlobalAvgPool(), e=Dense(4), s=F.sigmoid)), c=conv()),
    "normalization": Sequential(a=conv(), b=BatchNorm(), c=LayerNorm(), d=conv(), e=GroupNorm(2), f=conv()),
    "functions": Sequential(a=conv(), b=every_second, c=blurred, d=lambda x: x[..., ::-1, :, :]),
    "wide": Sequential(a=conv(kernel=31, stride=4), b=conv()),
    "activations": Sequential(a=conv(), b=F.gelu, c=conv(), d=F.leaky_relu, e=conv(), f=F.softplus),
    "branches": Sequential(a=conv(), b=either),
    "head": Sequential(a=conv(stride=2), f=Flatten(), d=Dense(3)),
}  # fmt: skip


def brute(net, params, state, shape, at):
    """Return rows and columns as `receptive_fields` does, of what changes where a pixel does."""
    height, width, channels = shape
    draw = np.random.default_rng(0)
    seen, run = None, jax.jit(lambda x: activations(net, params, state, x, at)[1])
    for _ in range(3):
        image = draw.normal(size=shape).astype(np.float32)
        for sign in (-1, 1):
            changed = np.broadcast_to(image, (height * width, *shape)).copy().reshape(height * width, -1, channels)
            changed[np.arange(height * width), np.arange(height * width)] += 20 * sign * draw.uniform(1, 2, channels)
            both = np.concatenate([image[None], changed.reshape(-1, *shape)])
            found = jax.tree.map(np.asarray, run(both))
            now = {p: abs(y[1:] - y[:1]).max(-1) > 1e-4 * abs(y).max() for p, y in found.items()}
            seen = now if seen is None else {p: seen[p] | now[p] for p in at}
    boxes = {}
    for path, met in seen.items():
        met = met.reshape(height, width, *(met.shape[1:] if met.ndim == 3 else (1, 1)))
        boxes[path] = hull(met.any((1, 3))), hull(met.any((0, 2)))
    return boxes


def hull(met):
    """First and last pixel (axis 0) of each unit (axis 1)."""
    some = met.any(0)
    last = len(met) - 1 - met[::-1].argmax(0)
    return np.stack([np.where(some, met.argmax(0), 0), np.where(some, last, -1)], 1)


LONG = {*NETS, "padded shortcut", "transposed, in between", "wide", "activations"}  # with no operation of their own
BRUTE = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in (*NETS, *SPECIAL)]


@pytest.mark.parametrize("name", BRUTE)
def test_fields_are_those_of_brute_force(name):
    if name in NETS:
        _, net, params, state = CASES[name]
        shape = SPEC.shape[1:]
    else:
        net, shape = SPECIAL[name], (11, 14, 2)
        params, state = net.init(jax.random.key(1), jnp.zeros((1, *shape)))
    at = paths(net)
    expected = brute(net, params, state, shape, at)
    found = inside.receptive_fields(net, jax.ShapeDtypeStruct((4, *shape), jnp.float32), at)
    assert list(found) == at
    for path in at:
        np.testing.assert_array_equal(found[path].rows, expected[path][0], err_msg=f"{path}, rows")
        np.testing.assert_array_equal(found[path].columns, expected[path][1], err_msg=f"{path}, columns")


def test_size_stride_and_offset_by_hand():
    net = Sequential(
        a=Conv(4, 3, padding=1), b=F.relu, p=MaxPool(2), c=Conv(4, 5, padding=2, dilation=2), pool=GlobalAvgPool()
    )
    fields = inside.receptive_fields(net, jax.ShapeDtypeStruct((1, 12, 12, 1), jnp.float32))
    assert (fields["a"].size, fields["a"].stride, fields["a"].offset) == ((3, 3), (1, 1), (-1, -1))
    assert fields["b"].size == (3, 3)
    assert (fields["p"].size, fields["p"].stride, fields["p"].offset) == ((4, 4), (2, 2), (-1, -1))
    assert fields["p"].rows.tolist() == [[0, 2], [1, 4], [3, 6], [5, 8], [7, 10], [9, 11]]
    # 4 + (5 - 1) * 2 dilated * 2 apart = 20 pixels, more than the image has
    assert (fields["c"].size, fields["c"].stride) == ((20, 20), (2, 2))
    assert fields["pool"].size is None
    assert fields["pool"].rows.tolist() == [[0, 11]]


def test_what_chooses_a_branch_is_seen():
    net = Sequential(a=lambda x: jax.lax.cond(x[0, 1, 2, 0] > 0, jnp.sin, jnp.cos, x))
    field = inside.receptive_field(net, jax.ShapeDtypeStruct((1, 3, 4, 1), jnp.float32), "a")
    assert field.rows.tolist() == [[0, 1], [1, 1], [1, 2]]
    assert field.columns.tolist() == [[0, 2], [1, 2], [2, 2], [2, 3]]


@pytest.mark.parametrize(("size", "expected"), [(4, (3, 3)), (3, None)])
def test_windows_of_adaptive_pooling_are_those_of_the_given_images(size, expected):
    """On larger images, where fields that no border cuts are looked for, the windows are others."""
    net = Sequential(a=Conv(2, 3, padding=1), pool=AdaptiveAvgPool(size))
    assert inside.receptive_field(net, jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32), "pool").size == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [("lenet5", 8), ("resnet18", 64), ("vgg16", 224), ("googlenet", 96)],
)
def test_sizes_are_those_of_the_summary(name, side):
    """What is read from the program is what the arithmetic of the layers gives."""
    net, spec = models.create(name), jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    seen = {row.path: row.receptive_field for row in summarize(net, spec).rows}
    rows = {path: None if size == "all" else size for path, size in seen.items()}
    fields = inside.receptive_fields(net, spec)
    assert {path: field.size for path, field in fields.items()} == rows


@pytest.mark.slow
def test_wrapped_layers_see_the_same():
    net = NETS["residual"]
    expected = inside.receptive_field(net, SPEC, "block1/branch/bn2")
    for wrapped in (freeze(net, ["block1"]), rematerialize(net, ["block1"])):
        found = inside.receptive_field(wrapped, SPEC, "block1/branch/bn2")
        jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.slow
def test_loops_and_unknown_operations_mix_all():
    def looped(x):
        return jax.lax.fori_loop(0, 3, lambda _, y: F.relu(y), x)

    field = inside.receptive_field(Sequential(a=conv(), b=looped), jax.ShapeDtypeStruct((1, 9, 9, 1), jnp.float32), "b")
    assert field.rows.tolist() == [[0, 8]] * 9
    assert field.size is None


def test_one_program_for_all_layers(monkeypatch):
    module, calls = importlib.import_module("jaxcnn.explain.inside.receptive_field"), []
    original = module.places
    monkeypatch.setattr(module, "places", lambda *a: calls.append(1) or original(*a))
    net = Sequential(a=conv(5), b=conv(6))
    spec = jax.ShapeDtypeStruct((1, 10, 10, 1), jnp.float32)
    inside.receptive_fields(net, spec)
    first = len(calls)
    assert first <= 4
    inside.receptive_fields(net, spec)
    assert len(calls) == first


def test_patches_are_black_beyond_the_border():
    image = np.arange(1, 26, dtype=np.uint8).reshape(5, 5, 1)
    spec = jax.ShapeDtypeStruct((1, 5, 5, 1), jnp.float32)
    field = inside.receptive_field(Sequential(a=Conv(2, 3), b=Conv(2, 1, stride=2)), spec, "b")
    images = np.stack([image] * 3)
    cut = inside.patches(images, field, [[0, 0], [1, 1], [2, 0]])
    assert cut.shape == (3, 3, 3, 1)
    assert cut.dtype == np.uint8
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    for one, (i, j) in zip(cut, [(0, 0), (2, 2), (4, 0)], strict=True):
        np.testing.assert_array_equal(one, padded[i : i + 3, j : j + 3])
    np.testing.assert_array_equal(inside.patches(image, field, [0, 0]), cut[0])


def test_patches_of_what_sees_everything_are_the_images():
    images = np.random.default_rng(0).uniform(size=(2, 6, 7, 3))
    spec = jax.ShapeDtypeStruct((1, 6, 7, 3), jnp.float32)
    net = Sequential(a=Conv(2, 9), f=Flatten(), d=Dense(2))
    for path, position in (("a", [[5, 5], [0, 0]]), ("d", [[0, 0], [0, 0]])):
        np.testing.assert_array_equal(inside.patches(images, inside.receptive_field(net, spec, path), position), images)


def test_a_unit_gives_the_same_on_its_patch_alone(images):
    """All that a unit sees is in its patch: the rest of the image may be anything."""
    _, net, params, state = CASES["residual"]
    field = inside.receptive_field(net, SPEC, "block1/branch/bn2")
    i, j = 5, 0
    mask = np.zeros((1, 12, 12, 1), np.float32)
    mask[:, slice(field.rows[i][0], field.rows[i][1] + 1), slice(field.columns[j][0], field.columns[j][1] + 1)] = 1
    other = mask * images + (1 - mask) * images[::-1]
    y, z = (activations(net, params, state, x, ["block1/branch/bn2"])[1]["block1/branch/bn2"] for x in (images, other))
    np.testing.assert_allclose(z[:, i, j], y[:, i, j], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: inside.receptive_field(NETS["plain"], SPEC, "conv9"), ValueError, r"conv9"),
        (
            lambda: inside.receptive_field("net", SPEC, "a"),
            TypeError,
            r"^receptive_fields: expected a layer, got 'net'",
        ),
        (
            lambda: inside.receptive_field(NETS["plain"], jax.ShapeDtypeStruct((12, 12, 3), jnp.float32), "conv1"),
            ValueError,
            r"^receptive_fields: expected images \(N, H, W, C\), got \(12, 12, 3\)\.",
        ),
        (
            lambda: inside.patches(
                np.zeros((2, 12, 12, 3)), inside.receptive_field(NETS["plain"], SPEC, "conv1"), [0, 0]
            ),
            ValueError,
            r"^patches: expected positions \(2, 2\), got \(2,\)\.",
        ),
        (
            lambda: inside.patches(np.zeros((12, 12, 3)), inside.receptive_field(NETS["plain"], SPEC, "pool1"), [6, 0]),
            ValueError,
            r"^patches: expected positions on a map of 6x6, got \[6, 0\]\.",
        ),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
