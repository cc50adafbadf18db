"""Understanding a trained net: what its layers hold, which pixels decide, which image a unit likes best.

    logits_fn = training.predictor(net, params, state)
    explain.integrated_gradients(logits_fn, x, target)                   # of any function of images
    explain.grad_cam(net, params, state, x, target, at="stage4")         # of a net
    inner, rest = explain.at_layer(net, params, state, x, "stage2")      # an inner layer in the place of pixels

Attribution is here; `inside` looks at what layers hold, `maximization` makes the images that units like best,
`dissection` finds the concepts that units detect, `probes` measure what layers hold, and `trust` says whether the
pictures mean anything.
"""

from jaxcnn.explain import dissection, inside, maximization, probes, trust
from jaxcnn.explain.attribution import (
    cam,
    completeness_error,
    deconvnet,
    deeplift,
    expected_gradients,
    grad_cam,
    grad_cam_plus_plus,
    gradient,
    gradient_x_input,
    guided_backprop,
    guided_grad_cam,
    hires_cam,
    integrated_gradients,
    layer_cam,
    lrp,
    occlusion,
    rise,
    score_cam,
    shapley_sampling,
    smoothgrad,
    smoothgrad_squared,
    vargrad,
    with_rectifier,
)
from jaxcnn.explain.inner import at_layer

__all__ = [
    "at_layer",
    "cam",
    "completeness_error",
    "deconvnet",
    "deeplift",
    "dissection",
    "expected_gradients",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_x_input",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "inside",
    "integrated_gradients",
    "layer_cam",
    "lrp",
    "maximization",
    "occlusion",
    "probes",
    "rise",
    "score_cam",
    "shapley_sampling",
    "smoothgrad",
    "smoothgrad_squared",
    "trust",
    "vargrad",
    "with_rectifier",
]
