"""SqueezeNet against the paper's table and torchvision."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize, surgery
from jaxcnn.models.squeezenet import squeezenet
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
SPEC = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)


@pytest.mark.slow
def test_costs():
    found = summarize(models.create("squeezenet1_1", 1000), SPEC)
    # torchvision's num_params and GFLOPS for 1000 classes
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (1_235_496, 0.349)


@pytest.mark.slow
def test_costs_and_modules_of_the_papers_table_1():
    found = summarize(squeezenet("1.0", 1000), SPEC)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (1_248_424, 0.819)  # torchvision's
    fires = [(row.output[1:], row.parameters) for row in found.rows if "/fire" in row.path and row.path.count("/") == 1]
    assert fires == [  # fire2 to fire9 before pruning; the paper's first maps have 55 pixels, of images of 227
        ((54, 54, 128), 11_920),
        ((54, 54, 128), 12_432),
        ((54, 54, 256), 45_344),
        ((27, 27, 256), 49_440),
        ((27, 27, 384), 104_880),
        ((27, 27, 384), 111_024),
        ((27, 27, 512), 188_992),
        ((13, 13, 512), 197_184),
    ]
    sizes = {row.path: (row.output[1:], row.parameters) for row in found.rows}
    assert sizes["stem/conv"] == ((109, 109, 96), 14_208)
    assert sizes["head"] == ((13, 13, 1000), 513_000)
    assert sizes["pool"] == ((1000,), 0)


def shapes(net, size, channels=3):
    """Return the shapes of what the net's own layers give."""

    def run(x):
        return surgery.activations(net, *net.init(jax.random.key(0), x), x, list(net.layers))[1]

    found = jax.eval_shape(run, jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32))
    return {path: value.shape[1:] for path, value in found.items()}


@pytest.mark.parametrize(("size", "after"), [(28, 7), (6, 1)])
def test_small_images(size, after):
    net = models.create("squeezenet1_0", small_images=True)
    assert (net["stem"]["conv"].kernel_size, net["stem"]["conv"].features) == ((3, 3), 96)
    found = shapes(net, size, channels=1)
    assert (found["stem"], found["stage3"]) == ((size, size, 96), (after, after, 512))


@pytest.mark.slow
def test_the_smallest_images():
    net = models.create("squeezenet1_0")
    assert shapes(net, 29)["pool"] == (10,)
    with pytest.raises(ValueError, match=r"^max_pool: expected an image of at least 3x3 pixels"):
        shapes(net, 28)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.create("squeezenet1_1", small_images=True), size=16)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^squeezenet: expected num_classes as a positive int, got 0\."),
        ({"dropout": 2}, r"^Dropout: expected a rate in \[0, 1\], got 2\."),
        ({"small_images": 1}, r"^squeezenet: expected small_images as a Python bool, got 1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.create("squeezenet1_1", **options)


@pytest.mark.parametrize("version", [1.1, "1_1"])
def test_bad_versions(version):
    message = rf"^squeezenet: expected version as one of \['1\.0', '1\.1'\], got {version!r}\. Choose"
    with pytest.raises(ValueError, match=message):
        squeezenet(version)


def test_the_last_convolution_is_the_head():
    assert squeezenet("1.0", 7)["head"].features == 7
    assert list(squeezenet("1.0").layers)[-4:] == ["dropout", "head", "act", "pool"]


@pytest.mark.parametrize("name", ["squeezenet1_1", pytest.param("squeezenet1_0", marks=pytest.mark.slow)])
def test_the_same_logits(name):
    # 66 pixels leave ragged edges, which pooling keeps.
    check_same_net(models.create(name, 1000), getattr(torchvision().models, name)(), size=66)
