"""ConvNeXt: torchvision, which numbers stages and what lies between them together, and timm."""

from jaxcnn.interop.torch.names.rules import rules

__all__ = ["TIMM", "TORCHVISION"]

STAGES = 4


def _torchvision_stage(i: int) -> dict[str, str]:
    between, stage = f"features.{2 * i - 2}", f"features.{2 * i - 1}.{{j-1}}"
    return {
        f"stage{i}/downsample/norm": f"{between}.0",
        f"stage{i}/downsample/conv": f"{between}.1",
        f"stage{i}/block{{j}}/branch/depthwise": f"{stage}.block.0",
        f"stage{i}/block{{j}}/branch/norm": f"{stage}.block.2",
        f"stage{i}/block{{j}}/branch/expand": f"{stage}.block.3",
        f"stage{i}/block{{j}}/branch/project": f"{stage}.block.5",
        f"stage{i}/block{{j}}/branch/scale": f"{stage}.layer_scale[:, None, None]",
    }


TORCHVISION = rules(
    {
        "stem/conv": "features.0.0",
        "stem/norm": "features.0.1",
        **{path: name for i in range(1, STAGES + 1) for path, name in _torchvision_stage(i).items()},
        "norm": "classifier.0",
        "head": "classifier.2",
    }
)
TIMM = rules(
    {
        "stem/conv": "stem.0",
        "stem/norm": "stem.1",
        "stage{i}/downsample/norm": "stages.{i-1}.downsample.0",
        "stage{i}/downsample/conv": "stages.{i-1}.downsample.1",
        "stage{i}/block{j}/branch/depthwise": "stages.{i-1}.blocks.{j-1}.conv_dw",
        "stage{i}/block{j}/branch/norm": "stages.{i-1}.blocks.{j-1}.norm",
        "stage{i}/block{j}/branch/expand": "stages.{i-1}.blocks.{j-1}.mlp.fc1",
        "stage{i}/block{j}/branch/project": "stages.{i-1}.blocks.{j-1}.mlp.fc2",
        "stage{i}/block{j}/branch/scale": "stages.{i-1}.blocks.{j-1}.gamma[:]",
        "norm": "head.norm",
        "head": "head.fc",
    }
)
