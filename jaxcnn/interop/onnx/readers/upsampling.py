"""Images enlarged."""

import numpy as np

from jaxcnn.interop.onnx.flow import Call, Flow, Part, read_by
from jaxcnn.layers.upsampling import Upsample

__all__: list[str] = []

CENTRED = ("half_pixel", "pytorch_half_pixel")  # one and the same for more than one pixel


@read_by("Resize")
def _resize(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    mode = call.option("mode", "nearest"), call.option("coordinate_transformation_mode", "half_pixel")
    call.need(mode in [("linear", c) for c in CENTRED], "mode linear between the centres of pixels", mode)
    plain = call.option("axes") is None and call.option("keep_aspect_ratio_policy", "stretch") == "stretch"
    call.need(plain, "numbers for all four axes", call.node.attributes)
    height, width, channels = flow.shape
    if call.given(3):
        scales = call.array(3, (4,)) / np.array([1, channels, height, width])
        scales[0] = 1  # the batch may be of any size
    else:
        scales = call.array(2, (4,))
    factors = scales[2:]
    whole = bool(np.isfinite(scales).all() and (factors >= 1).all() and (factors % 1 == 0).all())
    call.need(whole and set(scales[:2].tolist()) == {1}, "whole factors for height and width alone", scales)
    return [Part(Upsample((int(factors[0]), int(factors[1]))))], flow
