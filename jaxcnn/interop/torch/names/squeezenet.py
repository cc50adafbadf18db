"""SqueezeNet 1.0 and 1.1, which number the same modules differently."""

import re
from collections.abc import Sequence

from jaxcnn.interop.torch.names.rules import joined, rules

__all__ = ["TORCHVISION"]

_CONVOLUTIONS = {"squeeze": "squeeze", "expand/expand1x1": "expand1x1", "expand/expand3x3": "expand3x3"}


def _fires(paths: Sequence[str]) -> dict[str, str]:
    """Return names for the convolutions of fire modules, which are numbered with what stands between them."""
    modules = [path for path in paths if re.fullmatch(r"(stem|stage\d+)/\w+", path)]
    return {
        f"{module}/{ours}/conv": f"features.{number}.{theirs}"
        for number, module in enumerate(modules)
        if f"{module}/squeeze" in paths
        for ours, theirs in _CONVOLUTIONS.items()
    }


TORCHVISION = joined(_fires, rules({"stem/conv": "features.0", "head": "classifier.1"}))
