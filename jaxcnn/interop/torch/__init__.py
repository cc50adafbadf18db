"""Weights of PyTorch nets, by the names of torchvision, timm or one's own; PyTorch itself is not needed.

params, state, report, notes = interop.torch.load(models.create("resnet50", num_classes=1000), "resnet50.safetensors")

Published weights are of normalised images; a net that normalises them itself, as the functions here expect of nets, is
`Sequential(normalize=Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), **net.layers)`, with the same weights.
"""

from jaxcnn.interop.torch.checkpoint import read
from jaxcnn.interop.torch.weights import Imported, load, load_state_dict, state_dict

__all__ = ["Imported", "load", "load_state_dict", "read", "state_dict"]
