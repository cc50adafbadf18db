"""ONNX: a net as a graph that other programs run, and such graphs as nets.

interop.onnx.export(net, params, state, spec, "net.onnx")
net, params, state = interop.onnx.load("net.onnx")
"""

from jaxcnn.interop.onnx import emitters as emitters
from jaxcnn.interop.onnx.exporting import export
from jaxcnn.interop.onnx.importing import load
from jaxcnn.interop.onnx.site import Site, register

__all__ = ["Site", "export", "load", "register"]
