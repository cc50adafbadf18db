"""EfficientNet: torchvision, and timm, where it is a MobileNet v2 with squeeze and excitation."""

from jaxcnn.interop.torch.names import mobilenet_v2
from jaxcnn.interop.torch.names.rules import joined, rules

__all__ = ["TIMM", "TORCHVISION"]

TORCHVISION = rules(
    {
        "stem/conv": "features.0.0",
        "stem/norm": "features.0.1",
        **mobilenet_v2.in_blocks(
            "stage1/block{j}",
            "features.1.{j-1}.block",
            {
                "depthwise/conv": "0.0",
                "depthwise/norm": "0.1",
                "se/branch/reduce": "1.fc1",
                "se/branch/expand": "1.fc2",
                "project/conv": "2.0",
                "project/norm": "2.1",
            },
        ),
        **mobilenet_v2.in_blocks(
            "stage{i}/block{j}",
            "features.{i}.{j-1}.block",
            {
                "expand/conv": "0.0",
                "expand/norm": "0.1",
                "depthwise/conv": "1.0",
                "depthwise/norm": "1.1",
                "se/branch/reduce": "2.fc1",
                "se/branch/expand": "2.fc2",
                "project/conv": "3.0",
                "project/norm": "3.1",
            },
        ),
        "last/conv": "features.8.0",
        "last/norm": "features.8.1",
        "head": "classifier.1",
    }
)
_GATES = {"se/branch/reduce": "se.conv_reduce", "se/branch/expand": "se.conv_expand"}
TIMM = joined(mobilenet_v2.TIMM, rules(mobilenet_v2.in_blocks("stage{i}/block{j}", "blocks.{i-1}.{j-1}", _GATES)))
