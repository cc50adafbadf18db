"""The list of experiments."""

import ast
from pathlib import Path


def experiments() -> dict[str, str]:
    """Return module name -> first line of its docstring, without importing any."""
    here, found = Path(__file__).parent, {}
    for path in sorted([*here.glob("*.py"), *here.glob("*/*.py")]):
        text = path.read_text()
        if path != Path(__file__) and '\nif __name__ == "__main__":' in text:  # the others are what these are made with
            name = ".".join(path.relative_to(here).with_suffix("").parts).removesuffix(".__main__")
            found[name] = (ast.get_docstring(ast.parse(text)) or "").split("\n", 1)[0]
    return found


if __name__ == "__main__":
    lines = experiments()
    width = max(map(len, lines))
    print("python -m experiments.<name> --help shows the options of one.\n")
    for name, line in lines.items():
        print(f"  {name:{width}}  {line}")
