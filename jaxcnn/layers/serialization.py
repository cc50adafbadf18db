"""Nets as JSON: written by name, rebuilt from an allow-list alone (never `eval`, never pickle)."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

from jaxcnn import filters, functional, initializers
from jaxcnn.checking import expect, is_int, shown
from jaxcnn.layers.layer import Layer, hyperparameters

__all__ = ["from_json", "register", "to_json"]

FORMAT = 1
T = TypeVar("T", bound=Callable[..., Any])

_known: dict[str, Any] = {
    name: getattr(module, name) for module in (functional, initializers, filters) for name in module.__all__
}


def register(thing: T) -> T:
    """Enter a layer class or a function under its name, so that nets containing it are saved and rebuilt.

    All registered names are in one place, those of jaxcnn's own layers, blocks and functions among them.

    Args:
        thing: a frozen dataclass (a layer, an initializer) or a module-level function. Use as a decorator.

    Returns:
        The thing itself.

    Raises:
        ValueError: another thing has that name.
        TypeError: a thing without a name, such as a partial.
    """
    ok, fix = hasattr(thing, "__qualname__"), "Write def my_function(x): ..., and register that."
    expect(ok, "register", "a class or a function with a name", shown(thing), fix, TypeError)
    name = thing.__name__
    taken = _known.get(name, thing)
    # The same definition read again, as by a cell of a notebook that is run twice, takes the place of the first.
    again = (taken.__module__, taken.__qualname__) == (thing.__module__, thing.__qualname__)
    expect(
        taken is thing or (again and "<locals>" not in thing.__qualname__),
        "register",
        "a name that is not taken",
        f"{name!r}, which is that of {taken.__module__}.{taken.__qualname__}",
        "Rename the class or function.",
    )
    _known[name] = thing
    return thing


def to_json(net: Layer, *, indent: int | None = 1) -> str:
    """Return the net as JSON text; `from_json` gives an equal net back.

    Args:
        net: a layer; its functions must be jaxcnn's own or entered with `register`.
        indent: spaces per level, None for one line.

    Raises:
        ValueError: the net contains a function or class that is not registered.
        TypeError: net is no layer.
    """
    expect(isinstance(net, Layer), "to_json", "a layer", shown(net), "Put a function into a Sequential.", TypeError)
    ok = indent is None or is_int(indent, 0, 100)
    expect(ok, "to_json", "indent as an int in 0..100, or None", shown(indent), "Pass indent=1.")
    return json.dumps({"jaxcnn": FORMAT, "net": _encode(net)}, indent=indent if indent is None else int(indent))


def from_json(text: str) -> Layer:
    """Return the net that `to_json` wrote.

    Args:
        text: JSON; it may come from anywhere: only registered classes are built, with the checks of their
            constructors, and no code in it runs.

    Raises:
        ValueError: text that is no net, of a newer format, or naming something unknown.
        TypeError: not text.
    """
    expect(isinstance(text, str), "from_json", "text", type(text).__name__, "Read the file as text first.", TypeError)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_net(text, error) from error
    known = isinstance(record, dict) and record.get("jaxcnn") == FORMAT and "net" in record
    expect(known, "from_json", f"a jaxcnn net of format {FORMAT}", repr(text[:60]), "Write it with to_json.")
    try:
        net = _decode(record["net"])
    except (RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _no_net(text, error) from error
    expect(isinstance(net, Layer), "from_json", "a layer", type(net).__name__, "Write it with to_json.")
    return net


def _no_net(text: str, error: Exception) -> ValueError:
    return ValueError(f"from_json: expected the JSON of a net, got {text[:60]!r} ({error}). Write it with to_json.")


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    name = type(value).__name__
    if dataclasses.is_dataclass(value) and _known.get(name) is type(value):
        children = value.children() if isinstance(value, Layer) else {}
        record: dict[str, Any] = {"type": name} | {f: _encode(v) for f, v in hyperparameters(value).items()}
        return record | ({"children": [[n, _encode(child)] for n, child in children.items()]} if children else {})
    name = getattr(value, "__name__", name)
    expect(
        _known.get(name) is value,
        "to_json",
        "layers and functions that jaxcnn knows",
        shown(value),
        "Enter it with layers.register under a name of its own.",
    )
    return {"function": name}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    if not isinstance(value, dict):
        return value
    name = value.get("type", value.get("function"))
    expect(
        isinstance(name, str) and name in _known,
        "from_json",
        "the name of a registered layer or function",
        repr(name),
        "Import the module that registers it first: at the command line, --imports MODULE.",
    )
    known = _known[name]
    if "type" not in value:
        expect(not isinstance(known, type), "from_json", "the name of a function", repr(name), "Write it with to_json.")
        return known
    built = isinstance(known, type) and dataclasses.is_dataclass(known)
    expect(built, "from_json", "the name of a layer or initializer class", repr(name), "Write it with to_json.")
    fields = {k: _decode(v) for k, v in value.items() if k not in ("type", "children")}
    pairs = value.get("children", [])
    expect(
        isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs),
        "from_json",
        "children as a list of [name, layer]",
        repr(pairs)[:60],
        "Write it with to_json.",
    )
    names = [n for n, _ in pairs]
    expect(
        all(isinstance(n, str) for n in names) and len(set(names)) == len(names),
        "from_json",
        "children with names of their own",
        repr(names)[:60],
        "Write it with to_json.",
    )
    return known(**fields, **{n: _decode(child) for n, child in pairs})
