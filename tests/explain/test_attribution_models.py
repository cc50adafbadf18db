"""Explanations that look into the net, of every family of models."""

import functools
import inspect

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models
from jaxcnn.explain.attribution.deeplift import deeplift
from jaxcnn.explain.attribution.grad_cam import grad_cam
from jaxcnn.explain.attribution.guided_backprop import deconvnet, guided_backprop
from jaxcnn.explain.attribution.lrp import lrp
from jaxcnn.surgery import activations, paths

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALLEST = ["airbench94", "alexnet", "all_convolutional", "cifar_densenet100", "cifar_preact_resnet20", "cifar_resnet8"]
SMALLEST += [
    "cifar_vgg",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "lenet5",
    "mlp",
]
SMALLEST += ["mobilenet_v1", "mobilenet_v2", "network_in_network", "perceptron", "preact_resnet18", "resnet18"]
SMALLEST += ["resnext29_8x64d", "se_resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "vgg11", "wide_resnet16_4"]
PIXELWISE = {
    "unet": functools.partial(models.unet, width=4, depth=2),
    "fcn": functools.partial(models.fcn, backbone=models.vgg(11, width=8), hidden=16),
    "deeplab": functools.partial(
        models.deeplab, backbone=models.resnet(10, width=4, small_images=True), stride=2, rates=(1, 2), width=8
    ),
}


def _made(name):
    """Return a net, its weights and two images of the smallest size that it takes."""
    made = PIXELWISE.get(name, models._MODELS.get(name))
    small = {"small_images": True} if "small_images" in inspect.signature(made).parameters else {}
    net = made(num_classes=5, **small)
    for size in (8, 16, 32, 64):
        x = jax.random.uniform(jax.random.key(1), (2, size, size, 3))
        try:
            params, state = jax.jit(net.init)(jax.random.key(0), x)
            layers = {
                path: y.shape for path, y in jax.eval_shape(functools.partial(_inside, net), params, state, x).items()
            }
        except ValueError:
            continue
        maps = [path for path, shape in layers.items() if len(shape) == 4 and min(shape[1:3]) > 1]
        return net, params, state, x, maps[-1] if maps else None
    raise AssertionError("no size")


def _inside(net, params, state, x):
    return activations(net, params, state, x, [path for path in paths(net) if "/" not in path])[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALLEST, *PIXELWISE])
def test_every_family_is_explained(name):
    net, params, state, x, at = _made(name)
    # Of random nets that end in a rectifier some classes are dead.
    target = (lambda y: jnp.mean(y[..., 1], (-2, -1))) if name in PIXELWISE else (lambda y: jnp.max(y, -1))
    found = {method.__name__: method(net, params, state, x, target) for method in (guided_backprop, deconvnet)}
    # Of nothing at all a layer norm gives a thousand times any change, in every block of a ConvNeXt without biases.
    grey = 0.5 if name == "convnext_tiny" else 0.0
    found["deeplift"] = deeplift(net, params, state, x, target, baseline=grey)
    for rule in ("epsilon", "composite"):
        found[rule] = lrp(net, params, state, x, target, rule=rule)
    for method, maps in found.items():
        assert maps.shape == x.shape, method
        assert jnp.isfinite(maps).all(), method
        assert (jnp.abs(maps).max((1, 2, 3)) > 0).all(), method
    if at is not None:  # of one class the map may be zero everywhere
        classes = [target] if name in PIXELWISE else range(5)
        maps = sum(grad_cam(net, params, state, x, k, at=at) for k in classes)
        assert jnp.isfinite(maps).all()
        assert (maps.max((1, 2)) > 0).all()

    def score(x):
        outputs = net.apply(params, state, x, train=False)[0]
        return target(outputs)

    difference = score(x) - score(jnp.full_like(x, grey))
    error = jnp.abs(jnp.sum(found["deeplift"], (1, 2, 3)) - difference)
    assert (error <= 1e-3 * (jnp.abs(difference) + jnp.abs(score(x)))).all(), (error, difference)
