"""Graphs of ONNX as nets: those that jaxcnn wrote, those of PyTorch, and such as other programs write, by hand."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import interop
from jaxcnn.layers import (
    AdaptiveAvgPool,
    Auxiliary,
    AvgPool,
    BatchNorm,
    ChannelChunk,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    Gate,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LayerScale,
    LocalResponseNorm,
    LpPool,
    MaxPool,
    Normalize,
    PReLU,
    Residual,
    Sequential,
    SpatialPyramidPool,
    Upsample,
    to_json,
)
from jaxcnn.models.cifar_resnet import PadShortcut
from jaxcnn.models.deeplab import image_mean
from tests.interop.onnx_bytes import GOOD, KERNEL, graph, model, node, plain, tensor, value
from tests.interop.test_onnx_export import EACH, applied, drawn

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 4, 4, 2)).astype(np.float32)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * float(np.abs(wanted).max()))


def loaded(data: bytes, path, images=IMAGES):
    """Return the net of a file, having compared it with onnxruntime on images, channels first for the graph."""
    path.write_bytes(data)
    net, params, state = interop.onnx.load(path)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    first = images if images.ndim == 2 else np.moveaxis(images, -1, 1)
    wanted = session.run(None, {session.get_inputs()[0].name: first})[0]
    found = applied(net, params, state, images)
    close(np.moveaxis(found, -1, 1) if found.ndim == 4 else found, wanted)
    return net, params, state


# What export wrote


def comes_back(net, shape, path):
    params, state = drawn(net, shape)
    interop.onnx.export(net, params, state, jax.ShapeDtypeStruct((1, *shape), jnp.float32), path)
    again, weights, stats = interop.onnx.load(path)
    images = np.random.default_rng(1).random((2, *shape), np.float32)
    close(applied(again, weights, stats, images), applied(net, params, state, images))
    assert to_json(again)
    return again


LAYERS = {
    "activations": (Sequential(*EACH), (4, 4, 2)),
    "norms": (
        Sequential(
            BatchNorm(eps=0.1), GroupNorm(2, eps=0.2), InstanceNorm(eps=0.3), LayerNorm(), LocalResponseNorm(size=3)
        ),
        (4, 4, 6),
    ),
    "norms of vectors": (Sequential(Flatten(), BatchNorm(), LayerNorm(eps=0.1)), (4, 4, 2)),
    "convolutions": (
        Sequential(
            Conv(4, (2, 3), stride=(1, 2), padding=((1, 0), (0, 1)), groups=2),
            ConvTranspose(6, (3, 2), stride=2, padding=((1, 0), (0, 1)), output_padding=1, groups=2, use_bias=False),
            ConvTranspose(2, 3, stride=2),
        ),
        (5, 6, 2),
    ),
    "pools": (
        Sequential(
            MaxPool(3, stride=1, padding=1),
            AvgPool(3, stride=1, padding=1),
            AvgPool(3, stride=2, padding="SAME", count_include_pad=False),
            LpPool(2, stride=1),
            AdaptiveAvgPool((4, 7)),
            GlobalMaxPool(),
        ),
        (9, 8, 2),
    ),
    "channels": (
        Sequential(
            Normalize((0.1, 0.2, 0.3, 0.4), 0.5),
            PReLU(),
            PReLU(shared=True),
            LayerScale(),
            ChannelShuffle(),
            ChannelChunk(1),
            PadShortcut(5, 2),
            Dense(3),
            Normalize(0.1, 2.0),
        ),
        (4, 5, 4),
    ),
    "branches": (
        Sequential(
            Residual(Sequential(Conv(2), F.relu)),
            Residual(Conv(3), shortcut=Conv(3, 1)),
            Concat(a=Sequential(), b=Conv(2), c=Concat(d=F.relu, e=F.tanh)),
            Gate(Sequential(GlobalAvgPool(), Dense(11), F.sigmoid)),
            Gate(Sequential(Conv(1), F.sigmoid)),
            Gate(Sequential(AdaptiveAvgPool(1), Conv(11, 1), F.sigmoid)),
        ),
        (4, 4, 2),
    ),
    "the image's mean beside its pixels, enlarged": (
        Sequential(
            Concat(point=Conv(3, 1), image=Sequential(image_mean, Conv(2, 1))),
            Upsample((2, 3)),
            SpatialPyramidPool((1, 2, 4)),
        ),
        (4, 4, 2),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back(name, tmp_path):
    comes_back(*LAYERS[name], tmp_path / "a.onnx")


def test_what_comes_back_is_the_net(tmp_path):
    net = Sequential(
        conv1=Conv(3, padding=1),
        relu1=F.relu,
        residual1=Residual(branch=Sequential(conv1=Conv(3, 1, padding=0), silu1=F.silu)),
        globalavgpool1=GlobalAvgPool(),
        dense1=Dense(4),
    )
    again = comes_back(net, (4, 4, 2), tmp_path / "a.onnx")
    shown = repr(net).replace("padding=1", "padding=((1, 1), (1, 1))").replace("padding=0", "padding=((0, 0), (0, 0))")
    assert repr(again) == shown


def test_heads_are_left_out(tmp_path):
    net = Auxiliary(
        {"side": "conv1"},
        conv1=Conv(3),
        relu1=F.relu,
        globalavgpool1=GlobalAvgPool(),
        dense1=Dense(4),
        side=Sequential(GlobalMaxPool(), Dense(5)),
    )
    params, state = drawn(net, (4, 4, 2))
    interop.onnx.export(net, params, state, jax.ShapeDtypeStruct((1, 4, 4, 2), jnp.float32), tmp_path / "a.onnx")
    again, weights, stats = interop.onnx.load(tmp_path / "a.onnx")
    assert list(again.layers) == list(net.main.layers)
    close(applied(again, weights, stats, IMAGES), applied(net, params, state, IMAGES)["logits"])


def test_what_other_outputs_need_may_be_anything(tmp_path):
    nodes = [node("Relu", "x", "logits"), node("Tanh", "k", "t"), node("Softmax", "x", "s"), node("Add", "s t", "z")]
    (tmp_path / "a.onnx").write_bytes(plain(nodes, [tensor("k", KERNEL)], outputs=("z", "logits")))
    net, _, _ = interop.onnx.load(tmp_path / "a.onnx")
    assert list(net.layers) == ["relu1"]


# What others write


def test_flattening_with_channels_first(tmp_path):
    net, params, _ = loaded(GOOD, tmp_path / "a.onnx")
    assert list(net.layers) == ["conv1", "relu1", "maxpool1", "flatten1", "dense1"]
    assert params["conv1"]["kernel"].shape == (3, 3, 2, 3)
    assert params["dense1"]["kernel"].shape == (12, 5)
    np.testing.assert_allclose(params["conv1"]["kernel"][1, 2, 0], KERNEL[:, 0, 1, 2], rtol=1e-6)


def norm_arrays(count):
    names = ("scale", "bias", "mean", "var")
    return [tensor(name, RNG.uniform(0.5, 1.5, count)) for name in names]


NORM = "scale bias mean var"
BY_HAND = {
    "a norm of what was flattened": (
        [
            node("Flatten", "x", "f"),
            node("BatchNormalization", f"f {NORM}", "n"),
            node("PRelu", "n s", "q"),
            node("MatMul", "q w", "m"),
            node("Add", "m b", "y"),
        ],
        [
            *norm_arrays(32),
            tensor("s", RNG.normal(size=32)),
            tensor("w", RNG.normal(size=(32, 5))),
            tensor("b", np.ones(5)),
        ],
        ["flatten1", "batchnorm1", "prelu1", "dense1"],
    ),
    "a convolution with zeros put around": (
        [node("Pad", "x p", "z"), node("Conv", "z k", "c", strides=[2, 2]), node("Add", "c b", "y")],
        [tensor("p", np.array([0, 0, 0, 1, 0, 0, 1, 0])), tensor("k", KERNEL), tensor("b", np.ones((3, 1, 1)))],
        ["conv1"],
    ),
    "a convolution padded by itself": (
        [node("Conv", "x k", "y", strides=[2, 2], auto_pad="SAME_UPPER")],
        [tensor("k", KERNEL)],
        ["conv1"],
    ),
    "a pool whose last window reaches over the edge": (
        [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        [],
        ["maxpool1"],
    ),
    "means by a reduction": (
        [node("ReduceMean", "x a", "m", keepdims=0), node("Gemm", "m w b", "y")],
        [tensor("a", np.array([2, 3])), tensor("w", RNG.normal(size=(2, 5))), tensor("b", np.ones(5))],
        ["globalavgpool1", "dense1"],
    ),
    "means, then a reshape": (
        [node("GlobalAveragePool", "x", "m"), node("Reshape", "m s", "y")],
        [tensor("s", np.array([-1, 2]))],
        ["globalavgpool1"],
    ),
    "means, then a squeeze": (
        [node("GlobalAveragePool", "x", "m"), node("Squeeze", "m s", "y")],
        [tensor("s", np.array([2, 3]))],
        ["globalavgpool1"],
    ),
    "a reshape of unknown batch": (
        [node("Reshape", "x s", "f"), node("Gemm", "f w", "y")],
        [tensor("s", np.array([-1, 32])), tensor("w", RNG.normal(size=(32, 5)))],
        ["flatten1", "dense1"],
    ),
    "excitation as vectors": (
        [
            node("GlobalAveragePool", "x", "m"),
            node("Flatten", "m", "f"),
            node("Gemm", "f w", "g"),
            node("HardSigmoid", "g", "h", alpha=1 / 6),
            node("Reshape", "h s", "e"),
            node("Mul", "x e", "y"),
        ],
        [tensor("w", RNG.normal(size=(2, 2))), tensor("s", np.array([0, 2, 1, 1]))],
        ["gate1"],
    ),
    "parts of the channels": (
        [
            node("Split", "x", "a b", axis=1, num_outputs=2),
            node("Conv", "b k", "c"),
            node("Concat", "c a", "y", axis=1),
        ],
        [tensor("k", RNG.normal(size=(3, 1, 1, 1)))],
        ["concat1"],
    ),
    "channels last within": (
        [
            node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
            node("LayerNormalization", "t scale bias", "n", axis=-1),
            node("MatMul", "n w", "m"),
            node("Gelu", "m", "g"),
            node("Transpose", "g", "y", perm=[0, 3, 1, 2]),
        ],
        [*norm_arrays(2)[:2], tensor("w", RNG.normal(size=(2, 5)))],
        ["layernorm1", "dense1", "exact_gelu1"],
    ),
    "constants and other names": (
        [
            node("Constant", "", "k", value=tensor("", KERNEL)),
            node("Identity", "k", "kk"),
            node("Identity", "x", "xx"),
            node("Conv", "xx kk", "c"),
            node("Constant", "", "six", value_float=6.0),
            node("Constant", "", "none", value_float=0.0),
            node("Clip", "c none six", "y"),
        ],
        [],
        ["conv1", "relu61"],
    ),
    "a leaky rectifier, dropout, swish": (
        [
            node("LeakyRelu", "x", "l"),
            node("Dropout", "l", "d"),
            node("Sigmoid", "d", "s"),
            node("Mul", "d s", "y"),
        ],
        [],
        ["prelu1", "dropout1", "silu1"],
    ),
    "enlarged to a size": (
        [node("Resize", "x - - n", "y", mode="linear", coordinate_transformation_mode="pytorch_half_pixel")],
        [tensor("n", np.array([3, 2, 8, 12]))],
        ["upsample1"],
    ),
    "the mean, by a reduction, at every pixel": (
        [node("ReduceMean", "x a", "m"), node("Shape", "x", "s"), node("Expand", "m s", "y")],
        [tensor("a", np.array([2, 3]))],
        ["image_mean1"],
    ),
    "a value twice": ([node("Mul", "x x", "s"), node("Add", "s s", "y")], [], ["gate1", "residual1"]),
    "nothing": ([node("Identity", "x", "y")], [], []),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_graphs_by_hand(name, tmp_path):
    nodes, arrays, layers = BY_HAND[name]
    net, _, _ = loaded(plain(nodes, arrays), tmp_path / "a.onnx")
    assert list(net.layers) == layers


def test_older_opsets(tmp_path):
    """Before opset 11 and 13 some options were attributes, and before IR 4 arrays were inputs as well."""
    nodes = [
        node("Clip", "x", "c", min=0.0, max=6.0),
        node("Dropout", "c", "d", ratio=0.3),
        node("Pad", "d", "p", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant"),
        node("Conv", "p k", "v"),
        node("ReduceMean", "v", "m", axes=[2, 3], keepdims=1),
        node("Squeeze", "m", "y", axes=[2, 3]),
    ]
    inputs = [value("x", ("batch", 2, 4, 4)), value("k", KERNEL.shape)]
    data = model(graph(nodes, [tensor("k", KERNEL)], inputs=inputs), opset=9)
    net, _, _ = loaded(data, tmp_path / "a.onnx")
    assert list(net.layers) == ["relu61", "dropout1", "conv1", "globalavgpool1"]
    assert net["dropout1"] == Dropout(np.float32(0.3))


@pytest.mark.parametrize(
    ("op", "options"),
    [("Elu", {"alpha": 2.0}), ("HardSigmoid", {}), ("Selu", {"alpha": 2.0}), ("Selu", {"gamma": 1.0})],
)
def test_functions_with_other_numbers_are_refused(op, options, tmp_path):
    (tmp_path / "a.onnx").write_bytes(plain([node(op, "x", "y", **options)]))
    with pytest.raises(ValueError, match=rf"^load: expected .*{op}.*alpha"):
        interop.onnx.load(tmp_path / "a.onnx")


@pytest.mark.parametrize(("kind", "dtype"), [(10, np.float16), (11, np.float64), (16, jnp.bfloat16)])
def test_weights_of_other_precision(kind, dtype, tmp_path):
    kernel = KERNEL.astype(dtype)
    data = plain([node("Conv", "x k", "y")], [tensor("k", axes=kernel.shape, kind=kind, raw=kernel.tobytes())])
    (tmp_path / "a.onnx").write_bytes(data)
    _, params, _ = interop.onnx.load(tmp_path / "a.onnx")
    assert params["conv1"]["kernel"].dtype == jnp.float32
    np.testing.assert_array_equal(params["conv1"]["kernel"], kernel.astype(np.float32).transpose(2, 3, 1, 0))


def test_arrays_that_are_no_bytes(tmp_path):
    """Files that onnx.helper makes hold numbers as lists."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    arrays = [
        helper.make_tensor("k", kind, KERNEL.shape, KERNEL.ravel()),
        helper.make_tensor("s", onnx.TensorProto.INT64, (2,), [-1, 12]),
    ]
    ends = [helper.make_tensor_value_info(n, kind, s) for n, s in (("x", ("n", 2, 4, 4)), ("y", ("n", 12)))]
    nodes = [helper.make_node("Conv", ["x", "k"], ["c"]), helper.make_node("Reshape", ["c", "s"], ["f"])]
    nodes.append(helper.make_node("Gemm", ["f", "w"], ["y"], transB=1))
    arrays.append(helper.make_tensor("w", kind, (12, 12), RNG.normal(size=144)))
    made = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], arrays),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    loaded(made.SerializeToString(), tmp_path / "a.onnx")


@pytest.mark.parametrize("name", ["lenet", "residual"])
def test_what_pytorch_exports(name, tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)

        def forward(self, x):
            return nn.functional.relu(x + self.norm(self.conv(x)))

    net = {
        "lenet": nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.ReLU6()
        ),
        "residual": nn.Sequential(
            Block(), nn.MaxPool2d(3, 2, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 5)
        ),
    }[name].eval()
    path = tmp_path / "a.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(net, (torch.ones(1, 2, 4, 4),), str(path), dynamo=False, input_names=["x"])
        except ImportError as missing:  # parts of PyTorch that are installed on their own
            pytest.skip(str(missing))
    found, params, state = interop.onnx.load(path)
    wanted = net(torch.tensor(np.moveaxis(IMAGES, -1, 1).copy())).detach().numpy()
    close(applied(found, params, state, IMAGES), wanted)


def test_bad_arguments(tmp_path):
    with pytest.raises(OSError, match=r"load: expected a file, got .*\. Pass one that is there\."):
        interop.onnx.load(tmp_path / "none.onnx")
    with pytest.raises(TypeError, match="load: expected the path of a file"):
        interop.onnx.load(3)  # type: ignore[arg-type]
