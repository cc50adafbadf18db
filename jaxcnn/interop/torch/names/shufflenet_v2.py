"""ShuffleNet v2: torchvision, whose stages have the paper's numbers, 2 to 4."""

from jaxcnn.interop.torch.names.rules import rules

__all__ = ["TORCHVISION"]

_BRANCHES = {
    "left/depthwise/conv": "branch1.0",
    "left/depthwise/norm": "branch1.1",
    "left/pointwise/conv": "branch1.2",
    "left/pointwise/norm": "branch1.3",
    "right/pointwise1/conv": "branch2.0",
    "right/pointwise1/norm": "branch2.1",
    "right/depthwise/conv": "branch2.3",
    "right/depthwise/norm": "branch2.4",
    "right/pointwise2/conv": "branch2.5",
    "right/pointwise2/norm": "branch2.6",
}
TORCHVISION = rules(
    {
        "stem/conv": "conv1.0",
        "stem/norm": "conv1.1",
        **{
            f"stage{{i}}/block{{j}}/branches/{ours}": f"stage{{i+1}}.{{j-1}}.{name}" for ours, name in _BRANCHES.items()
        },
        "last/conv": "conv5.0",
        "last/norm": "conv5.1",
        "head": "fc",
    }
)
