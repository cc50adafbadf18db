"""Random checkpoints: changed good ones and random opcodes are read, or refused with a sentence."""

import collections
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.interop.torch import read
from jaxcnn.interop.torch.known import NAMES
from jaxcnn.interop.torch.opcodes import ACTS
from tests.interop.torch_files import (
    FOUR,
    Tensor,
    before_1_6,
    called,
    named,
    pickled,
    put,
    rebuilt,
    safetensors,
    since_1_6,
    storage,
)

SENTENCE = re.compile(r"read: expected [^\n]+, got [^\n]+\. [A-Z][^\n]*[.)]")
PLAIN = (type(None), bool, int, float, str, bytes, np.ndarray, np.dtype)

VALUE = {"a": Tensor((2, 2)), "b": Tensor((4,), "Int", "1", 4), "old": called("torch", "Size", (1, 2)), "epoch": 3}
STORAGES = {**FOUR, "1": FOUR["0"]}
TENSORS = pickled({"state_dict": VALUE, "lr": 0.1, "names": ["a", "b"]})
VALUES = {"n": np.float64(0.5), "c": collections.Counter({3: 1}), "o": collections.OrderedDict(a=(1, "ä")), "b": b"abc"}
HEADER = (
    b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
    b'"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"c":{"dtype":"U8","shape":[0],"data_offsets":[22,22]}}'
)
DATA = FOUR["0"][1] + bytes(6)
# What is changed, and what is put around it afterwards.
STARTS = [
    (TENSORS, lambda data: since_1_6(data, STORAGES)),
    (TENSORS, lambda data: before_1_6(data, STORAGES)),
    *((pickle.dumps(VALUES, protocol), since_1_6) for protocol in (2, 4)),
    (HEADER, lambda data: safetensors(data, DATA)),
    (since_1_6(TENSORS, STORAGES), bytes),
    (since_1_6(TENSORS, STORAGES, wide={}), bytes),
    (before_1_6(TENSORS, STORAGES), bytes),
    (safetensors(HEADER, DATA), bytes),
]
EDGES = [0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
PLACE = st.floats(0, 1, exclude_max=True)
CHANGE = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("cut"), PLACE, PLACE),
    st.tuples(st.just("copy"), PLACE, PLACE, PLACE),
    st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("number"), PLACE, st.sampled_from(EDGES), st.sampled_from([1, 2, 4, 8])),
    st.tuples(st.just("opcode"), PLACE, st.sampled_from(sorted(ACTS))),
    st.tuples(st.just("end"), PLACE),
)


def changed(data: bytes, change) -> bytes:
    kind, place, *rest = change
    at = int(place * len(data))
    if kind == "flip" and data:
        return data[:at] + bytes([data[at] ^ 1 << rest[0]]) + data[at + 1 :]
    if kind == "cut":
        return data[:at] + data[at + int(rest[0] * 20) + 1 :]
    if kind == "copy":
        begin = int(rest[0] * len(data))
        return data[:at] + data[begin : begin + int(rest[1] * 60)] + data[at:]
    if kind == "insert":
        return data[:at] + rest[0] + data[at:]
    if kind == "number":
        number = (rest[0] % 256 ** rest[1]).to_bytes(rest[1], "little")
        return data[:at] + number + data[at + rest[1] :]
    if kind == "opcode":
        return data[:at] + rest[0] + data[at + 1 :]
    return data[:at]


FRAGMENTS = [
    *(opcode for opcode in ACTS if opcode not in b"KMJGXUTCBhjqrc\x8a\x8c\x95\x80"),
    *(
        put(value)
        for value in (0, 1, 4, -1, 300, 2**40, 0.5, "storage", "0", "cpu", "", (), (2, 2), [], {}, None, True)
    ),
    *(b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"C\x02ab", b"\x8c\x01a", b"U\x01a", b"\x80\x02", b"\x80\x04"),
    *(named(*name.rsplit(".", 1)) for name in NAMES),
    *(named("posix", "system"), named("builtins", "eval"), b"\x82\x01", b"\x81", b"\x92", b"o", b"2", b"0", b"1"),
    *(storage(), storage("Untyped", "1", 16), put(Tensor((2, 2))), rebuilt(storage(), 0, (2,), (1,))),
    *(b"\x95\x05" + bytes(7), called("collections", "OrderedDict"), called("numpy", "dtype", "f8")),
]
OPCODES = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=2), max_size=30).map(b"".join)


def files():
    mutated = st.builds(
        lambda start, changes: start[1](_all(start[0], changes)), st.sampled_from(STARTS), st.lists(CHANGE, max_size=4)
    )
    wrapped = st.sampled_from([since_1_6, before_1_6])
    random = st.builds(lambda wrap, code: wrap(b"\x80\x02" + code + b".", STORAGES), wrapped, OPCODES)
    begun = st.builds(lambda wrap, code: wrap(b"\x80\x02}(" + code + b"u.", STORAGES), wrapped, OPCODES)
    return mutated | random | begun | st.binary(max_size=100)


def _all(data: bytes, changes) -> bytes:
    for change in changes:
        data = changed(data, change)
    return data


def is_plain(value) -> bool:
    if isinstance(value, dict):
        return all(type(key) in (str, int) for key in value) and all(map(is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return isinstance(value, PLAIN)


def outcome(path, data: bytes) -> str:
    """Return whether a file is read or refused; fail where it is neither."""
    path.write_bytes(data)
    try:
        found = read(path)
    except ValueError as error:
        if not SENTENCE.fullmatch(str(error)):
            raise
        return "refused"
    assert type(found) is dict and is_plain(found)
    repr(found)  # of no endless size
    return "read"


def fuzz(path, examples: int, **options) -> collections.Counter:
    """Read so many random files; return how many of them were read and refused."""
    outcomes = collections.Counter()

    @settings(max_examples=examples, **options)
    @given(files())
    def one(data):
        outcomes[outcome(path, data)] += 1

    one()
    return outcomes


@pytest.mark.parametrize("examples", [200, pytest.param(5_000, marks=pytest.mark.slow)])
def test_random_files_are_read_or_refused(examples, tmp_path):
    outcomes = fuzz(tmp_path / "file", examples)
    assert min(outcomes["read"], outcomes["refused"]) > examples / 100, outcomes


COUNTS = st.integers(-1, 4)
AXES = st.lists(st.tuples(COUNTS, st.one_of(COUNTS, st.sampled_from([12, 2**62, 2**64]))), max_size=4)


@given(st.integers(-1, 13), AXES)
@settings(max_examples=200)
def test_random_views_are_what_their_strides_say_or_refused(tmp_path_factory, offset, axes):
    size, stride = tuple(n for n, _ in axes), tuple(step for _, step in axes)
    path = tmp_path_factory.getbasetemp() / "view"
    numbers = np.arange(12, dtype=np.int32)
    value = pickled({"a": Tensor(size, "Int", "0", 12, offset, stride)})
    read_or_refused = outcome(path, since_1_6(value, {"0": (12, numbers.tobytes())}))
    lowest = min((offset, *size, *stride))
    places = [offset + sum(i * step for i, step in zip(at, stride, strict=True)) for at in np.ndindex(*map(abs, size))]
    fits = lowest >= 0 and len(places) <= 12 and all(place < 12 for place in places) and (places or offset <= 12)
    assert read_or_refused == ("read" if fits else "refused")
    if fits:
        np.testing.assert_array_equal(read(path)["a"].ravel(), numbers[places])
