"""Zips, files from before 1.6 and safetensors that lie: name -> bytes, and what is said of them."""

import struct
import zlib

from tests.interop.torch_files import (
    CONDUCT,
    FOUR,
    GOOD,
    MAGIC,
    VERSION,
    Tensor,
    before_1_6,
    pickled,
    put,
    safetensors,
    since_1_6,
    zipped,
)

PICKLE, DATA = ("net/data.pkl", GOOD), ("net/data/0", FOUR["0"][1])
TWICE = "members over each other, or bytes between them"
NAME = "as torch.save writes it, got one with a member '{}'"
FULL = 2**32 - 1


def _wide(*numbers: int) -> bytes:
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


BOMB = _deflated(bytes(2 * 10**7))
PACKED = {"method": 8, "packed": len(BOMB), "size": 2 * 10**7, "crc": zlib.crc32(bytes(2 * 10**7))}
THERE = {1: {"name": b"net/data/0"}}
ZIPS = {
    "a bomb": (
        zipped([PICKLE, ("net/data/0", BOMB)], local={1: PACKED}, listed={1: PACKED}),
        "'net/data/0' compressed",
    ),
    "a bomb that only the directory admits": (
        zipped([PICKLE, ("net/data/0", BOMB)], listed={1: PACKED}),
        "'net/data/0' compressed",
    ),
    "a bomb that only its header admits": (
        zipped([PICKLE, ("net/data/0", BOMB)], local={1: PACKED}),
        "two things of 'net/data/0'",
    ),
    "compressed to nothing less": (zipped([PICKLE, DATA], listed={1: {"method": 8}}), "'net/data/0' compressed"),
    "more bytes than there are": (
        zipped([PICKLE, DATA], listed={1: {"packed": 99, "size": 99}}),
        "two things|" + TWICE,
    ),
    "fewer bytes than there are": (
        zipped([PICKLE, DATA], listed={1: {"packed": 9, "size": 9}}),
        "two things of 'net/data/0'",
    ),
    "more bytes in the header": (
        zipped([PICKLE, DATA], local={1: {"packed": 99, "size": 99}}),
        "two things of 'net/data/0'",
    ),
    "sizes that differ": (zipped([PICKLE, DATA], listed={1: {"packed": 9}}), "'net/data/0' compressed"),
    "fewer bytes in both": (
        zipped([PICKLE, DATA], listed={1: {"packed": 9, "size": 9}}, local={1: {"packed": 9, "size": 9}}),
        TWICE,
    ),
    "two members of a name": (zipped([PICKLE, DATA, DATA]), "two members 'data/0'"),
    "two data.pkl": (zipped([PICKLE, PICKLE]), "two members 'data.pkl'"),
    "two folders": (zipped([PICKLE, ("other/data.pkl", GOOD)]), NAME.format("other/data.pkl")),
    "a name that climbs": (zipped([PICKLE, ("net/../../executed", b"a")]), NAME.format(r"net/\.\./\.\./executed")),
    "a folder that climbs": (zipped([("../data.pkl", GOOD)]), NAME.format(r"\.\./data\.pkl")),
    "an absolute name": (zipped([PICKLE, ("/etc/passwd", b"a")]), NAME.format("/etc/passwd")),
    "a name of Windows": (zipped([PICKLE, ("net\\..\\executed", b"a")]), r"member 'net"),
    "a name with a zero": (zipped([PICKLE, ("net/data/0\0.txt", b"a")]), r"member 'net/data/0\\x00.txt'"),
    "a folder": (zipped([PICKLE, ("net/data/", b"")]), NAME.format("net/data/")),
    "a name without a folder": (zipped([("data.pkl", GOOD)]), NAME.format("data.pkl")),
    "no name": (zipped([PICKLE, ("", b"a")]), NAME.format("")),
    "a name that differs": (zipped([PICKLE, ("net/data/1", b"a")], listed=THERE), "two things of 'net/data/0'"),
    "encrypted": (zipped([PICKLE, DATA], local={1: {"flags": 1}}, listed={1: {"flags": 1}}), "'net/data/0' encrypted"),
    "encrypted strongly": (zipped([PICKLE, DATA], listed={1: {"flags": 64}}), "with the flags 0x40"),
    "flags that differ": (zipped([PICKLE, DATA], local={1: {"flags": 8}}), "two things of 'net/data/0'"),
    "patched data": (
        zipped([PICKLE, DATA], local={1: {"flags": 32}}, listed={1: {"flags": 32}}),
        "with the flags 0x20",
    ),
    "two entries of one member": (zipped([PICKLE, DATA], listed={1: {"at": 0}}), TWICE + "|two things|promises"),
    "a member in a member": (
        zipped([("net/data.pkl", zipped([DATA])), DATA], listed={1: {"at": 42}}),
        TWICE + "|two things|promises",
    ),
    "a member in the directory": (zipped([PICKLE, DATA], listed={1: {"at": 10**6}}), "promises|" + TWICE),
    "a link": (
        zipped([PICKLE, ("net/data/0", b"/etc/passwd")], listed={1: {"mode": 0o120777}}),
        "which is a link, or no file",
    ),
    "a device": (zipped([PICKLE, DATA], listed={1: {"mode": 0o020666}}), "which is a link, or no file"),
    "bytes between": (zipped([PICKLE, DATA], between=b"MZ" * 8), TWICE),
    "bytes in front": (
        zipped([PICKLE, DATA], in_front=b"PK\3\4" + b"#!/bin/sh\n"),
        "bytes in front of its first member",
    ),
    "a program in front": (
        b"MZ" * 8 + zipped([PICKLE, DATA]),
        "a file of torch.save or safetensors, got one of neither",
    ),
    "a zip in front": (zipped([PICKLE, DATA]) + zipped([PICKLE, DATA]), "one whose directory is elsewhere"),
    "bytes behind": (zipped([PICKLE, DATA], tail=b"<html>"), "cut off, or with bytes behind its end"),
    "bytes behind the directory": (zipped([PICKLE, DATA], behind=b"hidden"), "one whose directory is elsewhere"),
    "bytes in the directory": (
        zipped([PICKLE, DATA], behind=b"hidden", end={"size": len(zipped([PICKLE, DATA])) - 22}),
        "directory is elsewhere",
    ),
    "a comment": (zipped([PICKLE, DATA], end={"comment": b"hello"}), "cut off, or with bytes behind its end"),
    "a comment that is not there": (zipped([PICKLE, DATA])[:-2] + b"\5\0", "cut off, or with bytes behind its end"),
    "an end in a comment": (
        zipped([PICKLE, DATA], end={"comment": zipped([])}),
        "one whose directory is elsewhere",
    ),
    "a comment of a member": (zipped([PICKLE, DATA], listed={1: {"comment": b"a"}}), "a damaged directory"),
    "no signature": (zipped([PICKLE, DATA], listed={1: {"kind": b"PK\0\0"}}), "a damaged directory"),
    "another disk": (zipped([PICKLE, DATA], listed={1: {"disk": 1}}), "a damaged directory"),
    "another disk at the end": (zipped([PICKLE, DATA], end={"disk": 1}), "one whose directory is elsewhere"),
    "fewer members than there are": (zipped([PICKLE, DATA], end={"count": 1, "here": 1}), "bytes behind its directory"),
    "more members than there are": (zipped([PICKLE, DATA], end={"count": 9, "here": 9}), "promises 46 bytes"),
    "members on other disks": (zipped([PICKLE, DATA], end={"here": 1}), "one whose directory is elsewhere"),
    "no members": (zipped([], in_front=b"PK\3\4"), "bytes in front of its first member"),
    "an end alone": (zipped([]), "a file of torch.save or safetensors, got one of neither"),
    "half of it": (since_1_6(GOOD, FOUR)[:200], "cut off, or with bytes behind its end"),
    "ten bytes of it": (since_1_6(GOOD, FOUR)[:10], "one that is cut off"),
    "a directory elsewhere in 64 bits": (zipped([PICKLE, DATA], wide={"start": 0}), "two different directories"),
    "fewer members in 64 bits": (zipped([PICKLE, DATA], wide={"count": 1}), "two different directories"),
    "an end of 64 bits elsewhere": (
        zipped([PICKLE, DATA], wide={"at": 2**63}),
        "promises 56 at byte 9223372036854775808",
    ),
    "an end of 64 bits in the data": (zipped([PICKLE, DATA], wide={"at": 0}), "two different directories"),
    "a long end of 64 bits": (zipped([PICKLE, DATA], wide={"length": 2**40}), "two different directories"),
    "sizes of 64 bits that are not there": (
        zipped([PICKLE, DATA], listed={1: {"packed": FULL, "size": FULL}}),
        "without the sizes that it promises",
    ),
    "sizes of 2^63": (
        zipped([PICKLE, DATA], listed={1: {"packed": FULL, "size": FULL, "extra": _wide(2**63, 2**63)}}),
        "two things of 'net/data/0'",
    ),
    "a place of 2^63": (zipped([PICKLE, DATA], listed={1: {"at": FULL, "extra": _wide(2**63)}}), "promises|" + TWICE),
    "sizes of 64 bits in the header": (
        zipped([PICKLE, DATA], local={1: {"packed": FULL, "size": FULL, "extra": _wide(2**63, 2**63)}}),
        "two things of 'net/data/0'",
    ),
    "a field longer than the field": (
        zipped([PICKLE, DATA], listed={1: {"size": FULL, "packed": FULL, "extra": b"\1\0\xff\xff1234567"}}),
        "without the sizes that it promises",
    ),
    "without data.pkl": (zipped([DATA]), "a zip with 'data.pkl', got one without"),
    "without a storage": (zipped([PICKLE]), "a zip with 'data/0', got one without"),
    "a storage too short": (zipped([PICKLE, ("net/data/0", b"123456789012345")]), "16 bytes of 'data/0', got 15 bytes"),
    "a storage too long": (
        zipped([PICKLE, ("net/data/0", b"12345678901234567")]),
        "16 bytes of 'data/0', got 17 bytes",
    ),
    "a storage whose key climbs": (
        zipped([("net/data.pkl", pickled({"a": Tensor((1,), key="../data.pkl", count=1)}))]),
        r"a zip with 'data/\.\./data.pkl', got one without",
    ),
    "changed bytes": (
        zipped([PICKLE, DATA], listed={1: {"crc": 7}}, local={1: {"crc": 7}}),
        "the bytes of 'data/0' that were",
    ),
    "a changed pickle": (
        zipped([PICKLE, DATA], listed={0: {"crc": 7}}, local={0: {"crc": 7}}),
        "the bytes of 'data.pkl' that",
    ),
    "another byte order": (zipped([PICKLE, DATA, ("net/byteorder", b"middle")]), "little or big as the byte order"),
    "a pickle behind the pickle": (
        zipped([("net/data.pkl", GOOD + b"hidden"), DATA]),
        "one pickle as data.pkl, got 6 bytes behind",
    ),
    "a program of TorchScript": (
        zipped([("net/data.pkl", pickled(b"c__torch__\nNet\n)\x81")), ("net/code/a.py", b"import os")]),
        r"would call __torch__\.Net",
    ),
}

OLD = before_1_6(GOOD, FOUR)
STARTS = [0]
for part in (MAGIC, VERSION, CONDUCT, GOOD, pickled(["0"]), b"12345678"):
    STARTS.append(STARTS[-1] + len(part))
BEFORE_1_6 = {
    "nothing": (b"", "a file of torch.save or safetensors, got one of neither"),
    **{f"the first {n} bytes": (OLD[:n], "promises|whole file") for start in STARTS[1:] for n in (start - 1, start)},
    **{f"cut by {n}": (OLD[:-n], "promises 16 bytes") for n in (1, 15)},
    "another magic number": (pickled(1) + OLD[len(MAGIC) :], "a pickle that something else wrote"),
    "a pickle of something else": (pickled({"a": 1}), "a pickle that something else wrote"),
    "code as the magic number": (
        pickled(b"cposix\nsystem\n" + put(("touch executed",)) + b"R"),
        r"would call posix\.system",
    ),
    "another version": (MAGIC + pickled(1000) + OLD[STARTS[2] :], "one of another version"),
    "code about the machine": (
        MAGIC + VERSION + pickled(b"cposix\nsystem\n" + put((1,)) + b"R"),
        r"would call posix\.system",
    ),
    "code as the list of storages": (
        MAGIC + VERSION + CONDUCT + GOOD + pickled(b"cposix\nsystem\n" + put((1,)) + b"R"),
        r"would call posix\.system",
    ),
    "a storage in the list of storages": (
        MAGIC + VERSION + CONDUCT + GOOD + pickled([put(1) + b"Q"]),
        "a storage where there are none",
    ),
    "a list without the storage": (before_1_6(GOOD, FOUR, keys=[]), "a list of the storages, got another"),
    "a list with two": (before_1_6(GOOD, FOUR, keys=["0", "1"]), "a list of the storages, got another"),
    "a list with it twice": (before_1_6(GOOD, FOUR, keys=["0", "0"]), "a list of the storages, got another"),
    "a list of lists": (before_1_6(GOOD, FOUR, keys=[[]]), "a list of the storages, got another"),
    "no list": (before_1_6(GOOD, FOUR, keys={"0": 1}), "a list of the storages, got another"),
    "one number more": (before_1_6(GOOD, FOUR, counts={"0": 5}), "4 numbers in storage '0', got 5"),
    "-1 numbers": (before_1_6(GOOD, FOUR, counts={"0": -1}), "4 numbers in storage '0', got -1"),
    "2^62 numbers": (before_1_6(GOOD, FOUR, counts={"0": 2**62}), "4 numbers in storage '0', got 4611686018427387904"),
    "bytes behind": (before_1_6(GOOD, FOUR, behind=b"hidden"), "the end behind the last storage, got 6 bytes"),
    "a zip behind": (OLD + zipped([PICKLE, DATA]), "the end behind the last storage, got"),
    "a tar": (b"sys_info".ljust(257, b"\0") + b"ustar\00000" + bytes(248), "a tar of an older one"),
    "a page": (b"<!DOCTYPE html><html>", "a file of torch.save or safetensors, got one of neither"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "a file of torch.save or safetensors, got one of neither",
    ),
}

WHOLE = "a whole safetensors file, got one "
ONE = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
SIXTEEN = FOUR["0"][1]


def _one(**lies) -> bytes:
    return safetensors({"a": ONE | lies}, SIXTEEN)


SAFETENSORS = {
    "a length alone": (b"\2\0\0\0\0\0\0\0{", "promises a header of 2 bytes where 1 are left"),
    "a header of 2^63 bytes": (safetensors({}, length=2**63), "promises a header of 9223372036854775808 bytes"),
    "a header cut off": (safetensors({"a": ONE})[:-1], "promises a header of"),
    "no JSON": (safetensors(b"{a: 1}"), WHOLE + "whose header is no JSON"),
    "no UTF-8": (safetensors(b'{"\xff": 1}'), WHOLE + "whose header is no JSON"),
    "a header of zeros": (safetensors(b"{" + bytes(100)), WHOLE + "whose header is no JSON"),
    "lists in lists": (safetensors(b'{"a":' + b"[" * 100_000), WHOLE + "whose header is no JSON"),
    "dicts in dicts": (safetensors(b'{"a":' * 100_000), WHOLE + "whose header is no JSON"),
    "a number of 5000 digits": (safetensors(b'{"a":' + b"1" * 5000 + b"}"), WHOLE + "whose header is no JSON"),
    "two headers": (safetensors(b"{}{}"), WHOLE + "whose header is no JSON"),
    "a name twice": (
        safetensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":1}', SIXTEEN),
        r"whose header is no JSON \(a name twice\)",
    ),
    "a field twice": (
        safetensors(b'{"a":{"dtype":"F32","dtype":"I32","shape":[4],"data_offsets":[0,16]}}', SIXTEEN),
        r"whose header is no JSON \(a name twice\)",
    ),
    "an entry that is a list": (safetensors({"a": [1]}), "with another entry for 'a'"),
    "an entry without a shape": (
        safetensors({"a": {"dtype": "F32", "data_offsets": [0, 4]}}),
        "with another entry for 'a'",
    ),
    "an entry with more": (_one(code="1"), "with another entry for 'a'"),
    "a dtype that is a list": (_one(dtype=[]), "with another entry for 'a'"),
    "a shape that is a number": (_one(shape=4), "with another entry for 'a'"),
    "a shape of floats": (_one(shape=[2.0, 2.0]), "with another entry for 'a'"),
    "a shape of bools": (_one(shape=[True, 4]), "with another entry for 'a'"),
    "a negative shape": (_one(shape=[-2, -2]), "with another entry for 'a'"),
    "a shape of 9 axes": (_one(shape=[1] * 9), "with another entry for 'a'"),
    "an endless shape of nothing": (_one(shape=[0, 2**63], data_offsets=[0, 0]), "with another entry for 'a'"),
    "a shape that overflows": (_one(shape=[2**32, 2**32]), "with another entry for 'a'"),
    "a shape of other bytes": (_one(shape=[2, 3]), r"with 16 bytes for 'a' of shape \[2, 3\] and dtype float32"),
    "a dtype of other bytes": (_one(dtype="F64"), r"with 16 bytes for 'a' of shape \[2, 2\] and dtype float64"),
    "a dtype that there is not": (_one(dtype="F33"), "dtypes among BOOL, .*, got 'F33' for 'a'"),
    "a dtype of 8 bits": (_one(dtype="F8_E4M3"), "dtypes among BOOL, .*, got 'F8_E4M3' for 'a'"),
    "complex numbers": (_one(dtype="C64"), "dtypes among BOOL, .*, got 'C64' for 'a'"),
    "one offset": (_one(data_offsets=[0]), "with another entry for 'a'"),
    "offsets that are negative": (_one(data_offsets=[-16, 0]), "with another entry for 'a'"),
    "offsets that are infinite": (
        safetensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,Infinity]}}'),
        "another entry",
    ),
    "offsets backwards": (_one(data_offsets=[16, 0]), "with 'a' in bytes 16 to 0 of 16"),
    "offsets beyond the end": (_one(data_offsets=[0, 20]), "with 'a' in bytes 0 to 20 of 16"),
    "offsets of exabytes": (_one(data_offsets=[2**63, 2**63 + 16]), "with 'a' in bytes 9223372036854775808 to"),
    "arrays over each other": (
        safetensors({"a": ONE, "b": ONE}, SIXTEEN),
        "with 'b' in bytes 0 to 16 of 16, of which 16 are",
    ),
    "a hole": (
        safetensors({"a": ONE | {"data_offsets": [8, 24]}}, SIXTEEN + bytes(8)),
        "with 'a' in bytes 8 to 24 of 24",
    ),
    "bytes behind": (safetensors({"a": ONE}, SIXTEEN + b"hidden"), "with 6 bytes behind its arrays"),
    "a zip behind": (safetensors({"a": ONE}, SIXTEEN + zipped([PICKLE, DATA])), "bytes behind its arrays"),
    "metadata that are numbers": (
        safetensors({"__metadata__": {"a": 1}, "b": ONE}, SIXTEEN),
        "metadata that are no texts",
    ),
    "metadata that are a list": (safetensors({"__metadata__": []}), "metadata that are no texts"),
    "a header that takes memory": (
        safetensors(b'{"a":[' + b"[]," * 10**6 + b"0]}"),
        "64 MB of memory, got one that would",
    ),
}
