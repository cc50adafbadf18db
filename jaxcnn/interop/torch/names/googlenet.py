"""GoogLeNet with batch norm and its added classifiers: torchvision."""

from jaxcnn.interop.torch.names.rules import rules

__all__ = ["TORCHVISION"]

_MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
_CONVOLUTIONS = {
    "stem/conv{i}": "conv{i}",
    **{
        f"stage{{i}}/inception{module}/{ours}": f"inception{module}.{theirs}"
        for module in _MODULES
        for ours, theirs in {
            "branch1": "branch1",
            "branch2/reduce": "branch2.0",
            "branch2/expand": "branch2.1",
            "branch3/reduce": "branch3.0",
            "branch3/expand": "branch3.1",
            "branch4/project": "branch4.1",
        }.items()
    },
    "aux{i}": "aux{i}.conv",
}
TORCHVISION = rules(
    {
        **{f"{ours}/conv": f"{theirs}.conv" for ours, theirs in _CONVOLUTIONS.items()},
        **{f"{ours}/norm": f"{theirs}.bn" for ours, theirs in _CONVOLUTIONS.items()},
        "head": "fc",
        "aux{i}/hidden/dense": "aux{i}.fc1",
        "aux{i}/head": "aux{i}.fc2",
    }
)
