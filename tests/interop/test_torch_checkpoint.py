"""Checkpoints of PyTorch read as data: what is written comes back."""

import collections
import os
import pickle
import re
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.interop.torch import read
from jaxcnn.interop.torch.storages import KINDS
from tests.interop.torch_files import (
    FOUR,
    GOOD,
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
    zipped,
)
from tests.shared_data import SHARED

AKAMASTER = SHARED / "weights_akamaster"
CONTAINERS = {"since 1.6": since_1_6, "before 1.6": before_1_6}


@pytest.fixture(params=CONTAINERS.values(), ids=CONTAINERS.keys())
def written(request, tmp_path):
    """Return `written(pickle, storages)`: what is read of them, in either container."""

    def write(pickle, storages=FOUR, **options):
        path = tmp_path / "net.pth"
        path.write_bytes(request.param(pickle, storages, **options))
        return read(path)

    return write


@pytest.fixture
def read_bytes(tmp_path):
    def write(data):
        (tmp_path / "file").write_bytes(data)
        return read(tmp_path / "file")

    return write


# Without PyTorch


def test_tensors_and_numbers(written):
    found = written(GOOD)
    assert list(found) == ["a", "epoch"]
    assert found["epoch"] == 3
    np.testing.assert_array_equal(found["a"], np.array([[1, 2], [3, 4]], np.float32))
    assert found["a"].dtype == np.float32


@pytest.mark.parametrize(("kind", "dtype"), [(kind, dtype) for kind, dtype in KINDS.items()])
def test_dtypes(kind, dtype, written):
    array = np.array([0, 1, 1, 0, 1, 0]).astype(jnp.dtype(dtype))
    value = {"a": Tensor((3, 2), kind, "k", 6), "b": Tensor((2,), kind, "k", 6, offset=4)}
    found = written(pickled(value), {"k": (6, array.tobytes())})
    assert found["a"].dtype == found["b"].dtype == array.dtype
    np.testing.assert_array_equal(found["a"], array.reshape(3, 2))
    np.testing.assert_array_equal(found["b"], array[4:])


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "float32", "bfloat16"])
def test_dtypes_beside_storages_of_bytes(dtype, written):
    array = np.arange(6).astype(jnp.dtype(dtype))
    held = storage("Untyped", "k", array.nbytes)
    value = rebuilt(held, 1, (2, 2), (2, 1), named("torch", dtype), by="_rebuild_tensor_v3")
    found = written(pickled({"a": value}), {"k": (array.nbytes, array.tobytes())})
    assert found["a"].dtype == array.dtype
    np.testing.assert_array_equal(found["a"], array[1:5].reshape(2, 2))


def test_views_share_their_storage(written):
    value = {
        "transposed": Tensor((2, 2), stride=(1, 2)),
        "last": Tensor((), offset=3),
        "every second": Tensor((2, 1), stride=(2, 7)),
        "twice": Tensor((2, 2), stride=(0, 1)),
        "nothing": Tensor((0, 5), offset=4),
    }
    found = written(pickled(value))
    np.testing.assert_array_equal(found["transposed"], [[1, 3], [2, 4]])
    np.testing.assert_array_equal(found["last"], 4)
    np.testing.assert_array_equal(found["every second"], [[1], [3]])
    np.testing.assert_array_equal(found["twice"], [[1, 2], [1, 2]])
    assert found["nothing"].shape == (0, 5)
    found["last"][()] = 9
    assert found["transposed"][1, 1] == 9


def test_what_wraps_tensors_is_taken_away(written):
    hooks = called("collections", "OrderedDict")
    weight = called("torch._utils", "_rebuild_parameter", Tensor((2, 2)), True, hooks)
    marked = called("torch._utils", "_rebuild_parameter_with_state", Tensor((2, 2)), True, hooks, {"tag": "a"})
    old = called("torch._utils", "_rebuild_tensor", storage(), 0, (4,), (1,))
    named_parts = hooks + b"(" + b"".join(map(put, ("w", weight, "m", marked, "o", old, "s", storage()))) + b"u"
    versions = put({"_metadata": hooks + put("") + put({"version": 1}) + b"s"})
    found = written(pickled({"state_dict": named_parts + versions + b"b"}))["state_dict"]
    assert list(found) == ["w", "m", "o", "s"]
    assert all(isinstance(array, np.ndarray) for array in found.values())
    np.testing.assert_array_equal(found["o"], found["s"])


def test_values_of_torch(written):
    value = {
        "size": called("torch", "Size", (3, 4)),
        "device": called("torch", "device", "cuda", 1),
        "dtype": named("torch", "bfloat16"),
        "pairs": called("collections", "OrderedDict", [["a", 1], ["b", 2]]),
    }
    expected = {"size": (3, 4), "device": "cuda:1", "dtype": jnp.bfloat16, "pairs": {"a": 1, "b": 2}}
    assert written(pickled(value), {}) == expected


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values(protocol, written):
    value = {
        "lists": [[], [1], list(range(1000))],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "numbers": [0, 255, 256, 65535, 65536, -1, 2**31, -(2**70), 2**1000, 0.1, float("inf"), True, False, None],
        "texts": ["", "a", "ä€😀", "a" * 70_000],
        "bytes": b"\x00\xff" * 50,
        "dict": {1: {"deep": {"deeper": {}}}, 0: 1},
        "many": {f"name{n}": n for n in range(300)},
        "milestones": collections.Counter({30: 1, 60: 2}),
        "ordered": collections.OrderedDict(a=1, b=2),
        "best": np.float64(0.9173),
        "scalars": [np.float32(0.5), np.int64(-7), np.bool_(True), np.uint8(3), np.float16(2)],
    }
    value["again"] = value["ordered"]
    found = written(pickle.dumps(value, protocol), {})
    assert found == value
    assert type(found["best"]) is float
    assert type(found["ordered"]) is dict


def test_texts_of_python_2(written):
    assert written(b"\x80\x02}(U\x01aK\x01T\x01\x00\x00\x00bK\x02u.", {}) == {"a": 1, "b": 2}


def test_numbers_of_the_other_byte_order(read_bytes):
    data = struct.pack(">4f", 1, 2, 3, 4)
    found = read_bytes(zipped([("net/data.pkl", GOOD), ("net/data/0", data), ("net/byteorder", b"big")]))
    np.testing.assert_array_equal(found["a"].ravel(), [1, 2, 3, 4])


@pytest.mark.parametrize(
    "lies",
    [
        {"wide": {}},  # also counted in 64 bits
        {"local": {0: {"extra": b"FB\x04\x00ZZZZ"}}},  # padded
        {"listed": {0: {"mode": 0o100644}}},
        {
            "local": {1: {"flags": 8, "crc": 0, "packed": 0, "size": 0, "descriptor": b"PK\7\x08" + bytes(12)}},
            "listed": {1: {"flags": 8}},
        },
        {"local": {1: {"crc": 0}}, "listed": {1: {"crc": 0}}},  # PyTorch can be told to compute none
        {"end": {"count": 2, "here": 2}},
    ],
)
def test_forms_of_zips(lies, read_bytes):
    found = read_bytes(zipped([("net/data.pkl", GOOD), ("net/data/0", FOUR["0"][1])], **lies))
    np.testing.assert_array_equal(found["a"].ravel(), [1, 2, 3, 4])


def test_safetensors(read_bytes):
    header = {"__metadata__": {"format": "pt"}, "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [2, 18]}}
    header |= {
        "a": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]},
        "0": {"dtype": "I8", "shape": [0], "data_offsets": [2, 2]},
    }
    found = read_bytes(safetensors(header, b"\x80\x3f" + FOUR["0"][1]))
    assert list(found) == ["b", "a", "0"]
    np.testing.assert_array_equal(found["b"], [[1, 2], [3, 4]])
    assert found["a"] == jnp.bfloat16(1)
    assert found["0"].dtype == np.int8 and found["0"].shape == (0,)


def test_data_that_look_like_a_pickle_are_data(written):
    code = pickled(called("posix", "system", "touch executed")).ljust(64, b"\0")
    found = written(pickled({"a": Tensor((64,), "Byte", count=64)}), {"0": (64, code)})
    assert found["a"].tobytes() == code


# Paths


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to pipe").symlink_to(tmp_path / "pipe")
    (tmp_path / "link to nothing").symlink_to(tmp_path / "none")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    paths = [tmp_path, tmp_path / "none", tmp_path / "pipe", tmp_path / "link to pipe", tmp_path / "loop"]
    for path in (*paths, tmp_path / "link to nothing", "/dev/zero", "/dev/null", "a\0b", tmp_path / "none" / "none"):
        with pytest.raises(OSError, match=r"^read: expected a file, got .*\. Pass one that is there\.$"):
            read(path)
    for path in (None, 0, b"a", ["a"]):
        with pytest.raises(
            TypeError, match=r"^read: expected the path of a file, got .*\. Pass a str or a pathlib\.Path\.$"
        ):
            read(path)


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "file").write_bytes(since_1_6(GOOD, FOUR))
    (tmp_path / "link").symlink_to("file")
    assert read(str(tmp_path / "link"))["epoch"] == 3


# With PyTorch


def same(ours, theirs):
    """Compare what is read here and there, bit by bit."""
    torch = pytest.importorskip("torch")
    if isinstance(theirs, torch.Tensor):
        dtype = re.sub(r"torch\.", "", str(theirs.dtype))
        assert isinstance(ours, np.ndarray)
        assert str(ours.dtype) == dtype
        assert ours.shape == tuple(theirs.shape)
        there = (
            theirs.detach().contiguous().view(torch.uint8)
            if theirs.ndim
            else theirs.detach().reshape(1).view(torch.uint8)
        )
        assert np.ascontiguousarray(ours).tobytes() == there.numpy().tobytes()
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert type(ours) is (tuple if isinstance(theirs, tuple) else list)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    elif isinstance(theirs, torch.dtype | torch.device):
        assert str(ours) == str(theirs).removeprefix("torch.")
    else:
        assert ours == theirs
        assert type(ours) is type(theirs)


@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet32-d509ac18", "resnet44-014dd654", "resnet56-4bfd9763"])
def test_published_weights_are_read_as_pytorch_does(name):
    torch = pytest.importorskip("torch")
    path = AKAMASTER / f"{name}.th"
    if not path.exists():
        pytest.skip("the published weights are not there")
    same(read(path), torch.load(path, weights_only=True, map_location="cpu"))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}], ids=str)
def test_what_pytorch_writes_is_read(options, tmp_path):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(5, 6, generator=generator)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60, 60])
    net(torch.randn(2, 3, 3, 3, generator=generator)).sum().backward()
    optimizer.step()
    marked = torch.nn.Parameter(random.clone())
    marked.tag = "a"
    value = {
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": dict(scheduler.state_dict()),
        "epoch": 7,
        "dtypes": [
            (random * 100).to(getattr(torch, name))
            for name in ("half", "bfloat16", "double", "long", "int", "short", "int8", "uint8", "bool")
        ],
        "new dtypes": [torch.arange(6).to(getattr(torch, name)) for name in ("uint16", "uint32", "uint64")],
        "views": [
            random,
            random.T,
            random[1:, ::2],
            random[2],
            random[2, 3],
            random[:0],
            random.view(2, 15),
            random[:, 1],
        ],
        "parameters": [torch.nn.Parameter(random), marked],
        "others": [torch.float32, torch.device("cpu"), random.shape, None, "ä", 0.5, ()],
    }
    torch.save(value, tmp_path / "file.pt", **options)
    same(read(tmp_path / "file.pt"), value)


def test_what_pytorch_makes_without_checksums_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(5)}, tmp_path / "file.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    same(read(tmp_path / "file.pt"), {"a": torch.arange(5)})


def test_a_model_of_pytorch_is_refused_by_its_class(tmp_path):
    torch = pytest.importorskip("torch")
    for value, name in (
        (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, r"torch\.ComplexFloatStorage"),
        ({"a": torch.eye(2).to_sparse()}, r"torch\._utils\._rebuild_sparse_tensor"),
    ):
        for new in (True, False):
            torch.save(value, tmp_path / "file.pt", _use_new_zipfile_serialization=new)
            with pytest.raises(
                ValueError, match=rf"got one that would call {name}\. Save weights alone: torch\.save\("
            ):
                read(tmp_path / "file.pt")
