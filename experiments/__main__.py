"""The list of experiments."""

import ast
from pathlib import Path

# Modules (and folders of them) that the experiments are made with, and that answer no question themselves.
PARTS = {
    "__init__",
    "__main__",
    "progress",
    "recipes",
    "runner",
    "augmentation_gallery",
    "cases",
    "chart",
    "compilation",
    "deep_net",
    "nets",
    "operations",
    "pairs",
    "tensorboard",
    "torch_loader",
}


def experiments() -> dict[str, str]:
    """Return module name -> first line of its docstring, without importing any."""
    found = {}
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        parts = path.relative_to(Path(__file__).parent).with_suffix("").parts
        if not PARTS.intersection(parts):
            found[".".join(parts)] = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n", 1)[0]
    return found


if __name__ == "__main__":
    lines = experiments()
    width = max(map(len, lines))
    print("python -m experiments.<name> --help shows the options of one.\n")
    for name, line in lines.items():
        print(f"  {name:{width}}  {line}")
