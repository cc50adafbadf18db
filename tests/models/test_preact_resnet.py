"""Pre-activation against the papers' counts, timm, and the identity that it is about."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import initialization, models, summarize, surgery
from jaxcnn.layers import Conv
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm

pytestmark = pytest.mark.usefixtures("quick_compilation")
PHOTOGRAPHS, CIFAR = (jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32) for size in (224, 32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        # By hand: the convolutions of resnet18, with 11,689,512, and other norms, of 2 parameters a map: none after the
        # stem and shortcuts, with 960 maps; in front of stages 2 to 4 of half as many, 448 less; a last one of 512.
        ("preact_resnet18", 11_689_512 - 2 * (960 + 448 - 512), 1_814_073_344),
        pytest.param("preact_resnet50", 25_549_352, 4_089_184_256, marks=pytest.mark.slow),  # timm's resnetv2_50
    ],
)
def test_costs(name, parameters, multiply_adds):
    found = summarize(models.create(name, 1000), PHOTOGRAPHS)
    assert (found.parameters, found.multiply_adds) == (parameters, multiply_adds)


@pytest.mark.parametrize(
    ("depth", "options", "parameters", "millions"),
    [  # He et al. 2016b, table 4, and Zagoruyko and Komodakis 2016: 1.7 million at both depths
        (20, {}, 272_282, 0.3),
        pytest.param(110, {}, 1_730_522, 1.7, marks=pytest.mark.slow),
        pytest.param(164, {"with_bottlenecks": True}, 1_703_258, 1.7, marks=pytest.mark.slow),
    ],
)
def test_parameters_on_cifar(depth, options, parameters, millions):
    net = models.cifar_preact_resnet(depth, **options)
    params, _ = jax.eval_shape(net.init, jax.random.key(0), CIFAR)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters
    assert round(parameters / 1e6, 1) == millions
    convolutions = [p for p in surgery.paths(net) if "conv" in p.rsplit("/", 1)[-1] and "shortcut" not in p]
    assert len(convolutions) + 1 == depth
    assert depth == 20 or net == models.create(f"cifar_preact_resnet{depth}")


def test_stages():
    rows = summarize(models.cifar_preact_resnet(8), CIFAR).rows
    assert {row.path: row.output[1:] for row in rows if "/" not in row.path} == {
        "stem": (32, 32, 16),
        "stage1": (32, 32, 16),
        "stage2": (16, 16, 32),
        "stage3": (8, 8, 64),
        "norm": (8, 8, 64),
        "act": (8, 8, 64),
        "pool": (64,),
        "head": (10,),
    }


def test_blocks():
    net = models.cifar_preact_resnet(20)
    plain, changing = net["stage2"]["block2"], net["stage2"]["block1"]
    assert list(plain.layers) == ["residual"]  # nothing after the addition
    assert plain["residual"].shortcut is None
    assert list(plain["residual"].branch.layers) == ["norm1", "act1", "conv1", "norm2", "act2", "conv2"]
    assert list(changing.layers) == ["norm1", "act1", "residual"]
    assert list(changing["residual"].branch.layers) == ["conv1", "norm2", "act2", "conv2"]
    assert changing["residual"].shortcut["conv"] == Conv(32, 1, stride=2, padding=0, use_bias=False)
    assert changing["residual"].branch["conv1"] == Conv(32, 3, stride=2, padding=1, use_bias=False)
    assert net["stage1"]["block1"]["residual"].shortcut is None
    # The paper's has bottlenecks with 64, 128 and 256 outputs.
    wide = models.cifar_preact_resnet(29, with_bottlenecks=True)
    assert [wide[f"stage{i}"]["block2"]["residual"].branch["conv3"].features for i in (1, 2, 3)] == [64, 128, 256]
    assert models.preact_resnet(18, small_images=True)["stem"]["conv"] == Conv(64, 3, padding=1, use_bias=False)


@pytest.mark.slow
def test_shortcuts_are_the_identity_from_end_to_end():
    # He et al. 2016b, equation 4: without branches a stage's blocks pass on what they are given, negative values too.
    net = models.cifar_preact_resnet(8, width=4)
    params, state = jax.jit(lambda key: net.init(key, CIFAR))(jax.random.key(0))
    params = initialization.zero_residuals(net, params)
    x = np.random.default_rng(0).standard_normal(CIFAR.shape).astype(np.float32)
    at = ["stem", "stage1"]
    found = jax.jit(lambda p, s, x: surgery.activations(net, p, s, x, at, train=False)[1])(params, state, x)
    np.testing.assert_array_equal(found["stem"], found["stage1"])
    assert (found["stage1"] < 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("depth", [8, pytest.param(56, marks=pytest.mark.slow)])
def test_signals_neither_vanish_nor_explode_at_the_start(depth):
    found = deviations(models.cifar_preact_resnet(depth, width=4))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (models.preact_resnet, {"depth": 20}, r"^preact_resnet: expected depth as one of \[10, .*\], got 20\."),
        (models.preact_resnet, {"depth": 18, "width": 0}, r"^preact_resnet: expected width as a positive int, got 0\."),
        (
            models.cifar_preact_resnet,
            {"depth": 21},
            r"^cifar_preact_resnet: expected a depth of 6 n \+ 2, got 21\. Try 8,",
        ),
        (
            models.cifar_preact_resnet,
            {"depth": 32, "with_bottlenecks": True},
            r"^cifar_preact_resnet: expected a depth of 9 n \+ 2, got 32\. Try 11,",
        ),
        (models.cifar_preact_resnet, {"depth": 20, "num_classes": 0}, r"^cifar_preact_resnet: expected num_classes"),
        (models.cifar_preact_resnet, {"depth": 6 * 10**8 + 2}, r"^cifar_preact_resnet: expected depth of at most"),
    ],
)
def test_bad_options(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("depth", "options"), [(10, {"basic": True, "bottle_ratio": 1.0, "channels": (64, 128, 256, 512)}), (14, {})]
)
def test_the_same_logits_as_the_smallest_of_timm(depth, options):
    layers = timm().layers
    theirs = timm().models.resnetv2.ResNetV2(
        [1, 1, 1, 1], num_classes=7, conv_layer=layers.create_conv2d, norm_layer=layers.BatchNormAct2d, **options
    )
    check_same_net(models.preact_resnet(depth, 7), theirs, layout="timm")


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 50])
def test_the_same_logits(depth):
    theirs = timm().create_model(f"resnetv2_{depth}", num_classes=7)
    check_same_net(models.preact_resnet(depth, 7), theirs, layout="timm")
