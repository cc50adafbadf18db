"""VGG, with and without batch norm; the dense layers are convolutions in timm."""

from jaxcnn.interop.torch.names.rules import joined, numbered, rules

__all__ = ["TIMM", "TORCHVISION"]

_FEATURES = numbered("features", r"stage\d+/((conv|norm|act)\d+|pool)")
TORCHVISION = joined(
    _FEATURES, rules({"hidden1/dense": "classifier.0", "hidden2/dense": "classifier.3", "head": "classifier.6"})
)
TIMM = joined(_FEATURES, rules({"hidden{i}/dense": "pre_logits.fc{i} (conv)", "head": "head.fc"}))
