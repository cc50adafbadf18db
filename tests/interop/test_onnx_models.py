"""Every architecture as ONNX and back: the checker passes, onnxruntime and the net that comes back give the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import interop, models
from jaxcnn.layers import to_json
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


def there_and_back(name, options, side, path):
    net = models.create(name, num_classes=5, **options)
    shape = (side, side, 1 if name in GREY else 3)
    params, state = drawn(net, shape)
    agree(net, params, state, shape, path)
    again, weights, stats = interop.onnx.load(path)
    images = np.random.default_rng(2).random((2, *shape), np.float32)
    wanted = applied(net, params, state, images)
    np.testing.assert_allclose(
        applied(again, weights, stats, images), wanted, rtol=1e-4, atol=1e-4 * float(np.abs(wanted).max())
    )
    assert to_json(again)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    there = sum(leaf.size for leaf in jax.tree.leaves(weights))
    assert 0.9 * count < there <= count + 100 * len(jax.tree.leaves(params)), "no weight twice"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SMALL]
)
def test_a_small_member_of_a_family(name, tmp_path):
    there_and_back(name, *SMALL[name], tmp_path / "a.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_model(name, tmp_path):
    there_and_back(name, {}, SIDES.get(name, 32), tmp_path / "a.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "fcn", "centernet"])
def test_maps_of_logits(name, tmp_path):
    small = models.resnet(10, width=4, small_images=True)
    net = {
        "unet": models.unet(3, width=4, depth=3),
        "fcn": models.fcn(3, hidden=8),
        "centernet": models.centernet(3, backbone=small, skips=2, width=8),
    }[name]
    shape = (32, 32, 3)
    params, state = drawn(net, shape)
    agree(net, params, state, shape, tmp_path / "a.onnx")
    again, weights, stats = interop.onnx.load(tmp_path / "a.onnx")
    images = jnp.ones((1, *shape)) * jnp.arange(3.0)
    wanted = applied(net, params, state, images)
    np.testing.assert_allclose(applied(again, weights, stats, images), wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_dilated_stages_a_pyramid_and_enlarging_are_written(tmp_path):
    backbone = models.resnet(10, width=4, small_images=True)
    net = models.deeplab(3, backbone=backbone, stride=2, rates=(1, 2), width=8)
    agree(net, *drawn(net, (16, 24, 3)), (16, 24, 3), tmp_path / "a.onnx")
