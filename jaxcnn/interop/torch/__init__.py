"""Weights of PyTorch nets, by the names of torchvision, timm or one's own; PyTorch itself is not needed.

params, state, report, notes = interop.torch.load(models.create("resnet50"), "resnet50.safetensors")
"""

from jaxcnn.interop.torch.checkpoint import read
from jaxcnn.interop.torch.weights import Imported, load, load_state_dict, state_dict

__all__ = ["Imported", "load", "load_state_dict", "read", "state_dict"]
