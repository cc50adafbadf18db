"""Guided backpropagation where Grad-CAM looks."""

import jax

from jaxcnn.explain.attribution.grad_cam import grad_cam
from jaxcnn.explain.attribution.guided_backprop import guided_backprop
from jaxcnn.explain.score import Target
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["guided_grad_cam"]


def guided_grad_cam(net: Layer, params: Params, state: State, x: jax.Array, target: Target, *, at: str) -> jax.Array:
    """Return guided backpropagation times Grad-CAM's map, brought to x's height and width.

    Args:
        net, params, state, x, target: as for `guided_backprop`.
        at: the path of the layer whose map is taken; as for `grad_cam`.

    Returns:
        A map of x's shape and dtype.

    Raises:
        ValueError: an unknown layer (the message lists some), one without a map, a target out of range, a
            map that is not finite.
        TypeError: x is not floating.

    Source: Selvaraju et al. 2017, section 3.3; agrees with `captum.attr.GuidedGradCam` with
    `interpolate_mode="bilinear"`.
    """
    where = grad_cam(net, params, state, x, target, at=at, upsample=True)
    return guided_backprop(net, params, state, x, target) * where[..., None]
