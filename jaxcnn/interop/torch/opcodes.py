"""Pickles read as data: the opcodes of protocols 2 to 5 that `torch.save` writes, and no others.

Nothing is imported, and no function called but those of a table. Source: CPython's Lib/pickletools.py documents the
opcodes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxcnn.interop.source import Source
from jaxcnn.interop.torch.machine import COST, Call, Machine

__all__ = ["unpickled"]

DEEPEST = 64  # containers in one another
PLAIN = (type(None), bool, int, float, str, bytes, np.ndarray, np.dtype)


def unpickled(
    source: Source,
    names: Mapping[str, Any] | None = None,
    storage: Callable[[Any], Any] | None = None,
    settable: Callable[[Any, Any], bool] = lambda value, state: False,
) -> Any:
    """Return the value that the pickle makes that begins where the source is: plain values and arrays alone.

    Args:
        source: stands behind the pickle afterwards.
        names, storage, settable: as in `Machine`; without them a pickle that needs them is refused.

    Raises:
        ValueError: a damaged pickle, or one that holds more than data.
    """
    machine = Machine(source, names or {}, storage, settable)
    while (opcode := source.take(1)) != b".":
        source.charge(COST)
        if opcode not in ACTS:
            machine.refuse(f"with the opcode {opcode!r}")
        ACTS[opcode](machine)
    (value,) = machine.last(1)
    whole = not machine.stack and not machine.marked and source.at >= machine.frame
    machine.expect(whole, "an end too early")
    _check(machine, value, 0)
    return value


def _check(machine: Machine, value: Any, depth: int) -> None:
    """Refuse functions left uncalled, deep nesting, a container in itself, and one in very many places."""
    machine.expect(depth < DEEPEST, f"values nested more than {DEEPEST} deep, or in themselves")
    machine.source.charge(COST // 2)
    if isinstance(value, Call):
        machine.refuse(f"that holds the function {value.name}")
    elif isinstance(value, dict | list | tuple):
        for held in value.values() if isinstance(value, dict) else value:
            _check(machine, held, depth + 1)
    else:
        machine.expect(isinstance(value, PLAIN), f"a {type(value).__name__}")


ACTS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": Machine.protocol,
    b"\x95": Machine.begin_frame,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"J": lambda m: m.push(m.number("<i")),
    b"\x8a": lambda m: m.push(m.integer()),
    b"G": lambda m: m.push(m.number(">d")),
    b"\x8c": lambda m: m.push(m.text("<B")),
    b"X": lambda m: m.push(m.text("<I")),
    b"U": lambda m: m.push(m.text("<B")),  # of Python 2, as the next
    b"T": lambda m: m.push(m.text("<I")),
    b"C": lambda m: m.push(m.bytes("<B")),
    b"B": lambda m: m.push(m.bytes("<I")),
    b"(": Machine.mark,
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.push(tuple(m.last(1))),
    b"\x86": lambda m: m.push(tuple(m.last(2))),
    b"\x87": lambda m: m.push(tuple(m.last(3))),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.append(m.last(1)),
    b"e": lambda m: m.append(m.since_mark()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m.set(m.last(2)),
    b"u": lambda m: m.set(m.since_mark()),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"c": lambda m: m.name(m.line(), m.line()),
    b"\x93": lambda m: m.name(*m.last(2)),
    b"R": Machine.reduce,
    b"b": Machine.build,
    b"Q": Machine.persistent,
}
