"""Functions of every number by itself."""

from jaxcnn import functional as F
from jaxcnn.interop.onnx.site import Emitter, Site, Value, register
from jaxcnn.layers.activation import PReLU
from jaxcnn.models.convnext import exact_gelu

__all__: list[str] = []


def _node(kind: str, **attributes: float | str) -> Emitter:
    return lambda site, x: site.op(kind, x, **attributes)


def _clip(least: float, most: float) -> Emitter:
    return lambda site, x: site.op("Clip", x, site.array("least", least), site.array("most", most))


# The rewritten rectifiers differ in their gradients alone.
register(F.relu, F.guided_relu, F.deconv_relu)(_node("Relu"))
register(F.relu6)(_clip(0.0, 6.0))
register(F.leaky_relu)(_node("LeakyRelu", alpha=0.1))
register(F.elu)(_node("Elu", alpha=1.0))
register(F.selu)(_node("Selu"))
register(F.gelu)(_node("Gelu", approximate="tanh"))
register(exact_gelu)(_node("Gelu", approximate="none"))
register(F.sigmoid)(_node("Sigmoid"))
register(F.hard_sigmoid)(_node("HardSigmoid", alpha=1 / 6, beta=0.5))
register(F.hard_silu)(_node("HardSwish"))
register(F.tanh)(_node("Tanh"))
register(F.hard_tanh)(_clip(-1.0, 1.0))
register(F.softplus)(_node("Softplus"))


@register(F.silu)
def _silu(site: Site, x: Value) -> Value:
    return site.op("Mul", x, site.op("Sigmoid", x))


@register(F.squared_relu)
def _squared_relu(site: Site, x: Value) -> Value:
    y = site.op("Relu", x)
    return site.op("Mul", y, y)


@register(PReLU)
def _prelu(site: Site, x: Value) -> Value:
    return site.op("PRelu", x, site.along_channels("negative_slope", site.parameter("negative_slope"), x))
