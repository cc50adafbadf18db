"""DeepLab v3 on a residual net: torchvision."""

from collections.abc import Sequence

from jaxcnn.interop.torch.names import resnet
from jaxcnn.interop.torch.names.rules import joined, rules

__all__ = ["TORCHVISION"]


def _backbone(paths: Sequence[str]) -> dict[str, str]:
    return {path: f"backbone.{name}" for path, name in resnet.TORCHVISION(paths).items()}


_PYRAMID = "classifier.0.convs"
TORCHVISION = joined(
    rules(
        {
            "pyramid/point/conv": f"{_PYRAMID}.0.0",
            "pyramid/point/norm": f"{_PYRAMID}.0.1",
            "pyramid/dilated{i}/conv": f"{_PYRAMID}.{{i}}.0",
            "pyramid/dilated{i}/norm": f"{_PYRAMID}.{{i}}.1",
            "pyramid/image/conv": f"{_PYRAMID}.4.1",
            "pyramid/image/norm": f"{_PYRAMID}.4.2",
            "project/conv": "classifier.0.project.0",
            "project/norm": "classifier.0.project.1",
            "refine/conv": "classifier.1",
            "refine/norm": "classifier.2",
            "head": "classifier.4",
        }
    ),
    _backbone,
)
