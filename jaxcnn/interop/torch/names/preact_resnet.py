"""Pre-activation residual nets: timm's resnetv2_18, resnetv2_50 and so on, of which torchvision has none."""

from jaxcnn.interop.torch.names.rules import rules

__all__ = ["TIMM"]

TIMM = rules(
    {
        "stem/conv": "stem.conv",
        # Where the shape changes, the first norm comes before the branch.
        "stage{i}/block{j}/norm{k}": "stages.{i-1}.blocks.{j-1}.norm{k}",
        "stage{i}/block{j}/residual/branch/norm{k}": "stages.{i-1}.blocks.{j-1}.norm{k}",
        "stage{i}/block{j}/residual/branch/conv{k}": "stages.{i-1}.blocks.{j-1}.conv{k}",
        "stage{i}/block{j}/residual/shortcut/conv": "stages.{i-1}.blocks.{j-1}.downsample.conv",
        "norm": "norm",
        "head": "head.fc (conv)",
    }
)
