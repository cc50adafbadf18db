"""VGG against the paper's table, torchvision and timm."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize, surgery
from jaxcnn.layers import BatchNorm
from jaxcnn.models.vgg import vgg
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
SPEC = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
COSTS = [  # name, parameters, multiply-adds in G: torchvision's num_params and GFLOPS for 1000 classes
    ("vgg11", 132_863_336, 7.609),
    ("vgg11_bn", 132_868_840, 7.609),
    ("vgg13", 133_047_848, 11.308),
    ("vgg13_bn", 133_053_736, 11.308),
    ("vgg16", 138_357_544, 15.47),
    ("vgg16_bn", 138_365_992, 15.47),
    ("vgg19", 143_667_240, 19.632),
    ("vgg19_bn", 143_678_248, 19.632),
]


@pytest.mark.parametrize(("name", "parameters", "giga"), COSTS)
def test_costs(name, parameters, giga):
    found = summarize(models.create(name, 1000), SPEC)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (parameters, giga)


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_layers_with_weights_are_as_many_as_the_name_says(depth):
    found = [path for path in surgery.paths(vgg(depth)) if "/conv" in path or path.endswith("dense") or path == "head"]
    assert len(found) == depth


def test_stages_are_those_of_the_papers_table_1():
    net = vgg(16, 1000, batch_norm=True)
    found = summarize(net, SPEC).rows
    assert {row.path: row.output[1:] for row in found if "/" not in row.path} == {
        "stage1": (112, 112, 64),
        "stage2": (56, 56, 128),
        "stage3": (28, 28, 256),
        "stage4": (14, 14, 512),
        "stage5": (7, 7, 512),
        "pool": (7, 7, 512),
        "flatten": (25_088,),
        "hidden1": (4096,),
        "hidden2": (4096,),
        "head": (1000,),
    }
    assert list(net["stage1"].layers) == ["conv1", "norm1", "act1", "conv2", "norm2", "act2", "pool"]
    assert net["stage1"]["norm1"] == BatchNorm()
    assert list(vgg(11)["stage1"].layers) == ["conv1", "act1", "pool"]


def test_the_smallest_images():
    net = vgg(11, width=4, hidden=8)
    assert summarize(net, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)).rows[-1].output == (1, 10)
    with pytest.raises(ValueError, match=r"^max_pool: expected an image of at least 2x2 pixels"):
        summarize(net, jax.ShapeDtypeStruct((1, 31, 31, 3), jnp.float32))


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(vgg(19, width=8, hidden=64), size=32)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^vgg: expected num_classes as a positive int, got 0\."),
        ({"width": 0}, r"^vgg: expected width as a positive int, got 0\."),
        ({"hidden": -1}, r"^vgg: expected hidden as a positive int, got -1\."),
        ({"dropout": -0.1}, r"^Dropout: expected a rate in \[0, 1\], got -0\.1\."),
        ({"batch_norm": None}, r"^vgg: expected batch_norm as a Python bool, got None\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.create("vgg11", **options)


@pytest.mark.parametrize("depth", [12, "16", 16.0])
def test_bad_depths(depth):
    with pytest.raises(ValueError, match=rf"^vgg: expected depth as one of \[11, 13, 16, 19\], got {depth!r}\. Choose"):
        vgg(depth)


def plan(width):
    return [width, "M", 2 * width, "M", *(4 * width,) * 2, "M", *(8 * width,) * 2, "M", *(8 * width,) * 2, "M"]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_same_logits_as_a_narrow_one_of_torchvision(batch_norm):
    library = torchvision().models.vgg
    nn = pytest.importorskip("torch").nn
    theirs = library.VGG(library.make_layers(plan(8), batch_norm), num_classes=7)
    for i, shape in ((0, (64 * 49, 24)), (3, (24, 24)), (6, (24, 7))):
        theirs.classifier[i] = nn.Linear(*shape)
    # 96 pixels become 3x3, which differ: at 32 it would not be seen in which order they are flattened.
    check_same_net(vgg(11, 7, batch_norm=batch_norm, width=8, hidden=24), theirs, size=96)


def test_the_same_logits_as_a_narrow_one_of_timm():
    norm = pytest.importorskip("torch").nn.BatchNorm2d
    theirs = timm().models.vgg.VGG(plan(4), 7, norm_layer=norm)
    # Its dense layers are convolutions.
    check_same_net(vgg(11, 7, batch_norm=True, width=4), theirs, layout="timm", size=96)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _, _ in COSTS])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_same_logits(library, name):
    theirs = timm().create_model(name) if library == "timm" else getattr(torchvision().models, name)()
    check_same_net(models.create(name, 1000), theirs, layout=library, size=64)
