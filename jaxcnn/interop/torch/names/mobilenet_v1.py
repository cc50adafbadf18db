"""MobileNet: timm."""

from jaxcnn.interop.torch.names.rules import rules

__all__ = ["TIMM"]

TIMM = rules(
    {
        "stem/conv": "conv_stem",
        "stem/norm": "bn1",
        "stage{i}/block{j}/depthwise/conv": "blocks.{i-1}.{j-1}.conv_dw",
        "stage{i}/block{j}/depthwise/norm": "blocks.{i-1}.{j-1}.bn1",
        "stage{i}/block{j}/pointwise/conv": "blocks.{i-1}.{j-1}.conv_pw",
        "stage{i}/block{j}/pointwise/norm": "blocks.{i-1}.{j-1}.bn2",
        "head": "classifier",
    }
)
