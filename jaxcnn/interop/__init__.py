"""Doors to other libraries and formats.

interop.safetensors.save("net.safetensors", net, params, state, spec=spec)
model = interop.safetensors.load("net.safetensors")
params, state, report, notes = interop.torch.load(net, "resnet18.pth")
variables = interop.flax.to_linen_variables(params, state)
interop.stablehlo.export(net, params, state, spec, "net.stablehlo")
interop.onnx.export(net, params, state, spec, "net.onnx")
net, params, state = interop.onnx.load("net.onnx")
interop.tensorflow.export(net, params, state, spec, "saved_model")
"""

from jaxcnn.interop import flax, onnx, safetensors, stablehlo, tensorflow, torch

__all__ = ["flax", "onnx", "safetensors", "stablehlo", "tensorflow", "torch"]
