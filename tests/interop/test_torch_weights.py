"""Weights from PyTorch and back: axes, names, reports; nets of torch.nn give the same numbers where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import interop, models, surgery
from jaxcnn.layers import (
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    MaxPool,
    Residual,
    Sequential,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(3)
SPEC = jax.ShapeDtypeStruct((1, 8, 12, 3), jnp.float32)
NET = Sequential(
    stem=Sequential(conv=Conv(6, padding=1), norm=BatchNorm(), act=F.relu),
    wide=DepthwiseConv(3, multiplier=2, padding=1),
    up=ConvTranspose(4, 2, stride=2, padding="VALID", groups=2),
    pool=MaxPool(2),
    flatten=Flatten(),
    dropout=Dropout(0.5),
    hidden=Dense(5),
    act=F.relu,
    head=Dense(3),
)


def weights_of(net, spec=SPEC):
    """Return weights and statistics, all positive, no two alike."""
    random = np.random.default_rng(3)
    draw = lambda leaf: random.uniform(0.1, 1.1, leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, jax.eval_shape(lambda: net.init(KEY, spec)))


def assert_same(trees, others):
    jax.tree.map(np.testing.assert_array_equal, trees, others)


def test_there_and_back():
    params, state = weights_of(NET)
    there = interop.torch.state_dict(NET, params, state, layout="paths", spec=SPEC)
    assert {name: array.shape for name, array in there.items()} == {
        "stem.conv.weight": (6, 3, 3, 3),
        "stem.conv.bias": (6,),
        "stem.norm.weight": (6,),
        "stem.norm.bias": (6,),
        "stem.norm.running_mean": (6,),
        "stem.norm.running_var": (6,),
        "wide.weight": (12, 1, 3, 3),
        "wide.bias": (12,),
        "up.weight": (12, 2, 2, 2),
        "up.bias": (4,),
        "hidden.weight": (5, 8 * 12 * 4),
        "hidden.bias": (5,),
        "head.weight": (3, 5),
        "head.bias": (3,),
    }
    back = interop.torch.load_state_dict(NET, there, spec=SPEC)
    assert_same((back.params, back.state), (params, state))
    assert len(back.report.matched) == len(there)
    assert back.notes == ("names of the net's own layers",)


def test_axes():
    kernel = np.arange(2 * 3 * 3 * 5.0).reshape(3, 5, 3, 2).astype(np.float32)  # kh 3, kw 5
    net = Sequential(conv=Conv(2, (3, 5), use_bias=False))
    there = interop.torch.state_dict(net, {"conv": {"kernel": kernel}}, {}, layout="paths")
    assert there["conv.weight"][1, 2, 0, 4] == kernel[0, 4, 2, 1]


def test_what_was_flattened_keeps_its_place():
    net = Sequential(flatten=Flatten(), head=Dense(1, use_bias=False))
    spec = jax.ShapeDtypeStruct((1, 2, 3, 4), jnp.float32)
    theirs = {"head.weight": np.arange(24, dtype=np.float32)[None]}  # of (channel, row, column)
    params, _, _, _ = interop.torch.load_state_dict(net, theirs, spec=spec)
    ours = params["head"]["kernel"].reshape(2, 3, 4)
    assert ours[1, 2, 3] == 23
    assert ours[0, 0, 1] == 6
    assert ours[1, 0, 0] == 3


def test_a_dense_layer_and_a_1x1_convolution_are_the_same():
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    for net, given in ((Conv(2, 1, use_bias=False), kernel), (Dense(2, use_bias=False), kernel[:, :, None, None])):
        spec = jax.ShapeDtypeStruct((1, 4, 4, 3), jnp.float32)
        loaded = interop.torch.load_state_dict(Sequential(a=net), {"a.weight": given}, spec=spec)
        np.testing.assert_array_equal(jnp.squeeze(loaded.params["a"]["kernel"]), kernel.T)


def test_wrappers_and_prefixes_are_taken_away_and_counters_left_out():
    params, state = weights_of(NET)
    there = interop.torch.state_dict(NET, params, state, layout="paths", spec=SPEC)
    there |= {"stem.norm.num_batches_tracked": np.array(7)}
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": array for name, array in there.items()}}
    back = interop.torch.load_state_dict(NET, wrapped, spec=SPEC)
    assert_same((back.params, back.state), (params, state))
    assert back.notes == (
        "taken from 'state_dict'",
        "'module.' taken away in front of every name",
        "1 counts of batches left out",
        "names of the net's own layers",
    )
    assert back.report.unexpected == ()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_halves_become_float32_and_it_is_said(library):
    there = {"a.weight": np.float16([[0.1, 0.2]]), "a.bias": np.float16([1])}
    if library == "torch":
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        there = {name: torch.from_numpy(array) for name, array in there.items()}
    net = Sequential(a=Dense(1))
    back = interop.torch.load_state_dict(net, there, spec=jax.ShapeDtypeStruct((1, 2), jnp.float32))
    assert back.params["a"]["kernel"].dtype == jnp.float32
    assert "float32 made of float16" in back.notes


def test_names_of_the_users_own():
    net = Sequential(one=Conv(2), two=Sequential(three=Dense(3)))
    params, state = weights_of(net)
    there = interop.torch.state_dict(net, params, state, layout="paths", spec=SPEC)
    given = {name.replace("one", "backbone.0").replace("two.three", "fc"): array for name, array in there.items()}
    back = interop.torch.load_state_dict(net, given, names={"one": "backbone.0", "two/three": "fc"}, spec=SPEC)
    assert_same((back.params, back.state), (params, state))


def test_without_a_spec_the_usual_sizes_are_tried():
    net = models.create("lenet5", classic=True)
    params, state = weights_of(net, jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32))
    there = interop.torch.state_dict(
        net, params, state, layout="paths", spec=jax.ShapeDtypeStruct((1, 32, 32, 1), "float32")
    )
    assert_same(interop.torch.load_state_dict(net, there)[:2], (params, state))


def test_another_number_of_classes_is_told():
    net = Sequential(one=Conv(2), pool=GlobalAvgPool(), head=Dense(3))
    there = interop.torch.state_dict(net, *weights_of(net), layout="paths", spec=SPEC)
    there["head.weight"], there["head.bias"] = np.zeros((7, 2), np.float32), np.zeros(7, np.float32)
    with pytest.raises(ValueError, match=r"Only the head is of another size: build the net with its num_classes, or"):
        interop.torch.load_state_dict(net, there, spec=SPEC)
    larger = Sequential(one=Conv(2, 5), pool=GlobalAvgPool(), head=Dense(7))
    with pytest.raises(ValueError, match=r"1 another shape: one/kernel .*\. Build the net that it was saved of"):
        interop.torch.load_state_dict(larger, there, spec=SPEC)


def test_what_was_loaded_is_told_without_the_weights():
    params, state = weights_of(NET)
    there = interop.torch.state_dict(NET, params, state, layout="paths", spec=SPEC)
    found = interop.torch.load_state_dict(NET, there, spec=SPEC)
    assert repr(found) == "Imported(14 arrays matched; names of the net's own layers)"
    assert repr(found.report) == "Loaded(14 arrays matched)"


def test_weights_of_another_net_are_not_written():
    params, state = weights_of(NET)
    for other, told in (
        ({**params, "more": {"bias": np.ones(3)}}, r"\[\] missing, \['more/bias'\] unexpected"),
        ({name: part for name, part in params.items() if name != "up"}, r"\['up/bias', 'up/kernel'\] missing, \[\] un"),
        (surgery.quantize(params), r".* of int8 kernels what surgery\.dequantize makes"),
    ):
        with pytest.raises(ValueError, match=rf"^state_dict: expected weights of this net, got others \({told}"):
            interop.torch.state_dict(NET, other, state, layout="paths", spec=SPEC)


@pytest.mark.slow
def test_another_net_is_refused_with_the_report():
    params, state = weights_of(NET)
    there = interop.torch.state_dict(NET, params, state, layout="paths", spec=SPEC)
    there["head.weight"] = np.zeros((7, 5), np.float32)
    del there["up.bias"]
    there["extra.weight"] = np.zeros(3, np.float32)
    message = (
        r"^load_state_dict: expected a state dict of this net, got 12 arrays matched; 1 missing: up/bias; "
        r"1 unexpected: extra\.weight; 1 another shape: head/kernel \(5, 3\) for head\.weight \(7, 5\)\. Build the net"
    )
    with pytest.raises(ValueError, match=message):
        interop.torch.load_state_dict(NET, there, spec=SPEC)
    back = interop.torch.load_state_dict(NET, there, spec=SPEC, key=KEY)
    fresh = NET.init(KEY, SPEC)[0]
    np.testing.assert_array_equal(back.params["head"]["kernel"], fresh["head"]["kernel"])
    np.testing.assert_array_equal(back.params["up"]["bias"], fresh["up"]["bias"])
    np.testing.assert_array_equal(back.params["hidden"]["kernel"], params["hidden"]["kernel"])
    assert back.report.missing == ("up/bias",)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, TypeError, r"^load_state_dict: expected a dict of arrays by name, got 3\."),
        ({}, TypeError, r"^load_state_dict: expected a dict of arrays by name, got \{\}\."),
        ({"a": "text"}, TypeError, r"^load_state_dict: expected a dict of arrays by name, got 'a', a str\."),
        ({"a.weight": np.zeros(3)}, ValueError, r"^load_state_dict: expected a state dict of this net, got 0 arrays"),
    ],
)
def test_bad_state_dicts(given, error, message):
    with pytest.raises(error, match=message):
        interop.torch.load_state_dict(NET, given, spec=SPEC)


def test_bad_names():
    with pytest.raises(
        ValueError, match=r"^load_state_dict: expected names of the net's own layers, got \['stem/konv'\]"
    ):
        interop.torch.load_state_dict(NET, {"a": np.zeros(3)}, names={"stem/konv": "a"}, spec=SPEC)
    with pytest.raises(TypeError, match=r"^load_state_dict: expected names as a dict .*, got 3\. Pass \{"):
        interop.torch.load_state_dict(NET, {"a": np.zeros(3)}, names=3, spec=SPEC)
    with pytest.raises(ValueError, match=r"^state_dict: expected a net that torchvision has, got other layers"):
        interop.torch.state_dict(NET, *weights_of(NET), spec=SPEC)
    with pytest.raises(ValueError, match=r"^state_dict: expected layout as one of \['paths', .*got 'tf'"):
        interop.torch.state_dict(NET, *weights_of(NET), layout="tf", spec=SPEC)


def test_agrees_with_torch_nn():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn
    theirs = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 12, 3, padding=2, dilation=2, groups=3),
        nn.ConvTranspose2d(12, 4, 4, stride=2, padding=1, groups=2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(4 * 6 * 4, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    ).eval()
    ours = Sequential(
        **{
            "0": Conv(6, stride=2, padding=1, use_bias=False),
            "1": BatchNorm(),
            "2": F.relu,
            "3": Conv(12, padding=2, dilation=2, groups=3),
            "4": ConvTranspose(4, 4, stride=2, padding=1, groups=2),
            "5": MaxPool(2),
            "6": Flatten(),
            "7": Dropout(0.5),
            "8": Dense(7),
            "9": F.relu,
            "10": Dense(3),
        }
    )
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 0.9)
    spec = jax.ShapeDtypeStruct((1, 12, 8, 3), jnp.float32)
    params, state, report, _ = interop.torch.load_state_dict(ours, theirs.state_dict(), spec=spec)
    assert not report.unexpected
    x = np.asarray(jax.random.uniform(KEY, (2, 12, 8, 3)))
    y, _ = ours.apply(params, state, x, train=False)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-4)
    back = interop.torch.state_dict(ours, params, state, layout="paths", spec=spec)
    for name, array in back.items():
        np.testing.assert_array_equal(array, theirs.state_dict()[name].numpy())


@pytest.mark.parametrize("name", ["mobilenet_v1", "convnext_tiny"])
def test_names_in_any_order_say_how_many_channels_images_have(name):
    options = {"width": 8, "blocks": (1, 1, 1, 1)} if name == "convnext_tiny" else {"width": 0.25}
    net = models.create(name, num_classes=3, **options)
    for channels in (3, 1):
        weights = weights_of(net, jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32))
        there = interop.torch.state_dict(net, *weights, layout="paths")
        back = interop.torch.load_state_dict(net, dict(sorted(there.items())))
        assert_same(back[:2], weights)


@pytest.mark.parametrize("flatten", [Flatten(), F.flatten])
def test_what_lies_between_flattening_and_a_dense_layer_keeps_its_place(flatten):
    net = Sequential(flatten=flatten, norm=BatchNorm(), act=F.relu, hidden=Dense(24), head=Dense(2))
    spec = jax.ShapeDtypeStruct((1, 2, 3, 4), jnp.float32)
    params, state = weights_of(net, spec)
    there = interop.torch.state_dict(net, params, state, layout="paths", spec=spec)
    as_theirs = lambda array: array.reshape(2, 3, 4).transpose(2, 0, 1).ravel()  # noqa: E731
    np.testing.assert_array_equal(there["norm.weight"], as_theirs(params["norm"]["scale"]))
    np.testing.assert_array_equal(there["norm.running_var"], as_theirs(state["norm"].var))
    np.testing.assert_array_equal(there["hidden.weight"][5], as_theirs(params["hidden"]["kernel"][:, 5]))
    np.testing.assert_array_equal(there["hidden.bias"], params["hidden"]["bias"])
    assert_same(interop.torch.load_state_dict(net, there, spec=spec)[:2], (params, state))


def test_flattened_maps_in_branches_are_refused():
    branch = Sequential(flatten=Flatten(), dense=Dense(24))
    for net in (
        Sequential(flatten=Flatten(), more=Residual(Dense(24))),
        Sequential(a=Concat(flat=Flatten(), dense=branch)),
    ):
        spec = jax.ShapeDtypeStruct((1, 2, 3, 4), jnp.float32)
        with pytest.raises(ValueError, match=r"^interop\.torch: expected branches of images, got flattened ones in "):
            interop.torch.state_dict(net, *weights_of(net, spec), layout="paths", spec=spec)


def test_the_size_of_images_is_that_which_fits_the_weights():
    net = models.create("lenet5", num_classes=2)
    spec = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    weights = weights_of(net, spec)
    there = interop.torch.state_dict(net, *weights, layout="paths")
    for name, array in interop.torch.state_dict(net, *weights, layout="paths", spec=spec).items():
        np.testing.assert_array_equal(there[name], array)
    weights = weights_of(net, jax.ShapeDtypeStruct((1, 36, 36, 1), jnp.float32))
    with pytest.raises(ValueError, match=r"^state_dict: expected images of a size that fits the weights, got \(1, 224"):
        interop.torch.state_dict(net, *weights, layout="paths")


def test_several_prefixes_are_taken_away_in_any_order():
    params, state = weights_of(NET)
    there = interop.torch.state_dict(NET, params, state, layout="paths", spec=SPEC)
    given = {f"_orig_mod.module.{name}": array for name, array in there.items()}
    assert_same(interop.torch.load_state_dict(NET, given, spec=SPEC)[:2], (params, state))


def test_a_layer_may_be_called_as_what_is_put_in_front():
    net = Sequential(model=NET)
    weights = weights_of(net)
    there = interop.torch.state_dict(net, *weights, layout="paths", spec=SPEC)
    for front in ("", "module."):
        given = {front + name: array for name, array in there.items()}
        assert_same(interop.torch.load_state_dict(net, given, spec=SPEC)[:2], weights)


def test_a_deeper_nets_weights_are_refused():
    deep = Sequential(**NET.layers, more=Dense(4))
    given = interop.torch.state_dict(deep, *weights_of(deep), layout="paths", spec=SPEC)
    with pytest.raises(
        ValueError,
        match=r"^load_state_dict: expected a state dict of this net, got .* 2 unexpected: more.*take what is no weight",
    ):
        interop.torch.load_state_dict(NET, given, spec=SPEC)
    found = interop.torch.load_state_dict(NET, given, spec=SPEC, key=KEY)
    assert set(found.report.unexpected) == {"more.weight", "more.bias"}
    aux = {name.replace("more", "aux1"): array for name, array in given.items()}
    assert len(interop.torch.load_state_dict(NET, aux, spec=SPEC).report.unexpected) == 2


@pytest.mark.parametrize("name", ["mlp", "perceptron"])
def test_nets_without_convolutions_are_no_librarys(name):
    net = models.create(name, num_classes=3)
    weights = weights_of(net, jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32))
    for layout in ("torchvision", "timm"):
        with pytest.raises(ValueError, match=rf"^state_dict: expected a net that {layout} has, got other layers"):
            interop.torch.state_dict(net, *weights, layout=layout)
    interop.torch.state_dict(net, *weights, layout="paths")


def test_residual_parts_have_names_too():
    net = Sequential(block=Residual(Sequential(conv=Conv(3)), Conv(3, 1)), pool=GlobalAvgPool())
    params, state = weights_of(net)
    there = interop.torch.state_dict(net, params, state, layout="paths")
    assert {"block.branch.conv.weight", "block.shortcut.weight"} <= set(there)


def test_arrays_come_in_the_order_of_the_layers():
    # So that what is first says how many channels an image has.
    net = Sequential(z=Conv(4), b=Sequential(y=Conv(5), a=Conv(6)), pool=GlobalAvgPool(), a=Dense(2))
    params, state = weights_of(net, jax.ShapeDtypeStruct((1, 8, 8, 2), jnp.float32))
    there = interop.torch.state_dict(net, params, state, layout="paths")
    assert [name for name in there if name.endswith("weight")] == ["z.weight", "b.y.weight", "b.a.weight", "a.weight"]
    assert_same(interop.torch.load_state_dict(net, there)[:2], (params, state))
