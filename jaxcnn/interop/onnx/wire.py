"""Messages of protobuf, read of a file that may be hostile: only fields that a schema names are kept.

Source: the page "Encoding" of protobuf's documentation.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcnn.interop.source import Source

__all__ = ["Field", "read_message"]

WHAT = "a whole ONNX file"
COST = 200  # bytes in memory that a field makes, besides those of its content
WIRES = {"int": 0, "float": 5}


class Field(NamedTuple):
    """A field of a message.

    Args:
        name: in what is read.
        kind: "int", "float", "text", "array" (bytes as an array), "seen" (whether there are any), or the schema of a
            message.
        many: whether there may be more than one; a list then.
    """

    name: str
    kind: str | Mapping[int, Any]
    many: bool = False


def read_message(source: Source, schema: Mapping[int, Field], end: int) -> dict[str, Any]:
    """Return the fields, by name, of the message that ends at a byte.

    Raises:
        ValueError: a damaged message, one with a field twice of which there is one, one of too many parts.
    """
    found: dict[str, Any] = {}
    while source.at < end:
        source.charge(COST)
        key = _varint(source, end)
        number, wire = key >> 3, key & 7
        field = schema.get(number)
        if field is None or field.kind == "seen":
            if field is not None:
                found[field.name] = True
            _skip(source, wire, end)
            continue
        packed = wire == 2 and isinstance(field.kind, str) and field.kind in WIRES
        value = _packed(source, field, end) if packed else [_value(source, field, wire, end)]
        if field.many:
            found.setdefault(field.name, []).extend(value)
        else:
            once = field.name not in found and len(value) == 1
            source.expect(once, WHAT, f"one with {field.name} twice")
            found[field.name] = value[0]
    return found


def _varint(source: Source, end: int) -> int:
    value = 0
    for shift in range(0, 70, 7):
        source.expect(source.at < end, WHAT, f"one whose parts end too early, at byte {source.at}")
        byte = source.take(1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1)
    source.expect(False, WHAT, f"one with a number without end at byte {source.at}")
    raise AssertionError


def _signed(source: Source, end: int) -> int:
    value = _varint(source, end)
    return value - 2**64 if value >= 2**63 else value


def _length(source: Source, end: int) -> int:
    length = _varint(source, end)
    got = f"one that promises {length} bytes at byte {source.at}, where {end - source.at} are left"
    source.expect(length <= end - source.at, WHAT, got)
    return length


def _skip(source: Source, wire: int, end: int) -> None:
    if wire == 0:
        _varint(source, end)
        return
    source.expect(wire in (1, 2, 5), WHAT, f"one with a part of kind {wire} at byte {source.at}")
    length = _length(source, end) if wire == 2 else {1: 8, 5: 4}[wire]
    start = source.at + length
    source.expect(start <= end, WHAT, f"one whose parts end too early, at byte {source.at}")
    source.go(start, source.size - start)


def _value(source: Source, field: Field, wire: int, end: int) -> Any:
    kind = field.kind
    wanted = WIRES.get(kind, 2) if isinstance(kind, str) else 2
    source.expect(wire == wanted, WHAT, f"one with {field.name} of kind {wire} at byte {source.at}")
    if kind == "int":
        return _signed(source, end)
    if kind == "float":
        source.expect(source.at + 4 <= end, WHAT, f"one whose parts end too early, at byte {source.at}")
        return source.number("f")
    length = _length(source, end)
    if not isinstance(kind, str):
        return read_message(source, kind, source.at + length)
    if kind == "array":
        return source.array(length)
    source.charge(4 * length)
    try:
        return source.take(length).decode()
    except UnicodeDecodeError:
        source.expect(False, WHAT, f"one with {field.name} that is no text, before byte {source.at}")
        raise


def _packed(source: Source, field: Field, end: int) -> list[Any]:
    """Return numbers that lie one behind another."""
    stop = _length(source, end) + source.at
    values = []
    while source.at < stop:
        source.charge(COST // 4)
        values.append(_value(source, field, WIRES[str(field.kind)], stop))
    return values
