"""The rules of the design that can be read from the code: who imports whom, names, docstrings, signatures."""

import ast
import functools
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import pytest

import jaxcnn
from jaxcnn import augment, functional, initializers

ROOT = Path(jaxcnn.__file__).parent

# A part of jaxcnn imports itself and the floors below it. A new file or folder of jaxcnn needs a place here.
FLOORS = [
    {"checking", "fingerprint", "whole_file"},
    {"classifier", "variants"},
    {"functional"},
    {"filters"},
    {"initializers"},
    {"losses"},
    {"layers"},
    {"surgery"},
    {"summary", "models", "initialization"},
    {"augment", "data"},
    {"training"},
    {"transfer", "search", "explain", "attack", "detection", "matching", "segmentation", "report"},
    {"interop"},
]
# What `import jaxcnn` may import besides the standard library; the function that needs another package imports it.
CORE = {"jaxcnn", "jax", "flax", "optax", "numpy"}
# The lower floors stand on less.
CORE_OF = {
    "checking": {"jax"},
    "fingerprint": {"jax", "numpy"},
    "functional": {"jax", "numpy"},
    "filters": {"jax", "numpy"},
    "initializers": {"jax", "numpy"},
}
HEAVY = {
    "tensorflow_datasets",
    "orbax",
    "matplotlib",
    "jinja2",
    "sklearn",
    "torch",
    "onnx",
    "tyro",
    "rich",
    "tensorstore",
    "safetensors",
}
FILES = sorted(ROOT.rglob("*.py"))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def part(path: Path) -> str:
    """Return the name of the file's or folder's place in FLOORS."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(nodes) -> set[str]:
    """Return the full names of what import statements name: `from jax import lax` gives `jax.lax`."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def at_import(node: ast.AST):
    """Yield the statements that run when the module is imported: those outside functions and `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


def check_none(wrong: dict[Path, set[str]]) -> None:
    """Fail, with the names, if any file has something wrong."""
    found = {str(path.relative_to(ROOT)): names for path, names in wrong.items() if names}
    assert not found


def public_definitions(module: ast.Module):
    """Yield the public functions and classes of a module and the public methods of its public classes."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_"))


def public_functions(module):
    """Return the functions in the module's `__all__`, by name."""
    things = {name: getattr(module, name) for name in module.__all__}
    return {name: thing for name, thing in things.items() if inspect.isfunction(thing)}


# Imports


def test_every_part_has_a_floor():
    places = [name for floor in FLOORS for name in floor]
    assert len(set(places)) == len(places)
    parts = {part(path) for path in FILES} - {"__init__"}
    assert parts <= set(places), "say in FLOORS on which floor it stands"


def test_imports_go_down():
    wrong = {}
    for path in FILES:
        if path == ROOT / "__init__.py":
            continue  # the roof
        floor = next(i for i, names in enumerate(FLOORS) if part(path) in names)
        allowed = set().union({part(path)}, *FLOORS[:floor])
        names = [name.split(".") for name in imported(ast.walk(tree(path)))]
        wrong[path] = {name[1] if name[1:] else "" for name in names if name[0] == "jaxcnn"} - allowed
    check_none(wrong)


def test_functional_stands_on_checking_alone():
    for path in (ROOT / "functional").rglob("*.py"):
        names = {name for name in imported(ast.walk(tree(path))) if name.startswith("jaxcnn.")}
        assert all(name.startswith(("jaxcnn.checking.", "jaxcnn.functional.")) for name in names)


def test_heavy_packages_are_imported_where_they_are_needed():
    wrong = {}
    for path in FILES:
        names = imported(at_import(tree(path)))
        allowed = CORE_OF.get(part(path), CORE) | {"jaxcnn"} | set(sys.stdlib_module_names)
        wrong[path] = {name for name in names if name.split(".")[0] not in allowed}
        # Of Flax the dataclass alone: nets are not linen modules.
        wrong[path] |= {name for name in names if name.startswith("flax.") and not name.startswith("flax.struct")}
    check_none(wrong)


def test_never_imports_experiments_prints_or_parses_arguments():
    wrong = {}
    for path in FILES:
        nodes = list(ast.walk(tree(path)))
        packages = {name.split(".")[0] for name in imported(nodes)}
        called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        used = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
        wrong[path] = packages & {"experiments", "tests", "argparse", "optparse", "tyro", "rich", "pickle"}
        wrong[path] |= called & {"print", "input", "eval", "exec", "breakpoint", "exit"}
        wrong[path] |= used & {"sys.argv", "sys.stdout", "sys.exit"}
    check_none(wrong)


def test_importing_jaxcnn_imports_nothing_heavy_and_touches_no_device():
    code = """
import sys, jax, flax, optax, numpy
before = {name.split(".")[0] for name in sys.modules}
import jaxcnn
print(*{name.split(".")[0] for name in sys.modules} - before)
"""
    # With a platform that does not exist, any computation at import would fail.
    environment = os.environ | {"JAX_PLATFORMS": "none_such"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    added = set(run.stdout.split())
    assert not added & HEAVY
    assert added - set(sys.stdlib_module_names) == {"jaxcnn"}


# Names


def test_a_file_is_a_thing():
    names = {name.removesuffix(".py") for path in FILES for name in path.relative_to(ROOT).parts}
    assert not names & {"utils", "util", "common", "helpers", "helper", "misc"}


@pytest.mark.parametrize("name", [m.name for m in pkgutil.walk_packages(jaxcnn.__path__, "jaxcnn.")])
def test_all_lists_what_there_is(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [public for public in module.__all__ if not hasattr(module, public)]
    assert not missing
    assert not [public for public in module.__all__ if public.startswith("_")]
    things = [id(getattr(module, public)) for public in module.__all__]
    assert len(set(things)) == len(things), "two names for one thing"


def test_what_a_file_lists_is_listed_by_its_folder():
    """Functions and layers that a user should find are in the folder's own list."""
    for folder in ("functional", "layers"):
        package = importlib.import_module(f"jaxcnn.{folder}")
        for path in (ROOT / folder).glob("*.py"):
            if path.stem not in ("__init__", "window", "spread", "layer", "fields"):  # the machinery of the others
                assert set(importlib.import_module(f"jaxcnn.{folder}.{path.stem}").__all__) <= set(package.__all__)


def test_public_things_have_docstrings():
    wrong = {}
    for path in FILES:
        nodes = [tree(path), *public_definitions(tree(path))]
        wrong[path] = {getattr(node, "name", "the module") for node in nodes if not ast.get_docstring(node)}
    check_none(wrong)


# Signatures

# What counts as an array, by its annotation.
ARRAYS = (jax.Array, jax.Array | None, jax.Array | Callable[[], jax.Array], functional.BatchStats)
# Options that are so much the point of their function that they may be given by position.
POSITIONAL_OPTIONS = {"negative_slope", "alpha", "window", "rate", "size", "levels"}
# Arrays that only qualify the others.
KEYWORD_ARRAYS = {"mask"}


@pytest.mark.parametrize("name", public_functions(functional))
def test_functional_takes_arrays_by_position_and_options_by_keyword(name):
    signature = inspect.signature(public_functions(functional)[name], eval_str=True)
    for parameter in signature.parameters.values():
        array = parameter.annotation in ARRAYS and parameter.name not in KEYWORD_ARRAYS
        kinds = {parameter.POSITIONAL_OR_KEYWORD if array else parameter.KEYWORD_ONLY}
        if parameter.name in POSITIONAL_OPTIONS:
            kinds.add(parameter.POSITIONAL_OR_KEYWORD)
        assert parameter.kind in kinds, parameter


def test_key_comes_first_in_functions():
    for module in (functional, initializers, augment):
        for name, function in public_functions(module).items():
            names = list(inspect.signature(function).parameters)
            assert "key" not in names[1:], name


def test_keys_are_typed_and_called_key():
    wrong = {}
    for path in FILES:
        arguments = {node.arg for node in ast.walk(tree(path)) if isinstance(node, ast.arg)}
        wrong[path] = arguments & {"rng", "rngs", "prng", "prng_key", "rng_key"}
        wrong[path] |= {"PRNGKey"} if "PRNGKey" in path.read_text() else set()
    check_none(wrong)
