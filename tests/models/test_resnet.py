"""Residual nets against the paper's table and torchvision."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import functional as F
from jaxcnn import models, summarize, surgery
from jaxcnn.layers import Conv, MaxPool
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
SPEC = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
slow = pytest.mark.slow
COSTS = [  # name, parameters, multiply-adds in G: torchvision's num_params and GFLOPS for 1000 classes
    ("resnet18", 11_689_512, 1.814),
    pytest.param("resnet34", 21_797_672, 3.664, marks=slow),
    pytest.param("resnet50", 25_557_032, 4.089, marks=slow),
    pytest.param("resnet101", 44_549_160, 7.801, marks=slow),
    pytest.param("resnet152", 60_192_808, 11.514, marks=slow),
    pytest.param("wide_resnet50_2", 68_883_240, 11.398, marks=slow),
    pytest.param("wide_resnet101_2", 126_886_696, 22.753, marks=slow),
]


@pytest.mark.parametrize(("name", "parameters", "giga"), COSTS)
def test_costs(name, parameters, giga):
    found = summarize(models.create(name, 1000), SPEC)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (parameters, giga)


def test_small_images_keep_their_size_in_front():
    net = models.create("resnet18", small_images=True)
    found = summarize(net, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    # By hand: 990 classes less, and a stem of 9 in the place of 49 taps.
    assert found.parameters == 11_689_512 - 990 * 513 - (49 - 9) * 3 * 64
    sizes = {row.path: row.output[1:] for row in found.rows if "/" not in row.path}
    assert sizes == {
        "stem": (32, 32, 64),
        "stage1": (32, 32, 64),
        "stage2": (16, 16, 128),
        "stage3": (8, 8, 256),
        "stage4": (4, 4, 512),
        "pool": (512,),
        "head": (10,),
    }


@pytest.mark.slow
def test_stages_are_those_of_the_papers_table_1():
    net = models.create("resnet50", 1000)
    assert [len(net[f"stage{i}"]) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    params, state = jax.eval_shape(net.init, jax.random.key(0), SPEC)
    shapes, x = {}, SPEC
    for name in net.layers:
        part = surgery.cut(net, name)[0][-1:]
        x, _ = jax.eval_shape(lambda p, s, x, part=part: part.apply(p, s, x, train=False), params, state, x)
        shapes[name] = x.shape[1:]
    assert shapes == {
        "stem": (56, 56, 64),
        "stage1": (56, 56, 256),
        "stage2": (28, 28, 512),
        "stage3": (14, 14, 1024),
        "stage4": (7, 7, 2048),
        "pool": (2048,),
        "head": (1000,),
    }


def test_blocks():
    net = models.create("resnet50")
    assert net["stem"]["conv"] == Conv(64, 7, stride=2, padding=3, use_bias=False)
    assert net["stem"]["pool"] == MaxPool(3, stride=2, padding=1)
    block = net["stage2"]["block1"]
    assert block["act"] is F.relu  # after the addition
    assert list(block["residual"].branch.layers) == [
        "conv1",
        "norm1",
        "act1",
        "conv2",
        "norm2",
        "act2",
        "conv3",
        "norm3",
    ]
    # The paper has the stride of bottlenecks in the first 1x1 convolution, torchvision in the 3x3 one.
    assert block["residual"].branch["conv1"] == Conv(128, 1, padding=0, use_bias=False)
    assert block["residual"].branch["conv2"] == Conv(128, 3, stride=2, padding=1, use_bias=False)
    assert block["residual"].shortcut["conv"] == Conv(512, 1, stride=2, padding=0, use_bias=False)
    shortcuts = [path for path in surgery.paths(net) if path.endswith("shortcut")]
    assert shortcuts == [f"stage{i}/block1/residual/shortcut" for i in (1, 2, 3, 4)]
    basic = [path for path in surgery.paths(models.create("resnet34")) if path.endswith("shortcut")]
    assert basic == [f"stage{i}/block1/residual/shortcut" for i in (2, 3, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("depth", [10, pytest.param(18, marks=slow)])
def test_signals_neither_vanish_nor_explode_at_the_start(depth):
    found = deviations(models.resnet(depth, width=8, small_images=True))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, r"^resnet: expected width as a positive int, got 0\."),
        ({"widening": 0.5}, r"^resnet: expected widening as a positive int, got 0\.5\."),
        ({"num_classes": 0}, r"^resnet: expected num_classes as a positive int, got 0\."),
        ({"small_images": 1}, r"^resnet: expected small_images as a Python bool, got 1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.create("resnet18", **options)


@pytest.mark.parametrize("depth", [20, "18", 18.0])
def test_bad_depths(depth):
    message = rf"^resnet: expected depth as one of \[10, 14, 18, .*, 152\], got {depth!r}\. Choose"
    with pytest.raises(ValueError, match=message):
        models.resnet(depth)


@pytest.mark.parametrize(("depth", "name"), [(10, "BasicBlock"), (14, "Bottleneck")])
def test_the_same_logits_as_the_smallest_of_torchvision(depth, name):
    theirs = torchvision().models.resnet
    check_same_net(models.resnet(depth, 7), theirs.ResNet(getattr(theirs, name), [1, 1, 1, 1], num_classes=7))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2"]
)
def test_the_same_logits_as_torchvision(name):
    check_same_net(models.create(name, 7), getattr(torchvision().models, name)(num_classes=7))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2"])
def test_the_same_logits_as_timm(name):
    check_same_net(models.create(name, 7), timm().create_model(name, num_classes=7), layout="timm")
