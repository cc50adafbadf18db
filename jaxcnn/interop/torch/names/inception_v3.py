"""Inception v3: torchvision and timm, which agree."""

import re
from collections.abc import Sequence

from jaxcnn.interop.torch.names.rules import Layout, joined, rules

__all__ = ["TORCHVISION"]

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
_IN_MODULES = re.compile(r"stage\d/mixed(\w+)/(branch\w+)(?:/conv(\d)(?:/([ab]))?)?/(conv|norm)")
_KINDS = {"conv": "conv", "norm": "bn"}


def _modules(paths: Sequence[str]) -> dict[str, str]:
    """Return the names inside of modules, where the steps of a branch are numbered and its last two called a and b."""
    found = {}
    for path in paths:
        if match := _IN_MODULES.fullmatch(path):
            module, branch, step, side, kind = match.groups()
            number = f"_{step}{side or ''}" if step else ""
            found[path] = f"Mixed_{module}.{branch}{number}.{_KINDS[kind]}"
    return found


TORCHVISION: Layout = joined(
    _modules,
    rules(
        {
            **{
                f"stem/conv{i}/{ours}": f"{name}.{theirs}"
                for i, name in enumerate(_STEM, 1)
                for ours, theirs in _KINDS.items()
            },
            **{
                f"aux/conv{i}/{ours}": f"AuxLogits.conv{i - 1}.{theirs}"
                for i in (1, 2)
                for ours, theirs in _KINDS.items()
            },
            "aux/head": "AuxLogits.fc",
            "head": "fc",
        }
    ),
)
