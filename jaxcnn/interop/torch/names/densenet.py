"""Dense nets: torchvision and timm, which agree."""

from jaxcnn.interop.torch.names.rules import rules

__all__ = ["TORCHVISION"]

TORCHVISION = rules(
    {
        "stem/conv": "features.conv0",
        "stem/norm": "features.norm0",
        "stage{i}/layer{j}/new/conv{k}": "features.denseblock{i}.denselayer{j}.conv{k}",
        "stage{i}/layer{j}/new/norm{k}": "features.denseblock{i}.denselayer{j}.norm{k}",
        "transition{i}/conv": "features.transition{i}.conv",
        "transition{i}/norm": "features.transition{i}.norm",
        "norm": "features.norm5",
        "head": "classifier",
    }
)
