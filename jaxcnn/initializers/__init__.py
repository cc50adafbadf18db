"""Initial values of parameters: functions `(key, shape, dtype=float32) -> array`.

Kernels are (..., C_in, C_out). With fan_in = the inputs of one output (kh * kw * C_in for a convolution) and fan_out
likewise, an initializer of variance 1 / fan_in keeps the variance of activations through linear layers, 2 / fan_in
through layers followed by a ReLU; `gain` gives that factor for any nonlinearity.

What needs images or a whole net is in `jaxcnn.initialization`.
"""

from jaxcnn.initializers.fill import Constant, ones, zeros
from jaxcnn.initializers.filter_bank import FilterBank
from jaxcnn.initializers.identity import Dirac, bilinear, dirac
from jaxcnn.initializers.isometry import delta_orthogonal, orthogonal
from jaxcnn.initializers.kernel import Initializer as Initializer
from jaxcnn.initializers.variance import (
    Normal,
    Scaled,
    VarianceScaling,
    gain,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)

__all__ = [
    "Constant",
    "Dirac",
    "FilterBank",
    "Normal",
    "Scaled",
    "VarianceScaling",
    "bilinear",
    "delta_orthogonal",
    "dirac",
    "gain",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "zeros",
]
