"""DeepLab against torchvision, and what it makes of its backbone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import models, surgery, transfer
from jaxcnn.layers import Conv, Dropout, Sequential, Upsample, from_json, to_json
from jaxcnn.models.deeplab import image_mean
from tests.models.measures import deviations, output
from tests.models.parity import check_same_net
from tests.torch_nets import torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = functools.partial(
    models.deeplab, 5, backbone=models.resnet(10, width=4, small_images=True), rates=(1, 2), width=8
)


def spec(size, batch=1):
    return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)


@pytest.mark.slow
def test_costs():
    # torchvision: deeplabv3_resnet50 has num_params 42,004,074, with a second classifier, of 1024 maps, for training.
    second = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    params, _ = jax.eval_shape(models.deeplab().init, jax.random.key(0), spec(64))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 42_004_074 - second


def test_it_is_a_classifier_and_a_pyramid():
    net = models.deeplab()
    classifier = models.resnet(50)
    assert list(net.layers) == [*list(classifier.layers)[:-2], "pyramid", "project", "refine", "head", "up"]
    assert net[:5] == surgery.dilate(classifier[:5], ["stage3", "stage4"])
    parts = net["pyramid"].children()
    assert list(parts) == ["point", "dilated1", "dilated2", "dilated3", "image"]
    assert parts["dilated2"]["conv"] == Conv(256, padding=24, dilation=24, use_bias=False)
    assert parts["point"]["conv"] == parts["image"]["conv"] == Conv(256, 1, use_bias=False, padding=0)
    assert net["project"]["dropout"] == Dropout(0.5)
    assert net["up"] == Upsample(8)


def test_the_image_s_mean_is_everywhere():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    mean = image_mean(x)
    assert mean.shape == x.shape
    np.testing.assert_allclose(mean[:, 1, 2], x.mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert not jnp.ptp(mean, (1, 2)).any()


@pytest.mark.parametrize(("dilated", "stride"), [(0, 8), (1, 4), (3, 1)])
def test_classes_for_every_pixel(dilated, stride):
    net = SMALL(dilated=dilated)
    assert net["up"] == Upsample(stride)
    assert output(net, 16) == (1, 16, 16, 5)


@pytest.mark.parametrize(
    ("backbone", "stride"),
    [
        (models.vgg(11, width=4), 8),
        # Of its last two stages the first has a stride.
        pytest.param(models.mobilenet_v2(width=0.25), 16, marks=pytest.mark.slow),
        (models.convnext(width=8, blocks=(1, 1, 1, 1)), 8),
        (models.cifar_densenet(10, growth=4), 1),
        (models.cifar_resnet(8, width=4), 1),
        pytest.param(models.se_resnet(18, width=4), 8, marks=pytest.mark.slow),
        pytest.param(models.shufflenet_v2(width=0.5), 8, marks=pytest.mark.slow),
    ],
    ids=["vgg", "mobilenet_v2", "convnext", "densenet", "cifar_resnet", "se_resnet", "shufflenet_v2"],
)
def test_other_backbones(backbone, stride):
    net = SMALL(backbone=backbone)
    assert net["up"] == Upsample(stride)
    assert output(net, 64) == (1, 64, 64, 5)


def test_a_classifier_s_weights_fit():
    def filled(net, value):
        shapes = jax.eval_shape(lambda key: net.init(key, spec(16)), jax.random.key(0))
        return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), shapes)

    classifier = models.resnet(10, width=4, small_images=True)
    (params, _), found = transfer.load(filled(SMALL(), 0), filled(classifier, 1))
    assert {name.split("/")[1] for name in found.missing} == {"pyramid", "project", "refine"}
    assert {name.split("/")[1] for name in (*found.unexpected, *found.another_shape)} == {"head"}
    assert (params["stage4"]["block1"]["residual"]["branch"]["conv2"]["kernel"] == 1).all()


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(SMALL(), size=16)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


def test_it_is_a_value():
    assert from_json(to_json(SMALL())) == SMALL()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"num_classes as a positive int, got 0\."),
        ({"backbone": "resnet50"}, r"backbone as a Sequential, got 'resnet50'\. Pass"),
        ({"dilated": 4}, r"dilated, fewer than the 4 stages \['stage1', .*\], got 4\. 2 are usual\."),
        ({"backbone": Sequential(Conv(3))}, r'a backbone with parts called "stage1", "stage2", got '),
        ({"rates": (6, 0)}, r"rates as positive ints, got \(6, 0\)\. Pass"),
        ({"rates": 6}, r"rates as positive ints, got 6\."),
        ({"width": 0}, r"width as a positive int, got 0\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=rf"^deeplab: expected {message}"):
        models.deeplab(**options)


def their_net(blocks, classes, rates):
    """Return torchvision's net on a ResNet of bottlenecks, without the second classifier, of four stages or two."""
    vision = torchvision().models
    resnet = vision.resnet
    stages = len(blocks)
    dilated = [stages == 2, stages == 4, stages == 4]
    body = resnet.ResNet(resnet.Bottleneck, [*blocks, 1, 1][:4], replace_stride_with_dilation=dilated)
    layers = vision._utils.IntermediateLayerGetter(body, {f"layer{stages}": "out"})
    deeplab = vision.segmentation.deeplabv3
    net = deeplab.DeepLabV3(layers, deeplab.DeepLabHead(128 * 2**stages, classes, rates), None)
    whole = net.forward
    net.forward = lambda x: whole(x)["out"]
    return net


@pytest.mark.parametrize(
    ("backbone", "blocks", "rates"),
    [
        (models.resnet(14)[:3], (1, 1), (1, 2, 3)),
        pytest.param(models.resnet(50), (3, 4, 6, 3), (12, 24, 36), marks=pytest.mark.slow),
    ],
    ids=["two stages", "resnet50"],
)
def test_the_same_logits_as_torchvision(backbone, blocks, rates):
    net = models.deeplab(7, backbone=backbone, dilated=len(blocks) // 2, rates=rates)
    channels_first = lambda logits: jnp.moveaxis(logits, -1, 1)  # noqa: E731
    check_same_net(net, their_net(blocks, 7, rates), size=40, read=channels_first)
