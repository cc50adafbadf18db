"""Every architecture as ONNX and back: the checker passes, onnxruntime and the net that comes back give the same."""

import jax
import numpy as np
import pytest

from jaxcnn import interop, models
from jaxcnn.layers import Auxiliary, to_json
from tests.interop.test_onnx_export import agree, applied, drawn

pytest.importorskip("onnx_ir")
pytest.importorskip("onnxruntime")

# Small members of the families that differ most in ONNX; what is missing here is in the slow test of all.
SMALL = {
    "cifar_resnet8": ({"width": 4}, 8),
    "convnext_tiny": ({"width": 8, "blocks": (1, 2), "small_images": True}, 8),
    "efficientnet_b0": ({"width": 0.25, "depth": 0.1, "small_images": True}, 32),
    "lenet5": ({}, 28),
    "mlp": ({"units": (8, 8), "batch_norm": True}, 6),
    "perceptron": ({}, 6),
}
LONG = ("convnext_tiny", "efficientnet_b0")
SIDES = {"alexnet": 63, "googlenet": 47, "googlenet_bn": 47, "inception_v3": 75, "lenet5": 28}
GREY = ("lenet5", "mlp", "perceptron")


def there_and_back(net, shape, path):
    params, state = drawn(net, shape)
    agree(net, params, state, shape, path)
    again, weights, stats = interop.onnx.load(path)
    main = net.main if isinstance(net, Auxiliary) else net
    images = np.random.default_rng(2).random((2, *shape), np.float32)
    wanted = applied(main, params, state, images)
    np.testing.assert_allclose(
        applied(again, weights, stats, images), wanted, rtol=1e-4, atol=1e-4 * float(np.abs(wanted).max())
    )
    assert to_json(again)
    own = {name: params[name] for name in main.layers if name in params}
    count = sum(leaf.size for leaf in jax.tree.leaves(own))
    there = sum(leaf.size for leaf in jax.tree.leaves(weights))
    assert 0.9 * count < there <= count + 100 * len(jax.tree.leaves(own)), "no weight twice"


def model_there_and_back(name, options, side, path):
    net = models.create(name, num_classes=5, **options)
    there_and_back(net, (side, side, 1 if name in GREY else 3), path)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SMALL]
)
def test_a_small_member_of_a_family(name, tmp_path):
    model_there_and_back(name, *SMALL[name], tmp_path / "a.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_model(name, tmp_path):
    model_there_and_back(name, {}, SIDES.get(name, 32), tmp_path / "a.onnx")


HEADS = {"googlenet": 79, "googlenet_bn": 79, "inception_v3": 299}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_a_model_without_its_heads(name, tmp_path):
    model_there_and_back(name, {"auxiliary": True}, HEADS[name], tmp_path / "a.onnx")


def small_resnet():
    return models.resnet(10, width=4, small_images=True)


MAPS = {
    "centernet": lambda: models.centernet(3, backbone=small_resnet(), skips=2, width=8),
    "deeplab": lambda: models.deeplab(3, backbone=small_resnet(), rates=(1, 2), width=8),
    "fcn": lambda: models.fcn(3, hidden=8),
    "unet": lambda: models.unet(3, width=4, depth=3),
}


@pytest.mark.parametrize(
    "name", [name if name == "deeplab" else pytest.param(name, marks=pytest.mark.slow) for name in MAPS]
)
def test_maps_of_logits(name, tmp_path):
    there_and_back(MAPS[name](), (32, 32, 3), tmp_path / "a.onnx")
