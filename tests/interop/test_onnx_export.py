"""Nets exported to ONNX: the checker passes, and onnxruntime gives the same numbers."""

import collections
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import interop, layers, surgery
from jaxcnn.layers import Auxiliary, AvgPool, BatchNorm, Conv, Dense, GlobalAvgPool, Normalize, Sequential
from jaxcnn.models.convnext import exact_gelu
from tests.layers.test_layers_contract import TABLE

pytest.importorskip("onnx_ir")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("quick_compilation")

# Functions of more than an array.
NO_LAYERS = {
    *("BatchStats", "batch_norm", "conv", "conv_transpose", "dense", "depthwise_conv", "drop_block", "drop_path"),
    *("dropout", "local_conv", "maxout", "moving_sum", "prelu", "separable_conv", "spatial_dropout", "max_unpool"),
    *("adaptive_avg_pool", "adaptive_max_pool", "group_norm", "max_pool_with_switches", "weight_standardization"),
}
# Activations that come back as themselves.
EACH = [
    F.relu,
    F.relu6,
    F.leaky_relu,
    F.elu,
    F.selu,
    F.gelu,
    exact_gelu,
    F.sigmoid,
    F.hard_sigmoid,
    F.hard_silu,
    F.tanh,
]
EACH += [F.hard_tanh, F.softplus, F.silu, F.squared_relu]


def drawn(net, shape):
    """Return weights in which every number counts: no scale is 1, no bias and no mean 0."""
    spec = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    rng = np.random.default_rng(0)

    def another(path, leaf):
        name = jax.tree_util.keystr(path[-1:])
        if "kernel" in name:
            fan_in = np.prod(leaf.shape[:-1]) if "multiplier" not in name else 1
            return rng.normal(0, (2 / fan_in) ** 0.5, leaf.shape).astype(np.float32)
        low, high = (-0.3, 0.3) if "bias" in name or "mean" in name else (0.5, 1.5)
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(another, jax.eval_shape(net.init, KEY, spec))


def applied(net, params, state, images):
    return jax.jit(functools.partial(net.apply, train=False))(params, state, images)[0]


def agree(net, params, state, shape, path, widths=None, **options):
    """Assert that the exported graph gives the net's outputs for one image and for three.

    `widths`: channels of what lies side by side in the output, of which each is compared by itself.
    """
    spec = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    interop.onnx.export(net, params, state, spec, path, **options)
    images = np.random.default_rng(1).random((3, *shape), np.float32)
    wanted = applied(net, params, state, images)
    wanted = wanted if isinstance(wanted, dict) else {"logits": wanted}
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names[0] == "logits" and sorted(names) == sorted(wanted)  # jit has sorted what it gives
    first, cuts = options.get("layout") == "NCHW", np.cumsum(widths or [])[:-1]
    for count in (1, 3):
        given = np.moveaxis(images, -1, 1)[:count] if first else images[:count]
        for there, y in zip(session.run(list(wanted), {"images": given}), wanted.values(), strict=True):
            there = np.moveaxis(there, 1, -1) if first and y.ndim == 4 else there
            parts = (np.split(np.asarray(a), cuts, axis=-1) for a in (there, y[:count]))
            for number, (found, right) in enumerate(zip(*parts, strict=True)):
                atol = 1e-4 * float(np.abs(right).max())
                np.testing.assert_allclose(found, right, rtol=1e-4, atol=atol, err_msg=str(number))


def beside(parts):
    """Return layers one beside the other, for one graph is made faster than many."""
    return layers.Concat(**{f"branch{number}": layer for number, layer in enumerate(parts)})


GROUPS = collections.defaultdict(list)  # of layers whose outputs have one size; those with heads have a test below
for _name, _case in TABLE.items():
    if len(_case.shape) in (2, 4) and isinstance(_case.output, tuple):
        GROUPS[_case.shape[1:], _case.output[1:-1]].append(_name)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: GROUPS[group][0])
def test_every_layer(group, tmp_path):
    net = beside(TABLE[name].layer for name in GROUPS[group])
    widths = [TABLE[name].output[-1] for name in GROUPS[group]]
    agree(net, *drawn(net, group[0]), group[0], tmp_path / "a.onnx", widths=widths)


def plain_functions():
    """Return the functions of an array alone that can stand in a net."""
    chosen = {name: getattr(F, name) for name in F.__all__ if name not in NO_LAYERS}
    return {**chosen, "exact_gelu": exact_gelu}


def test_every_function(tmp_path):
    x, groups = jax.ShapeDtypeStruct((1, 4, 6, 4), jnp.float32), collections.defaultdict(list)
    for function in plain_functions().values():
        output = jax.eval_shape(function, x).shape
        groups[output[1:-1]].append((function, output[-1]))
    for group in groups.values():
        functions, widths = zip(*group, strict=True)
        net = Sequential(shift=Normalize(0.5, 0.1), functions=beside(functions))
        agree(net, {}, {}, (4, 6, 4), tmp_path / "a.onnx", widths=widths)


def test_a_net_with_heads(tmp_path):
    net = Sequential(
        scale=Normalize(0.5, 0.5),
        net=Auxiliary(
            {"side": "stage1"},
            stage1=Sequential(conv=Conv(4), norm=BatchNorm(), act=F.relu),
            pool=GlobalAvgPool(),
            head=Dense(3),
            side=Sequential(pool=AvgPool(2), flat=layers.Flatten(), head=Dense(2)),
        ),
    )
    agree(net, *drawn(net, (4, 4, 2)), (4, 4, 2), tmp_path / "a.onnx")


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_layouts(layout, tmp_path):
    net = Sequential(conv=Conv(3, stride=2), norm=BatchNorm(), act=F.relu)
    agree(net, *drawn(net, (6, 4, 2)), (6, 4, 2), tmp_path / "a.onnx", layout=layout)
    graph = onnx.load(tmp_path / "a.onnx").graph
    (images,), (logits,) = graph.input, graph.output
    axes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (images, logits)]
    assert (
        axes
        == {"NHWC": [["batch", 6, 4, 2], ["batch", 3, 2, 3]], "NCHW": [["batch", 2, 6, 4], ["batch", 3, 3, 2]]}[layout]
    )


def test_batch_norm_is_folded_where_it_can_be(tmp_path):
    net = Sequential(first=BatchNorm(), conv=Conv(3), norm=BatchNorm(), act=F.relu)
    agree(net, *drawn(net, (6, 4, 2)), (6, 4, 2), tmp_path / "a.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node]
    assert kinds == ["Transpose", "BatchNormalization", "Conv", "Relu", "Transpose"]


def test_what_surgery_puts_around(tmp_path):
    net = Sequential(stage=Sequential(conv=Conv(3), norm=BatchNorm()), act=F.relu)
    params, state = drawn(net, (6, 4, 2))
    around = surgery.rematerialize(surgery.freeze(net, ["stage"]), ["act"])
    agree(surgery.edit(around, {"act": F.tanh}), params, state, (6, 4, 2), tmp_path / "a.onnx")
    edited = surgery.edit(net, {"stage/conv": lambda y: y * 2})
    spec = jax.ShapeDtypeStruct((1, 6, 4, 2), jnp.float32)
    with pytest.raises(
        ValueError, match=r"export: expected layers and functions that are known in ONNX, got .*stage/conv"
    ):
        interop.onnx.export(edited, params, state, spec, tmp_path / "a.onnx")


def test_a_layer_of_ones_own(tmp_path):
    @interop.onnx.register(twice)
    def write(site, x):
        return site.op("Mul", x, site.array("two", 2.0))

    agree(Sequential(act=twice), {}, {}, (6, 4, 2), tmp_path / "a.onnx")


def twice(x):
    return 2 * x


SPEC = jax.ShapeDtypeStruct((1, 6, 6, 3), jnp.float32)
NET = Sequential(conv=Conv(4), act=F.relu)


def test_unknown_layers_are_named(tmp_path):
    net = Sequential(stage=Sequential(conv=Conv(4), act=jnp.sin))
    params, state = net.init(KEY, SPEC)
    with pytest.raises(ValueError, match=r"known in ONNX, got sin at 'stage/act'\. Replace it with surgery\.replace"):
        interop.onnx.export(net, params, state, SPEC, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


class Doubled(Conv):
    """A layer that derives from a known one, and does something else."""

    def apply(self, params, state, x, *, train, key=None):
        y, state = super().apply(params, state, x, train=train, key=key)
        return 2 * y, state


def test_what_derives_from_a_known_layer_is_not_taken_for_it(tmp_path):
    net = Sequential(conv=Doubled(4))
    params, state = net.init(KEY, SPEC)
    with pytest.raises(ValueError, match=r"got Doubled\(features=4\) at 'conv'"):
        interop.onnx.export(net, params, state, SPEC, tmp_path / "a.onnx")


def test_the_file_is_checked_on_demand(tmp_path, monkeypatch):
    params, state = drawn(NET, SPEC.shape[1:])
    for layout in ("NHWC", "NCHW"):
        interop.onnx.export(NET, params, state, SPEC, tmp_path / "a.onnx", check=True, layout=layout)
    net = Sequential(act=thrice)
    interop.onnx.register(thrice)(lambda site, x: site.op("Add", x, x))
    with pytest.raises(ValueError, match=r"export: expected logits up to 2\.\d+ as the net's, got errors of 0\.\d+"):
        interop.onnx.export(net, {}, {}, SPEC, tmp_path / "b.onnx", check=True)
    assert not (tmp_path / "b.onnx").exists()


def thrice(x):
    return 3 * x


@pytest.mark.parametrize(("name", "check"), [("onnx_ir", False), ("onnxruntime", True)])
def test_a_library_that_is_missing(name, check, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"export: expected {name} to be installed, got none. Install it with pip"):
        interop.onnx.export(NET, *NET.init(KEY, SPEC), SPEC, tmp_path / "a.onnx", check=check)


def test_bad_arguments(tmp_path):
    params, state = NET.init(KEY, SPEC)
    path = tmp_path / "a.onnx"
    half = jax.ShapeDtypeStruct(SPEC.shape, jnp.bfloat16)
    signals = jax.ShapeDtypeStruct((1, 6, 3), jnp.float32)
    wrong = [
        ((F.relu, {}, {}, SPEC, path), {}, TypeError, "expected a layer"),
        ((NET, None, state, SPEC, path), {}, TypeError, "params as nested dicts"),
        ((NET, params, 3, SPEC, path), {}, TypeError, "state as nested dicts"),
        ((NET, params, state, (1, 6, 6, 3), path), {}, TypeError, "spec as a"),
        ((NET, params, state, half, path), {}, TypeError, "a spec of float32, got bfloat16"),
        ((NET, params, state, signals, path), {}, ValueError, r"images \(N, H, W, C\) or vectors"),
        ((NET, params, state, SPEC, path), {"layout": "CHWN"}, ValueError, 'layout as "NHWC" or "NCHW", got'),
        ((NET, params, state, SPEC, path), {"check": 1}, TypeError, "check as a Python bool"),
        ((NET, params, state, SPEC, tmp_path / "none" / "a"), {}, OSError, "a file that can be written"),
    ]
    for arguments, options, error, said in wrong:
        with pytest.raises(error, match=f"export: expected .*{said}|export: .*{said}"):
            interop.onnx.export(*arguments, **options)
    with pytest.raises(ValueError, match="conv: expected images of 3 channels"):
        interop.onnx.export(NET, params, state, jax.ShapeDtypeStruct((1, 6, 6, 2), jnp.float32), path)
    with pytest.raises(TypeError, match="register: expected classes of layers, or functions"):
        interop.onnx.register()
    assert not list(tmp_path.iterdir())


def test_a_net_of_more_than_two_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxcnn.interop.onnx.exporting.LARGEST", 2**20 + 400)
    with pytest.raises(ValueError, match="export: expected a net of less than 2 GB, got 448 bytes"):
        interop.onnx.export(NET, *NET.init(KEY, SPEC), SPEC, tmp_path / "a.onnx")
