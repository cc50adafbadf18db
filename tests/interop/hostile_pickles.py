"""Pickles that would run code, fill memory or lead out of bounds: name -> opcodes, and what is said of them."""

from tests.interop.torch_files import Tensor, called, named, pickled, put, rebuilt, storage, tensor

TOUCH = ("touch executed",)


def _raw(opcodes: bytes) -> bytes:
    return b"\x80\x02" + opcodes


def _laughs(levels: int) -> bytes:
    """Return lists of ten times the list before: 10^levels of them, said in a few bytes."""
    data = b"(" + put(["ha"]) + b"q\x00"
    for number in range(levels):
        data += b"](" + (b"h" + bytes([number])) * 10 + b"e" + b"q" + bytes([number + 1])
    return b"\x80\x02" + data + b"t."


def again(module: str, name: str, *arguments) -> bytes:
    """Return 200,000 calls with the same arguments."""
    calls = b"(" + named(module, name) + b"q\x00" + put(tuple(arguments)) + b"q\x01" + b"h\x00h\x01R" * 200_000
    return b"\x80\x02" + calls + b"t."


CALLS = {
    "os.system by GLOBAL": (
        pickled({"a": called("posix", "system", *TOUCH)}),
        r"would call posix\.system\. Save weights",
    ),
    "nt.system": (pickled(called("nt", "system", *TOUCH)), r"would call nt\.system\."),
    "os.system by STACK_GLOBAL": (
        _raw(put("posix") + put("system") + b"\x93" + put(TOUCH) + b"R."),
        r"would call posix\.system\.",
    ),
    "os.system by INST": (_raw(b"(" + put("touch executed") + b"iposix\nsystem\n."), r"the opcode b'i'"),
    "os.system by OBJ": (
        _raw(b"(" + named("posix", "system") + put("touch executed") + b"o."),
        r"would call posix\.system\.",
    ),
    "OBJ of a class that is known": (_raw(b"(" + named("collections", "OrderedDict") + b"o."), r"the opcode b'o'"),
    "NEWOBJ": (_raw(named("collections", "OrderedDict") + b")\x81."), r"the opcode b'\\x81'"),
    "NEWOBJ_EX": (_raw(named("collections", "OrderedDict") + b")}\x92."), r"the opcode b'\\x92'"),
    "eval": (pickled(called("builtins", "eval", "1")), r"would call builtins\.eval\."),
    "exec of Python 2": (pickled(called("__builtin__", "exec", "1")), r"would call __builtin__\.exec\."),
    "getattr": (pickled(called("builtins", "getattr", "a", "b")), r"would call builtins\.getattr\."),
    "__import__": (pickled(called("builtins", "__import__", "os")), r"would call builtins\.__import__\."),
    "compile": (pickled(called("builtins", "compile", "1", "a", "exec")), r"would call builtins\.compile\."),
    "open": (pickled(called("io", "open", "executed", "w")), r"would call io\.open\."),
    "subprocess": (pickled(called("subprocess", "Popen", "true")), r"would call subprocess\.Popen\."),
    "socket": (
        pickled(called("socket", "create_connection", ("localhost", 9))),
        r"would call socket\.create_connection\.",
    ),
    "functools.partial": (pickled(called("functools", "partial", 1)), r"would call functools\.partial\."),
    "a dotted name of what is known": (
        pickled(called("collections", "OrderedDict.fromkeys", [1])),
        "OrderedDict.fromkeys",
    ),
    "pickle.loads": (pickled(called("_pickle", "loads", "")), r"would call _pickle\.loads\."),
    "torch.load": (pickled(called("torch.serialization", "load", "a")), r"would call torch\.serialization\.load\."),
    "torch.hub": (pickled(called("torch.hub", "load", "a")), r"would call torch\.hub\.load\."),
    "numpy.load": (pickled(called("numpy", "load", "a")), r"would call numpy\.load\."),
    "a whole model": (
        pickled(named("torch.nn.modules.conv", "Conv2d") + b")\x81"),
        r"would call torch\.nn\.modules\.conv\.Conv2d",
    ),
    "EXT1": (_raw(b"\x82\x01."), r"the opcode b'\\x82'"),
    "EXT2": (_raw(b"\x83\x01\x01."), r"the opcode b'\\x83'"),
    "EXT4": (_raw(b"\x84\x01\x01\x01\x01."), r"the opcode b'\\x84'"),
    "BUILD that sets attributes": (
        pickled(called("collections", "OrderedDict") + put({"__class__": 1}) + b"b"),
        "one that sets attributes",
    ),
    "BUILD with __setstate__": (pickled(put({}) + put({"_metadata": {}, "__setstate__": 1}) + b"b"), "sets attributes"),
    "BUILD of slots": (pickled(put({}) + put((None, {"a": 1})) + b"b"), "sets attributes"),
    "BUILD of a tensor": (pickled(put(Tensor((2, 2))) + put({"_metadata": 1}) + b"b"), "sets attributes"),
    "BUILD of a function": (
        pickled(named("collections", "OrderedDict") + put({"_metadata": 1}) + b"b"),
        "sets attributes",
    ),
    "BUILD of a dtype of another order": (
        pickled(called("numpy", "dtype", "f8") + put((3, ">", None, None, None, -1, -1, 0)) + b"b"),
        "sets attributes",
    ),
    "a name that moves the cursor": (pickled(called("\x1b[2J", "a")), r"would call '\\x1b\[2J\.a'"),
    "a name of a megabyte": (_raw(b"c" + b"a" * 2**20), "a name of more than 200 bytes"),
    "a name that is no text": (_raw(b"K\x01K\x02\x93."), "a global whose name is no text"),
    "a function as a value": (pickled({"a": named("torch", "Size")}), r"that holds the function torch\.Size"),
    "a function as a key": (_raw(b"}" + named("torch", "Size") + b"Ns."), "a key that is neither"),
    "a call of no function": (pickled(put(1) + put(()) + b"R"), "a call of what is no function"),
    "a call of a dtype": (pickled(named("torch", "float32") + put(()) + b"R"), "a call of what is no function"),
    "arguments that are no tuple": (pickled(named("torch", "Size") + put([1]) + b"R"), "a call of what is no function"),
    "too many arguments": (pickled(called("torch", "Size", (1,), 2)), r"2 arguments for torch\.Size"),
    "too few arguments": (pickled(called("torch._utils", "_rebuild_tensor_v2")), "0 arguments for torch._utils"),
    "an encoding that decodes": (
        pickled(called("_codecs", "encode", "61", "hex")),
        "bytes as characters of latin1, got others",
    ),
    "an encoding that is no text": (pickled(called("_codecs", "encode", "a", 1)), "latin1, got others"),
    "a dtype of objects": (pickled(called("numpy", "dtype", "O")), "NumPy's dtypes of numbers"),
    "a scalar of objects": (
        pickled(called("numpy.core.multiarray", "scalar", called("numpy", "dtype", "f8"), "12345678")),
        "NumPy's scalars as a dtype and its bytes",
    ),
    "an array of objects": (
        pickled(called("numpy.core.multiarray", "_reconstruct", 1)),
        r"would call numpy\.core\.multi",
    ),
    "an OrderedDict of what is no pair": (
        pickled(called("collections", "OrderedDict", [1])),
        "dicts of pairs, got others",
    ),
    "a Counter with lists as keys": (
        pickled(called("collections", "Counter", [[[], 1]])),
        "dicts of pairs, got others",
    ),
    "sizes that are texts": (pickled(called("torch", "Size", ("a",))), "sizes as ints, got others"),
    "a device that is a dict": (pickled(called("torch", "device", {})), "devices by name, got others"),
    "a parameter of a text": (
        pickled(called("torch._utils", "_rebuild_parameter", "a", False, {})),
        "parameters that are tensors, got a str",
    ),
}

DAMAGED = {
    "nothing": (b"", "a whole file, got one that promises 1 bytes"),
    "no STOP": (pickled({"a": 1})[:-1], "promises 1 bytes at byte [0-9]+, where 0 are left"),
    "STOP at once": (_raw(b"."), "an empty stack where values are taken"),
    "two values": (_raw(b"}}."), "an end too early"),
    "a mark left": (_raw(b"}(K\x01."), "an end too early"),
    "no mark": (_raw(b"K\x01t."), "no mark where one is needed"),
    "values below the mark": (_raw(b"K\x01(\x85."), "an empty stack where values are taken"),
    "an empty stack kept": (_raw(b"q\x00."), "an empty stack where a value is kept"),
    "a value that was not kept": (_raw(b"h\x07."), "value 7 asked for, which was not kept"),
    "one of 4 billion that was not kept": (_raw(b"j\xff\xff\xff\xff."), "value 4294967295 asked for"),
    "append to a dict": (_raw(b"}K\x01a."), "values appended to what is no list"),
    "append to nothing": (_raw(b"(K\x01e."), "values appended to what is no list"),
    "an item of a list": (_raw(b"]K\x01K\x02s."), "items set in what is no dict"),
    "half an item": (_raw(b"}(K\x01u."), "items set in what is no dict, or half an item"),
    "a list as a key": (_raw(b"}]K\x01s."), "a key that is neither a text nor a small int"),
    "a key whose hash is chosen": (
        _raw(b"}" + put(2**61 - 1) + b"K\x01s."),
        "a key that is neither a text nor a small int",
    ),
    "protocol 255": (b"\x80\xff}.", "protocol 255 where 2 to 5 are known"),
    "protocol 0": (b"\x80\x00}.", "protocol 0 where 2 to 5 are known"),
    "opcodes of protocol 0": (_raw(b"(dp0\n."), "the opcode b'd'"),
    "an int as text": (_raw(b"I1\n."), "the opcode b'I'"),
    "a string to be evaluated": (_raw(b"S'a'\n."), "the opcode b'S'"),
    "a persistent id as text": (_raw(b"Pstorage\n."), "the opcode b'P'"),
    "a buffer out of band": (_raw(b"\x97."), r"the opcode b'\\x97'"),
    "a bytearray": (_raw(b"\x96" + b"\xff" * 8 + b"."), r"the opcode b'\\x96'"),
    "a set": (_raw(b"\x8f."), r"the opcode b'\\x8f'"),
    "an opcode that there is not": (_raw(b"\xff."), r"the opcode b'\\xff'"),
    "LONG4 of a negative length": (_raw(b"\x8b\xff\xff\xff\xff."), r"the opcode b'\\x8b'"),
    "LONG1 beyond the end": (_raw(b"\x8a\xff\x01."), "promises 255 bytes"),
    "BINBYTES8 of exabytes": (_raw(b"\x8e" + b"\xff" * 8 + b"."), r"the opcode b'\\x8e'"),
    "BINUNICODE8 of exabytes": (_raw(b"\x8d" + b"\x7f" * 8 + b"."), r"the opcode b'\\x8d'"),
    "bytes of 4 gigabytes": (_raw(b"B\xff\xff\xff\xffa."), "would take more"),
    "a text of 4 gigabytes": (_raw(b"X\xff\xff\xff\xffa."), "would take more"),
    "text that is no UTF-8": (_raw(b"X\x02\x00\x00\x00\xff\xfe."), "text that is no UTF-8"),
    "a frame of exabytes": (b"\x80\x04\x95" + b"\xff" * 8 + b"}.", "a frame of 18446744073709551615 bytes"),
    "a frame beyond the end": (b"\x80\x04\x95\x00\x00\x10\x00\x00\x00\x00\x00}.", "a frame of 1048576 bytes"),
    "a frame in a frame": (
        b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x95\x02\0\0\0\0\0\0\0}.",
        "a frame of 2 bytes within another",
    ),
    "a frame that ends behind": (b"\x80\x04\x95\x09\0\0\0\0\0\0\0}.        ", "an end too early"),
    "a number alone": (pickled(7), "a dict of tensors by name, got a int"),
    "a tensor alone": (pickled(Tensor((2, 2))), "a dict of tensors by name, got a ndarray"),
}

BOMBS = {
    "600,000 marks": (_raw(b"(" * 600_000 + b"."), "64 MB of memory, got one that would take more"),
    "lists of lists of lists": (_laughs(9), "64 MB of memory, got one that would take more"),
    "lists by DUP": (_raw(b"]" + b"2\x86" * 40 + b"."), "the opcode b'2'"),
    "a list in itself": (_raw(b"]q\x00h\x00a."), "nested more than 64 deep, or in themselves"),
    "a dict in itself": (_raw(b"}q\x00" + put("a") + b"h\x00s."), "nested more than 64 deep, or in themselves"),
    "a tuple in a tuple": (_raw(b")" + b"\x85" * 100_000 + b"."), "nested more than 64 deep"),
    "a persistent id in a persistent id": (
        _raw(b")" + b"\x85" * 100_000 + b"Q."),
        "persistent ids of storages, got another",
    ),
    "a long list made a dict again and again": (
        again("collections", "OrderedDict", [[str(n), n] for n in range(1000)]),
        "would take more",
    ),
    "a long text encoded again and again": (again("_codecs", "encode", "a" * 10**5, "latin1"), "would take more"),
    "a long device again and again": (again("torch", "device", "a" * 10**5, 1), "would take more"),
}


def _id(*parts) -> bytes:
    return pickled({"a": put(tuple(parts)) + b"Q"})


FLOAT = named("torch", "FloatStorage")
ANOTHER = "persistent ids of storages, got another"
TENSORS = {
    "an id that is a number": (pickled({"a": put(1) + b"Q"}), ANOTHER),
    "an id that is a list": (pickled({"a": put([1]) + b"Q"}), ANOTHER),
    "an id of a module": (_id("module", FLOAT, "a.py", "import os"), ANOTHER),
    "an id of something else": (_id("module", FLOAT, "0", "cpu", 4), ANOTHER),
    "an id too short": (_id("storage", FLOAT, "0", "cpu"), ANOTHER),
    "an id too long": (_id("storage", FLOAT, "0", "cpu", 4, None, None), ANOTHER),
    "an id of a part of a storage": (_id("storage", FLOAT, "0", "cpu", 4, ("1", 0, 2)), ANOTHER),
    "an id whose kind is a text": (_id("storage", "FloatStorage", "0", "cpu", 4), ANOTHER),
    "an id whose kind is a function": (_id("storage", named("torch", "Size"), "0", "cpu", 4), ANOTHER),
    "an id whose first is a tensor": (_id(Tensor((2, 2)), FLOAT, "0", "cpu", 4), ANOTHER),
    "an id whose key is a number": (_id("storage", FLOAT, 0, "cpu", 4), ANOTHER),
    "a storage of -1": (_id("storage", FLOAT, "0", "cpu", -1), ANOTHER),
    "a storage of 4.0": (_id("storage", FLOAT, "0", "cpu", 4.0), ANOTHER),
    "a storage of True": (_id("storage", FLOAT, "0", "cpu", True), ANOTHER),
    "a storage of 2^62": (
        _id("storage", FLOAT, "0", "cpu", 2**62),
        "storages within the file, got one of 4611686018427387904",
    ),
    "a storage of 2^2000": (_id("storage", FLOAT, "0", "cpu", 2**2000), "storages within the file, got one of 1148"),
    "a storage of two dtypes": (
        pickled({"a": [storage(), storage("Int")]}),
        "one dtype and size of a storage, got two",
    ),
    "a storage of two sizes": (pickled({"a": [storage(), storage(count=3)]}), "one dtype and size of a storage"),
    "a thousand storages": (
        pickled([storage(key=str(n), count=2**10) for n in range(1000)]),
        "storages within the file",
    ),
    "a dtype of another name": (pickled({"a": storage("Float33")}), r"would call torch\.Float33Storage"),
    "complex numbers": (pickled({"a": storage("ComplexFloat")}), r"would call torch\.ComplexFloatStorage"),
    "quantized numbers": (pickled({"a": storage("QInt8")}), r"would call torch\.QInt8Storage"),
    "a quantized tensor": (
        pickled(called("torch._utils", "_rebuild_qtensor")),
        r"would call torch\._utils\._rebuild_qtensor",
    ),
    "a sparse tensor": (pickled(called("torch._utils", "_rebuild_sparse_tensor")), r"_utils\._rebuild_sparse_tensor"),
    "a subclass": (pickled(called("torch._tensor", "_rebuild_from_type_v2")), r"_tensor\._rebuild_from_type_v2"),
    "conjugated": (pickled({"a": tensor(Tensor((2, 2)), {"conj": True})}), "tensors without metadata, got one with"),
    "metadata that are a tensor": (pickled({"a": tensor(Tensor((2, 2)), Tensor((4,)))}), "tensors without metadata"),
    "an offset beyond": (
        pickled({"a": Tensor((4,), offset=1)}),
        r"one of shape \(4,\), strides \(1,\), offset 1 in 4 num",
    ),
    "an offset of 2^63": (pickled({"a": Tensor((1,), offset=2**63)}), "tensors within their storages"),
    "an offset below": (pickled({"a": Tensor((1,), offset=-1)}), "an offset, sizes and strides, got others"),
    "an offset that is a bool": (pickled({"a": Tensor((1,), offset=True)}), "an offset, sizes and strides, got others"),
    "an offset that is a tensor": (
        pickled({"a": rebuilt(storage(), tensor(Tensor((), "Long", "1", 1)), (1,), (1,))}),
        "an offset, sizes and strides, got others",
    ),
    "a stride below": (pickled({"a": Tensor((2,), stride=(-1,))}), "an offset, sizes and strides, got others"),
    "a stride beyond": (pickled({"a": Tensor((2,), stride=(4,))}), "tensors within their storages"),
    "a stride of 2^62": (pickled({"a": Tensor((2,), stride=(2**62,))}), "tensors within their storages"),
    "a size below": (pickled({"a": Tensor((-2, -2))}), "an offset, sizes and strides, got others"),
    "sizes that are a list": (
        pickled({"a": rebuilt(storage(), 0, [2], [1])}),
        "an offset, sizes and strides, got others",
    ),
    "more sizes than strides": (
        pickled({"a": Tensor((2, 2), stride=(1,))}),
        "an offset, sizes and strides, got others",
    ),
    "more axes than there are": (pickled({"a": Tensor((1,) * 9)}), "an offset, sizes and strides, got others"),
    "a size that overflows": (pickled({"a": Tensor((2**32, 2**32))}), "tensors within their storages"),
    "terabytes by a stride of 0": (
        pickled({"a": Tensor((2**40,), stride=(0,))}),
        r"tensors no larger than their storages, got one of shape \(1099511627776,\)",
    ),
    "five numbers of four": (pickled({"a": Tensor((5, 4), stride=(0, 1))}), r"Save a clone\(\) of what was expanded\."),
    "nothing, of an endless shape": (pickled({"a": Tensor((0, 2**62, 2**62))}), "shapes of arrays, got an endless one"),
    "a tensor of a text": (pickled({"a": rebuilt("0", 0, (1,), (1,))}), "tensors as a storage, an offset"),
    "a tensor of a matrix": (pickled({"a": rebuilt(Tensor((2, 2)), 0, (1,), (1,))}), "tensors as a storage, an offset"),
    "a tensor of every second number": (
        pickled({"a": rebuilt(Tensor((2,), stride=(2,)), 0, (2,), (1,))}),
        "tensors as a storage, an offset",
    ),
    "bytes of which no float is made": (
        pickled({"a": rebuilt(storage("Untyped", "1", 3), 0, (0,), (1,), FLOAT, by="_rebuild_tensor_v3")}),
        "tensors as a storage of bytes",
    ),
    "bytes that are floats": (
        pickled({"a": rebuilt(storage(), 0, (1,), (1,), FLOAT, by="_rebuild_tensor_v3")}),
        "tensors as a storage of bytes",
    ),
    "bytes of a dtype that is a text": (
        pickled({"a": rebuilt(storage("Untyped", "1", 4), 0, (1,), (1,), "O", by="_rebuild_tensor_v3")}),
        "tensors as a storage of bytes",
    ),
}

WITHIN_A_FILE = {**CALLS, **TENSORS}  # wherever they lie
PICKLES = {**CALLS, **TENSORS, **DAMAGED, **BOMBS}
