"""Residual nets: torchvision and timm (which agree), and the CIFAR nets whose published weights are akamaster's."""

from jaxcnn.interop.torch.names.rules import joined, rules

__all__ = ["AKAMASTER", "TIMM", "TORCHVISION"]

_BODY = rules(
    {
        "stem/conv": "conv1",
        "stem/norm": "bn1",
        "stage{i}/block{j}/residual/branch/conv{k}": "layer{i}.{j-1}.conv{k}",
        "stage{i}/block{j}/residual/branch/norm{k}": "layer{i}.{j-1}.bn{k}",
    }
)
# Wide nets and ResNeXt are the same net with other numbers of maps.
TORCHVISION = joined(
    _BODY,
    rules(
        {
            "stage{i}/block{j}/residual/shortcut/conv": "layer{i}.{j-1}.downsample.0",
            "stage{i}/block{j}/residual/shortcut/norm": "layer{i}.{j-1}.downsample.1",
            "head": "fc",
        }
    ),
)
TIMM = joined(
    TORCHVISION,
    rules(
        {
            "stage{i}/block{j}/residual/branch/se/branch/reduce": "layer{i}.{j-1}.se.fc1",
            "stage{i}/block{j}/residual/branch/se/branch/expand": "layer{i}.{j-1}.se.fc2",
        }
    ),
)
AKAMASTER = joined(
    _BODY,
    rules(
        {
            "stage{i}/block{j}/residual/shortcut/conv": "layer{i}.{j-1}.shortcut.0",
            "stage{i}/block{j}/residual/shortcut/norm": "layer{i}.{j-1}.shortcut.1",
            "head": "linear",
        }
    ),
)
