"""Checkpoints put together byte by byte, well-formed and otherwise, without PyTorch."""

import json
import struct
import zlib
from typing import NamedTuple

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
VERSION = b"\x80\x02M\xe9\x03."
CONDUCT = b"\x80\x02}q\x00(X\x10\x00\x00\x00protocol_versionq\x01M\xe9\x03X\r\x00\x00\x00little_endianq\x02\x88u."


class Tensor(NamedTuple):
    """What a pickle says of a tensor; `count` numbers are in its storage."""

    size: tuple
    kind: str = "Float"
    key: str = "0"
    count: int = 4
    offset: int = 0
    stride: tuple | None = None


# Opcodes


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def called(module: str, name: str, *arguments) -> bytes:
    return named(module, name) + put(tuple(arguments)) + b"R"


def put(value) -> bytes:
    """Return the opcodes that put a value on the stack; bytes are opcodes already."""
    if isinstance(value, bytes):
        return value
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if 0 <= value < 256:
            return b"K" + bytes([value])
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, Tensor):
        return tensor(value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(put, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(put, value)) + b"e"
    return b"}(" + b"".join(put(key) + put(held) for key, held in value.items()) + b"u"


def storage(kind="Float", key="0", count=4, *more) -> bytes:
    return put(("storage", named("torch", f"{kind}Storage"), key, "cpu", count, *more)) + b"Q"


def rebuilt(held, offset, size, stride, *rest, by="_rebuild_tensor_v2") -> bytes:
    hooks = called("collections", "OrderedDict")
    return called("torch._utils", by, held, offset, size, stride, False, hooks, *rest)


def tensor(given: Tensor, *rest) -> bytes:
    stride = given.stride
    if stride is None:
        stride = tuple(_product(given.size[i + 1 :]) for i in range(len(given.size)))
    return rebuilt(storage(given.kind, given.key, given.count), given.offset, given.size, stride, *rest)


def _product(sizes) -> int:
    result = 1
    for n in sizes:
        result *= n
    return result


def pickled(value) -> bytes:
    return b"\x80\x02" + put(value) + b"."


# Containers of pickles


def before_1_6(pickle: bytes, storages=(), *, keys=None, counts=None, behind=b"") -> bytes:
    """Return a file of five pickles and storages, given as key -> (count, bytes)."""
    storages = dict(storages)
    listed = pickled(list(storages) if keys is None else keys)
    counts = {key: count for key, (count, _) in storages.items()} | (counts or {})
    data = b"".join(struct.pack("<q", counts[key]) + held for key, (_, held) in storages.items())
    return MAGIC + VERSION + CONDUCT + pickle + listed + data + behind


def zipped(files, *, local=None, listed=None, end=None, between=b"", in_front=b"", behind=b"", tail=b"", wide=None):
    """Return a zip of (name, bytes), and what it says otherwise than it should.

    Args:
        local, listed: of the number of a member, the fields of its header, and of its entry in the directory.
        end: fields of the end of the directory.
        between, in_front, behind, tail: bytes between members, before them, behind the directory, behind all.
        wide: fields of the end in 64 bits, which is left out if None.
    """
    data, directory = bytearray(in_front), bytearray()
    for number, (name, held) in enumerate(files):
        name = name.encode() if isinstance(name, str) else name
        fields = {"flags": 0, "method": 0, "crc": zlib.crc32(held), "packed": len(held), "size": len(held)}
        fields |= {"name": name, "extra": b"", "mode": 0, "disk": 0, "comment": b"", "at": len(data)}
        here = fields | (local or {}).get(number, {})
        there = fields | (listed or {}).get(number, {})
        directory += _listed(**there)
        data += _local(**here) + held + here.get("descriptor", b"") + between
    fields = {"disk": 0, "here": len(files), "count": len(files), "size": len(directory), "start": len(data)}
    data += directory + behind
    if wide is not None:
        full = fields | {"kind": b"PK\6\6", "length": 44, "at": len(data)} | wide
        data += struct.pack("<4sQ2H2I", full["kind"], full["length"], 0, 0, full["disk"], 0)
        data += struct.pack("<4Q", full["here"], full["count"], full["size"], full["start"])
        data += struct.pack("<4sIQI", b"PK\6\7", 0, full["at"], 1)
    fields = {key: min(value, 2**32 - 1) for key, value in fields.items()} | {"comment": b""} | (end or {})
    numbers = (fields[name] for name in ("here", "count", "size", "start"))
    data += struct.pack("<4s4H2IH", b"PK\5\6", fields["disk"], 0, *numbers, len(fields["comment"]))
    return bytes(data + fields["comment"] + tail)


def _local(*, flags, method, crc, packed, size, name, extra, kind=b"PK\3\4", **_):
    first = struct.pack("<4s5H3I", kind, 0, flags, method, 0, 0, crc, packed, size)
    return first + struct.pack("<2H", len(name), len(extra)) + name + extra


def _listed(*, flags, method, crc, packed, size, name, extra, mode, disk, comment, at, kind=b"PK\1\2", **_):
    first = struct.pack("<4s6H3I", kind, 0, 0, flags, method, 0, 0, crc, packed, size)
    second = struct.pack("<5H2I", len(name), len(extra), len(comment), disk, 0, mode << 16, at)
    return first + second + name + extra + comment


def since_1_6(pickle: bytes, storages=(), **lies) -> bytes:
    """Return a zip of data.pkl and storages, given as key -> (count, bytes)."""
    files = [("net/data.pkl", pickle), ("net/byteorder", b"little")]
    return zipped(files + [(f"net/data/{key}", data) for key, (_, data) in dict(storages).items()], **lies)


def safetensors(header, data=b"", length=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


FOUR = {"0": (4, struct.pack("<4f", 1, 2, 3, 4))}  # the storage of the tensors below
GOOD = pickled({"a": Tensor((2, 2)), "epoch": 3})
