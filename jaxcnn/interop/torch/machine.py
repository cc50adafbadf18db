"""The stack machine of pickles, without Python's pickle: it makes data and calls nothing but functions of a table."""

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxcnn.checking import shown
from jaxcnn.interop.source import Source

__all__ = ["COST", "WEIGHTS_ALONE", "Call", "Machine", "is_key"]

WEIGHTS_ALONE = "Save weights alone: torch.save(model.state_dict(), path)."
TENSORS_ALONE = "a checkpoint of tensors alone"
COST = 128  # bytes that an opcode, or an item of a call, makes at most: a value in the memo, a third of an array
LONGEST_NAME = 200  # bytes
LARGEST_KEY = 2**31  # of dicts, where it is a number: hashes of larger ones can be made to collide


def is_key(value: Any) -> bool:
    """Return whether a value may be a key of a dict: a text, or an int whose hash cannot be chosen freely."""
    return type(value) is str or (type(value) is int and abs(value) < LARGEST_KEY)


class Call(NamedTuple):
    """A function that pickles may call, with the numbers of arguments that it takes."""

    name: str
    make: Callable[..., Any]
    least: int
    most: int


class Machine:
    """A stack, a memo, and what the opcodes do with them.

    Args:
        source: where the pickle is read.
        names: what stands for each global that the pickle may name: a `Call`, or a plain value.
        storage: makes a value of a persistent id.
        settable: whether a state may be set on a value; it is dropped.
    """

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Any],
        storage: Callable[[Any], Any] | None,
        settable: Callable[[Any, Any], bool],
    ) -> None:
        self.source, self.names, self.storage, self.settable = source, names, storage, settable
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below the marks
        self.memo: dict[int, Any] = {}
        self.frame = 0  # the byte where it ends

    def expect(self, ok: bool, got: str) -> None:
        """Refuse a pickle that is damaged, or made to lead astray, unless `ok`."""
        if not ok:
            self.source.expect(False, "a whole pickle", f"one with {got}")

    def refuse(self, got: str) -> None:
        """Refuse a pickle that holds more than data."""
        self.source.expect(False, TENSORS_ALONE, f"one {got}", WEIGHTS_ALONE)

    # Reading

    def number(self, form: str) -> Any:
        """Read a number of a form of the module `struct`."""
        return struct.unpack(form, self.source.take(struct.calcsize(form)))[0]

    def bytes(self, form: str) -> bytes:
        """Return bytes that stand behind their number, which has that form."""
        count = self.number(form)
        self.source.charge(count)
        return self.source.take(count)

    def text(self, form: str) -> str:
        """Read a text that stands behind the number of its bytes."""
        data = self.bytes(form)
        self.source.charge(0 if data.isascii() else 3 * len(data))  # one rare character makes all of them wide
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.expect(False, "text that is no UTF-8")
            raise

    def integer(self) -> int:
        """Read an integer that stands behind the number of its bytes."""
        return int.from_bytes(self.bytes("<B"), "little", signed=True)

    def line(self) -> str:
        """Read a part of a name."""
        data = bytearray()
        while (byte := self.source.take(1)) != b"\n":
            data += byte
            self.expect(len(data) <= LONGEST_NAME, f"a name of more than {LONGEST_NAME} bytes")
        return data.decode("latin1")

    def protocol(self) -> None:
        """Read the version, of those that this machine knows."""
        number = self.number("<B")
        self.expect(2 <= number <= 5, f"protocol {number} where 2 to 5 are known")

    def begin_frame(self) -> None:
        """Read where a part ends that other readers fetch at once."""
        length = self.number("<Q")
        ok = self.source.at >= self.frame and length <= self.source.left
        self.expect(ok, f"a frame of {length} bytes within another, or beyond the end")
        self.frame = self.source.at + length

    # The stack

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def mark(self) -> None:
        """Put a mark on the stack."""
        self.marked.append(self.stack)
        self.stack = []

    def last(self, count: int) -> list[Any]:
        """Take so many values, of those above the last mark."""
        self.expect(len(self.stack) >= count, "an empty stack where values are taken")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def since_mark(self) -> list[Any]:
        """Take the values above the last mark, and the mark."""
        self.expect(bool(self.marked), "no mark where one is needed")
        values, self.stack = self.stack, self.marked.pop()
        return values

    def put(self, index: int) -> None:
        """Keep the last value in the memo."""
        self.expect(bool(self.stack), "an empty stack where a value is kept")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        """Put a value of the memo on the stack."""
        self.expect(index in self.memo, f"value {index} asked for, which was not kept")
        self.push(self.memo[index])

    def append(self, values: list[Any]) -> None:
        """Append to the list on top."""
        self.expect(bool(self.stack) and type(self.stack[-1]) is list, "values appended to what is no list")
        self.stack[-1].extend(values)

    def set(self, values: list[Any]) -> None:
        """Set items, a key and a value each, in the dict on top."""
        ok = bool(self.stack) and type(self.stack[-1]) is dict and len(values) % 2 == 0
        self.expect(ok, "items set in what is no dict, or half an item")
        for key, value in zip(values[::2], values[1::2], strict=True):
            self.expect(is_key(key), "a key that is neither a text nor a small int")
            self.stack[-1][key] = value

    # What is named and called

    def name(self, module: Any, attribute: Any) -> None:
        """Put on the stack what stands for a global, or refuse it by its name."""
        self.expect(type(module) is str and type(attribute) is str, "a global whose name is no text")
        name = f"{module}.{attribute}"
        if name not in self.names:
            said = name if re.fullmatch(rf"[\w.]{{1,{LONGEST_NAME}}}", name, re.ASCII) else shown(name[:LONGEST_NAME])
            self.refuse(f"that would call {said}")
        self.push(self.names[name])

    def reduce(self) -> None:
        """Call a function of the table."""
        function, given = self.last(2)
        self.expect(isinstance(function, Call) and type(given) is tuple, "a call of what is no function")
        fits = function.least <= len(given) <= function.most
        self.expect(fits, f"{len(given)} arguments for {function.name}")
        for part in given:  # what may be copied
            self.source.charge(COST * len(part) if type(part) in (list, str) else 0)
        self.push(function.make(*given))

    def build(self) -> None:
        """Drop a state that may be set on the value below it."""
        value, state = self.last(2)
        if not self.settable(value, state):
            self.refuse("that sets attributes")
        self.push(value)

    def persistent(self) -> None:
        """Put on the stack the storage of a persistent id."""
        (key,) = self.last(1)
        if self.storage is None:
            self.expect(False, "a storage where there are none")
        else:
            self.push(self.storage(key))
