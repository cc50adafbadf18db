"""Operations on nets as values: cut, replace, read and edit inner activations, dilate, fold, quantize, slide.

A path names a layer at any depth: "stage2/block1/act". All of it is pure.
"""

from jaxcnn.surgery.dilation import dilate
from jaxcnn.surgery.folding import fold_batch_norm
from jaxcnn.surgery.frozen import freeze
from jaxcnn.surgery.fully_convolutional import fully_convolutional
from jaxcnn.surgery.parts import cut, replace
from jaxcnn.surgery.quantization import Quantized, dequantize, quantize
from jaxcnn.surgery.rematerialized import rematerialize
from jaxcnn.surgery.taps import activations, edit
from jaxcnn.surgery.tree import paths

__all__ = [
    "Quantized",
    "activations",
    "cut",
    "dequantize",
    "dilate",
    "edit",
    "fold_batch_norm",
    "freeze",
    "fully_convolutional",
    "paths",
    "quantize",
    "rematerialize",
    "replace",
]
