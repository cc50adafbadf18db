"""Images enlarged, and what is known of a whole image at each of its pixels."""

from jaxcnn import functional as F
from jaxcnn.interop.onnx.site import Site, Value, register
from jaxcnn.layers.upsampling import Upsample
from jaxcnn.models.deeplab import image_mean

__all__: list[str] = []


@register(Upsample)
def _upsample(site: Site, x: Value) -> Value:
    scales = site.array("scales", [1.0, 1.0, *map(float, site.layer.factor)])
    return site.op("Resize", x, None, scales, mode="linear", coordinate_transformation_mode="half_pixel")


@register(F.upsample)
def _function(site: Site, x: Value) -> Value:
    return site.through(Upsample(), x)


@register(image_mean)
def _image_mean(site: Site, x: Value) -> Value:
    return site.op("Expand", site.op("GlobalAveragePool", x), site.op("Shape", x))
