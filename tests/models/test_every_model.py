"""What every model promises: it is a value, it trains a step in bfloat16, and its step lowers for CUDA and TPU."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import models
from jaxcnn.layers import from_json, to_json
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.segmentation import pixel_loss
from jaxcnn.training import TrainState, make_train_step, sgd

pytestmark = pytest.mark.usefixtures("quick_compilation")

# Small forms of those that take seconds; the others, as they are, take up to a minute each.
QUICK = {"mlp": {}, "lenet5": {}, "cifar_vgg": {"width": 4}, "cifar_resnet8": {"width": 4}}
SIZES = (32, 64, 96, 224, 299)  # pixels, the first that a net takes
PIXELWISE = {
    "deeplab": models.deeplab(5, backbone=models.resnet(10, width=4, small_images=True), rates=(1, 2), width=8),
    "fcn": models.fcn(5, backbone=models.vgg(11, width=8), hidden=16),
    "unet": models.unet(5, width=4, depth=1, batch_norm=True),
}
FIRST = ("lenet5", "cifar_resnet8")  # without and with batch norm; the others are slow tests
CASES = [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in (*models.names(), *PIXELWISE)]


def spec_of(net):
    """Return the smallest of the usual images that the net takes."""
    for size in SIZES:
        spec = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        try:
            jax.eval_shape(lambda x: net.apply(*net.init(jax.random.key(0), x), x, train=False), spec)
        except ValueError:
            continue
        return spec
    raise AssertionError("no size")


@pytest.mark.parametrize("name", models.names())
def test_a_model_is_a_value(name):
    net = models.create(name, num_classes=7)
    assert net == models.create(name, num_classes=7)
    assert hash(net) == hash(models.create(name, num_classes=7))
    assert net != models.create(name, num_classes=8)
    assert from_json(to_json(net)) == net


@pytest.mark.parametrize("name", CASES)
def test_a_step_in_bfloat16_is_finite_and_lowers_for_cuda_and_tpu(name):
    net = PIXELWISE.get(name) or models.create(name, num_classes=5, **QUICK.get(name, {}))
    assert not isinstance(net, Auxiliary)  # unless asked for
    spec = spec_of(net)
    optimizer = sgd(0.01)
    loss = pixel_loss() if name in PIXELWISE else None
    step = jax.jit(make_train_step(net, optimizer, loss, dtype=jnp.bfloat16))
    images = np.random.default_rng(0).integers(0, 256, (2, *spec.shape[1:]), np.uint8)
    batch = {"image": images, "label": np.array([0, 4], np.int32), "mask": images[..., 0] % 5}
    state = jax.eval_shape(lambda key: TrainState.create(net, optimizer, key, spec), jax.random.key(0))
    exported = jax.export.export(step, platforms=["cuda", "tpu"])(state, batch)
    assert exported.platforms == ("cuda", "tpu")
    before = jax.jit(lambda key: TrainState.create(net, optimizer, key, spec))(jax.random.key(0))
    after, measured = step(before, batch)
    assert np.isfinite(measured["loss"])
    assert measured["skipped"] == 0
    for old, new in zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True):
        assert new.dtype == old.dtype == jnp.float32
    moved = [
        not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before.params, after.params)), strict=True)
    ]
    assert np.mean(moved) > 0.5
