"""MobileNet v2: torchvision, which numbers the blocks of all stages together, and timm.

Both have other names in blocks whose maps are not made more first: those of the first stage.
"""

import re
from collections.abc import Mapping, Sequence

from jaxcnn.interop.torch.names.rules import Layout, rules

__all__ = ["TIMM", "TORCHVISION", "in_blocks"]


def in_blocks(block: str, theirs: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the parts of inverted residuals, those that are added to their input and the others."""
    return {f"{block}/{around}{part}": f"{theirs}.{name}" for around in ("", "branch/") for part, name in parts.items()}


def _torchvision(paths: Sequence[str]) -> dict[str, str]:
    blocks = [path for path in paths if re.fullmatch(r"stage\d+/block\d+", path)]
    first = {"depthwise/conv": "0.0", "depthwise/norm": "0.1", "project/conv": "1", "project/norm": "2"}
    other = {
        "expand/conv": "0.0",
        "expand/norm": "0.1",
        "depthwise/conv": "1.0",
        "depthwise/norm": "1.1",
        "project/conv": "2",
        "project/norm": "3",
    }
    end = f"features.{len(blocks) + 1}"
    names = {"stem/conv": "features.0.0", "stem/norm": "features.0.1", "head": "classifier.1"}
    names |= {"last/conv": f"{end}.0", "last/norm": f"{end}.1"}
    for number, block in enumerate(blocks, start=1):
        names |= in_blocks(block, f"features.{number}.conv", first if number == 1 else other)
    return {path: names[path] for path in paths if path in names}


TORCHVISION: Layout = _torchvision
TIMM = rules(
    {
        "stem/conv": "conv_stem",
        "stem/norm": "bn1",
        **in_blocks(
            "stage1/block{j}",
            "blocks.0.{j-1}",
            {"depthwise/conv": "conv_dw", "depthwise/norm": "bn1", "project/conv": "conv_pw", "project/norm": "bn2"},
        ),
        **in_blocks(
            "stage{i}/block{j}",
            "blocks.{i-1}.{j-1}",
            {
                "expand/conv": "conv_pw",
                "expand/norm": "bn1",
                "depthwise/conv": "conv_dw",
                "depthwise/norm": "bn2",
                "project/conv": "conv_pwl",
                "project/norm": "bn3",
            },
        ),
        "last/conv": "conv_head",
        "last/norm": "bn2",
        "head": "classifier",
    }
)
