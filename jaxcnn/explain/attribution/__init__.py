"""Attribution: how much each pixel has to do with a score.

Functions of images -> logits, whatever they are made of; a map has the shape of the images:

    logits_fn = training.predictor(net, params, state)
    explain.integrated_gradients(logits_fn, x, target)

`explain.at_layer` makes one of a layer's units, so that they take those in the place of pixels.
"""

from jaxcnn.explain.attribution.cam import cam
from jaxcnn.explain.attribution.deeplift import deeplift
from jaxcnn.explain.attribution.expected_gradients import expected_gradients
from jaxcnn.explain.attribution.grad_cam import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from jaxcnn.explain.attribution.gradient import gradient, gradient_x_input
from jaxcnn.explain.attribution.guided_backprop import deconvnet, guided_backprop, with_rectifier
from jaxcnn.explain.attribution.guided_grad_cam import guided_grad_cam
from jaxcnn.explain.attribution.integrated_gradients import completeness_error, integrated_gradients
from jaxcnn.explain.attribution.lrp import lrp
from jaxcnn.explain.attribution.occlusion import occlusion
from jaxcnn.explain.attribution.rise import rise
from jaxcnn.explain.attribution.score_cam import score_cam
from jaxcnn.explain.attribution.shapley import shapley_sampling
from jaxcnn.explain.attribution.smoothgrad import smoothgrad, smoothgrad_squared, vargrad

__all__ = [
    "cam",
    "completeness_error",
    "deconvnet",
    "deeplift",
    "expected_gradients",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_x_input",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "integrated_gradients",
    "layer_cam",
    "lrp",
    "occlusion",
    "rise",
    "score_cam",
    "shapley_sampling",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
    "with_rectifier",
]
