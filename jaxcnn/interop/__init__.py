"""Doors to other libraries and formats.

interop.safetensors.save_weights("net.safetensors", net, params, state)
params, state = interop.safetensors.load_weights("net.safetensors", net, spec)
"""

from jaxcnn.interop import safetensors

__all__ = ["safetensors"]
