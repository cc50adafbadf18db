"""Weights in safetensors: the bits come back, and what is damaged, hostile or of another net is refused."""

import importlib.metadata
import json
import os
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import fingerprint
from jaxcnn import functional as F
from jaxcnn.interop.safetensors import load_weights, save_weights
from jaxcnn.layers import BatchNorm, Conv, Dense, Flatten, Sequential, from_json

safetensors = pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("quick_compilation")

SPEC = jax.ShapeDtypeStruct((1, 6, 6, 1), jnp.float32)
MUTATIONS = 300


def made(features=4, act=F.relu, **layers):
    stage = Sequential(conv1=Conv(features), norm1=BatchNorm(), act1=act, **layers)
    return Sequential(stage1=stage, flatten=Flatten(), head=Dense(3))


NET = made()


@pytest.fixture(scope="module")
def weights():
    params, state = NET.init(jax.random.key(0), SPEC)
    return params, jax.tree.map(lambda leaf: leaf + 0.5, state)


@pytest.fixture
def path(weights, tmp_path):
    save_weights(tmp_path / "net.safetensors", NET, *weights)
    return tmp_path / "net.safetensors"


def header(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def packed(head, body):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + body


# --- round trip


def test_the_bits_and_the_nesting_come_back(weights, path):
    loaded = load_weights(path, NET, SPEC)
    assert fingerprint(loaded) == fingerprint(weights)
    assert jax.tree.structure(loaded) == jax.tree.structure(weights)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))


def test_others_read_the_names_of_flax_the_net_and_the_hash(weights, path):
    with safetensors.safe_open(path, "np") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    parts = {"conv1": ("bias", "kernel"), "norm1": ("bias", "mean", "scale", "var")}
    names = {f"stage1/{layer}/{leaf}" for layer, leaves in parts.items() for leaf in leaves}
    assert set(arrays) == names | {"head/bias", "head/kernel"}
    np.testing.assert_array_equal(arrays["stage1/norm1/var"], weights[1]["stage1"]["norm1"].var)
    assert from_json(metadata["net"]) == NET
    assert metadata["jaxcnn"] == importlib.metadata.version("jaxcnn")
    assert metadata["sha256"] == fingerprint(arrays)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int8, jnp.uint32, jnp.bool])
def test_dtypes_come_back(dtype, weights, tmp_path):
    cast = jax.tree.map(lambda leaf: (100 * leaf).astype(dtype), weights)
    save_weights(tmp_path / "file", NET, *cast)
    loaded = load_weights(tmp_path / "file", NET, SPEC)
    assert fingerprint(loaded) == fingerprint(cast)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    "other",
    [
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, -1)[..., ::2],
        lambda a: np.flip(np.flip(a).copy()),
        lambda a: a.astype(a.dtype.newbyteorder(">")),
    ],
    ids=["Fortran", "strided", "backwards", "big-endian"],
)
def test_arrays_come_back_however_they_lie_in_memory(other, weights, tmp_path):
    params, state = jax.tree.map(lambda leaf: other(np.asarray(leaf)), weights)
    save_weights(tmp_path / "file", NET, params, state)
    assert fingerprint(load_weights(tmp_path / "file", NET, SPEC)) == fingerprint(weights)


def test_a_net_without_weights_comes_back(tmp_path):
    save_weights(tmp_path / "file", Sequential(F.relu), {}, {})
    assert load_weights(tmp_path / "file", Sequential(F.relu), SPEC) == ({}, {})


def test_one_layer_is_a_net(tmp_path):
    net = BatchNorm()
    weights = net.init(jax.random.key(0), SPEC)
    save_weights(tmp_path / "file", net, *weights)
    assert set(header((tmp_path / "file").read_bytes())[0]) == {"__metadata__", "scale", "bias", "mean", "var"}
    assert fingerprint(load_weights(tmp_path / "file", net, SPEC)) == fingerprint(weights)


# --- another net


@pytest.mark.parametrize(
    ("net", "first"),
    [
        (made(norm2=BatchNorm()), "stage1/norm2/bias is missing"),
        (Sequential(flatten=Flatten(), head=Dense(3)), r"head/kernel has shape \[144, 3\] there, \[36, 3\] here"),
        (Sequential(stage1=NET[0], flatten=Flatten()), "head/bias is unexpected"),
        (made(5), r"head/kernel has shape \[144, 3\] there, \[180, 3\] here"),
        (made(act=F.tanh), '"function": "relu" there, "function": "tanh" here'),
    ],
)
def test_another_net_is_refused_with_the_first_difference(net, first, path):
    with pytest.raises(ValueError, match=rf"^load_weights: expected weights of this net, got .* \({first}\)\. Build"):
        load_weights(path, net, SPEC)


def test_another_input_is_refused(path):
    with pytest.raises(ValueError, match=r"stage1/conv1/kernel has shape \[3, 3, 1, 4\] there, \[3, 3, 3, 4\] here"):
        load_weights(path, NET, jax.ShapeDtypeStruct((1, 6, 6, 3), "f4"))


def test_64_bits_are_not_narrowed_in_silence(weights, tmp_path):
    save_weights(tmp_path / "file", NET, *jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights))
    with pytest.raises(ValueError, match=r"^load_weights: expected dtypes that JAX keeps, got 64 bits in "):
        load_weights(tmp_path / "file", NET, SPEC)


# --- what cannot be saved


def test_an_error_while_writing_leaves_what_was_there(weights, path, monkeypatch):
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match=r"^save_weights: expected a file .*No space left"):
                save_weights(path, NET, *jax.tree.map(jnp.negative, weights))
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        assert path.read_bytes() == before
    with pytest.raises(OSError, match=r"^save_weights: expected a file that can be written"):
        save_weights(path / "below a file", NET, *weights)


def test_leaves_that_are_no_arrays_of_numbers_are_refused(weights, tmp_path):
    for leaf in (1.0, "text", jax.random.key(0), np.zeros(2, np.complex64), np.array(["text"])):
        with pytest.raises(TypeError, match=r"^save_weights: expected an array of numbers as kernel, got "):
            save_weights(tmp_path / "file", NET, {"kernel": leaf}, {})
    with pytest.raises(ValueError, match=r"^save_weights: expected one array a name, got two of \['a/b'\]\."):
        save_weights(tmp_path / "file", NET, {"a": {"b": jnp.ones(1)}}, {"a/b": jnp.ones(1)})
    with pytest.raises(ValueError, match=r"^to_json: expected layers and functions"):
        save_weights(tmp_path / "file", Sequential(lambda x: x), {}, {})
    assert not list(tmp_path.iterdir())


def test_without_the_library_the_fix_is_said(monkeypatch, weights, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    fix = r'expected safetensors to be installed, got none\. Install it with pip install "jaxcnn\[interop\]"\.'
    with pytest.raises(ImportError, match=f"^save_weights: {fix}"):
        save_weights(tmp_path / "file", NET, *weights)
    with pytest.raises(ImportError, match=f"^load_weights: {fix}"):
        load_weights(tmp_path / "file", NET, SPEC)


# --- damaged and hostile files

SENTENCE = re.compile(r"^(load_weights|from_json|[A-Z]\w+): expected .*, got .*\. [A-Z].*\.$", re.DOTALL)


def same_or_refused(path, weights):
    """Return whether the file is refused; fail where it is not with the design's sentence, or gives other bits."""
    try:
        loaded = load_weights(path, NET, SPEC)
    except ValueError as error:
        if not SENTENCE.match(str(error)):
            raise
        return True
    assert fingerprint(loaded) == fingerprint(weights)
    return False


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=r"^load_weights: expected a file, got .*\. Pass one that is there\."):
            load_weights(path, NET, SPEC)


def test_files_of_others_are_refused(weights, tmp_path):
    arrays = {"head/kernel": np.zeros((144, 3), np.float32)}
    for metadata in (None, {"net": "{}"}, {"sha256": "0"}):
        safetensors.numpy.save_file(arrays, tmp_path / "file", metadata)
        with pytest.raises(ValueError, match=r"^load_weights: expected whole weights that save_weights wrote, got "):
            load_weights(tmp_path / "file", NET, SPEC)


def test_one_bit_of_an_array_is_seen(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"^load_weights: expected the arrays that were written, got changed ones in "):
        load_weights(path, NET, SPEC)


def test_what_is_much_too_large_is_not_read(path):
    os.truncate(path, 5 * 10**9)
    with pytest.raises(ValueError, match=r"^load_weights: expected weights of this net, got 5000000000 bytes in "):
        load_weights(path, NET, SPEC)


def test_hostile_headers_are_refused(path, weights):
    head, body = header(path.read_bytes())
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    empty = one | {"data_offsets": [0, 0]}
    text = json.dumps(head)
    hostile = {
        "nothing": b"",
        "a length alone": (2).to_bytes(8, "little"),
        "a header of gigabytes": (5 * 10**9).to_bytes(8, "little") + b"{}",
        "a header of exabytes": b"\xff" * 8 + b"{}",
        "no JSON": packed(b"\x80\x04pickle.", b""),
        "deep JSON": packed(b"[" * 100_000, b""),
        "deep metadata": packed(b'{"__metadata__":' + b'{"a":' * 100_000, b""),
        "a list": packed([], b""),
        "no arrays": packed({"__metadata__": head["__metadata__"]}, b""),
        "numbers as metadata": packed(head | {"__metadata__": {"net": 1, "sha256": 2}}, body),
        "another dtype": packed(head | {"head/bias": head["head/bias"] | {"dtype": "U32"}}, body),
        "a dtype of no array": packed(head | {"head/bias": head["head/bias"] | {"dtype": "F8_E4M3"}}, body),
        "another shape": packed(head | {"head/bias": head["head/bias"] | {"shape": [3, 1]}}, body),
        "a shape that overflows": packed({"a": one | {"shape": [2**63, 4]}}, b"1234"),
        "an empty shape that overflows": packed(head | {"a": empty | {"shape": [0, 2**63]}}, body),
        "negative offsets": packed({"a": one | {"data_offsets": [-4, 0]}}, b"1234"),
        "offsets out of the file": packed(head | {"a": one | {"data_offsets": [2**40, 2**40 + 4]}}, body),
        "arrays over each other": packed(head | {"a": head["head/bias"]}, body),
        "a hole": packed(head, body + b"1234"),
        "a name twice": packed(text.replace('"head/bias"', '"head/kernel"', 1).encode(), body),
    }
    for name, data in hostile.items():
        path.write_bytes(data)
        assert same_or_refused(path, weights), name
    # Said twice with the same words it is said once.
    path.write_bytes(packed(f'{text[:-1]}, "head/bias": {json.dumps(head["head/bias"])}}}'.encode(), body))
    same_or_refused(path, weights)


def test_a_net_that_no_class_builds_is_refused(path, weights):
    head, body = header(path.read_bytes())
    marker = path.with_name("executed")
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    for net in ("", "{}", code, json.dumps({"jaxcnn": 1, "net": {"function": code}}), '{"jaxcnn": 1, "net": 1e999}'):
        path.write_bytes(packed(head | {"__metadata__": head["__metadata__"] | {"net": net}}, body))
        assert same_or_refused(path, weights)
    assert not marker.exists()


def mutated(random, data):
    """Return the data with one of: a bit flipped, a part cut off, zeroed, taken out, moved, or random bytes."""
    begin, end = sorted(random.integers(0, len(data) + 1, 2).tolist())
    kind = random.integers(6)
    if kind == 0:
        at = int(random.integers(len(data)))
        return data[:at] + bytes([data[at] ^ (1 << random.integers(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:begin]
    if kind == 2:
        return data[:begin] + bytes(end - begin) + data[end:]
    if kind == 3:
        return data[:begin] + data[end:]
    if kind == 4:
        return data[begin:end] + data[:begin] + data[end:]
    return data[:begin] + random.bytes(end - begin) + data[end:]


def test_mutated_files_are_refused_or_the_same(path, weights):
    random, data = np.random.default_rng(0), path.read_bytes()
    _, body = header(data)
    refused = 0
    for number in range(MUTATIONS):
        # Every other one within the header, which is where a reader can be led astray.
        head = data[: -len(body)]
        changed = mutated(random, head) + body if number % 2 else mutated(random, data)
        path.write_bytes(changed)
        refused += same_or_refused(path, weights) or changed == data
    assert refused > 0.95 * MUTATIONS
