"""The public surface: every module and every name that an `__all__` lists, from `jaxcnn` down."""

import ast
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import jaxcnn


@dataclass(frozen=True)
class Name:
    """A public name: where it is found, what it is, what is said of it."""

    module: str
    name: str
    value: Any
    kind: str  # "class", "function" or "data"
    doc: str

    @property
    def full(self) -> str:
        """Return the name with its module."""
        return f"{self.module}.{self.name}"


@cache
def modules() -> dict[str, ModuleType]:
    """Return the public modules by the names that lead to them, each before its parts."""
    found: dict[str, ModuleType] = {}

    def visit(path: str, module: ModuleType) -> None:
        found[path] = module
        for name in module.__all__:
            if inspect.ismodule(getattr(module, name)):
                visit(f"{path}.{name}", getattr(module, name))

    visit("jaxcnn", jaxcnn)
    return found


@cache
def names() -> dict[str, Name]:
    """Return every public name that is no module, by its full name."""
    found = {}
    for path, module in modules().items():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value):
                continue
            plain = not (inspect.isclass(value) or inspect.isroutine(value))
            kind = "data" if plain else "class" if inspect.isclass(value) else "function"
            doc = _comment(module, name) if plain else inspect.getdoc(value) or ""
            found[f"{path}.{name}"] = Name(path, name, value, kind, doc)
    return found


@cache
def real_places() -> dict[str, str]:
    """Return the public name of each class and function by the module and name of its definition."""
    found: dict[str, str] = {}
    for full, name in names().items():
        if name.kind != "data":
            found.setdefault(f"{name.value.__module__}.{name.value.__qualname__}", full)
    return found


def find(text: str, module: str) -> str | None:
    """Return the full name of what `text` means in a docstring of a public module, or None.

    It may leave out "jaxcnn." or the module it stands in; one with a dot also the modules above: `functional.conv`,
    `Conv`.
    """
    text = text.removeprefix("jaxcnn.").removesuffix("()")
    known = names().keys() | modules().keys()
    parents = module.split(".")
    for depth in range(len(parents), 0 if "." in text else len(parents) - 1, -1):
        full = ".".join([*parents[:depth], text])
        if full in known and full != module:
            return full
    ends = [full for full in known if full.endswith(f".{text}")] if "." in text else []
    return ends[0] if len(ends) == 1 else None


def exists(place: str) -> bool:
    """Return whether a module of jaxcnn defines the name, public or not."""
    module, _, name = place.rpartition(".")
    return hasattr(sys.modules.get(module), name)


def _comment(module: ModuleType, name: str) -> str:
    """Return the string below the assignment of a constant, in the file that makes it; "" where there is none."""
    for path in [module.__name__, *(m for m in sys.modules if m.startswith(f"{module.__name__}."))]:
        body = ast.parse(inspect.getsource(sys.modules[path])).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and target.id == name:
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                return inspect.cleandoc(after.value.value) if said else ""
    return ""
