"""What PyTorch calls the layers of a net: from paths such as "stage1/block2/conv1" to "layer1.1.conv1"."""

import re
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Layout", "dotted", "joined", "numbered", "rules"]

Layout = Callable[[Sequence[str]], Mapping[str, str]]
"""From the paths of all layers of a net, in order, to the names in PyTorch of those that it knows."""

_FIELD = re.compile(r"\{([a-z])([+-]\d+)?\}")


def rules(table: Mapping[str, str]) -> Layout:
    """Return the layout that follows patterns: `{"stage{i}/block{j}/conv{k}": "layer{i}.{j-1}.conv{k}"}`.

    A letter in braces stands for a number; on the right one may be added to it or taken from it. A name with an index
    behind it is that of an array, of a layer that has only one: "gamma[:]", or "gamma[:, None, None]" where PyTorch's
    has the shape (C, 1, 1). " (conv)" behind it says that our dense layer is a convolution there.
    """
    compiled = [
        (re.compile("".join(map(_part, re.split(r"(\{[a-z]\})", ours)))), theirs) for ours, theirs in table.items()
    ]

    def names(paths: Sequence[str]) -> dict[str, str]:
        found = {}
        for path in paths:
            for pattern, theirs in compiled:
                if match := pattern.fullmatch(path):
                    numbers = match.groupdict()
                    found[path] = _FIELD.sub(lambda f, n=numbers: str(int(n[f[1]]) + int(f[2] or 0)), theirs)
                    break
        return found

    return names


def _part(text: str) -> str:
    return rf"(?P<{text[1]}>\d+)" if re.fullmatch(r"\{[a-z]\}", text) else re.escape(text)


def numbered(under: str, inside: str = ".*") -> Layout:
    """Return the layout of a `torch.nn.Sequential`: "features.0", "features.1", ... for every layer, in order.

    Args:
        under: the name of the Sequential; "" for none.
        inside: a regular expression that the paths of its layers match, composites left out.
    """
    prefix = f"{under}." if under else ""

    def names(paths: Sequence[str]) -> dict[str, str]:
        simple = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
        chosen = [path for path in simple if re.fullmatch(inside, path)]
        return {path: f"{prefix}{number}" for number, path in enumerate(chosen)}

    return names


def dotted(paths: Sequence[str]) -> dict[str, str]:
    """Return the layout of nets whose layers have the same names in both: "stage1/conv1" is "stage1.conv1"."""
    return {path: path.replace("/", ".") for path in paths}


def joined(*layouts: Layout) -> Layout:
    """Return the layout that takes each path's name from the first layout that knows it."""
    return lambda paths: {path: name for layout in reversed(layouts) for path, name in layout(paths).items()}
