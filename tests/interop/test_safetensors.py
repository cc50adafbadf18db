"""Weights in safetensors: the bits come back, and what is damaged, hostile or of another net is refused."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import fingerprint, load, save, surgery
from jaxcnn import functional as F
from jaxcnn.layers import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    LocalContrastNorm,
    MaxPool,
    Sequential,
    from_json,
    to_json,
)
from jaxcnn.training import predictor

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
    save(tmp_path / "net.safetensors", NET, *weights, spec=SPEC)
    return tmp_path / "net.safetensors"


def weights_in(path):
    model = load(path)
    return model.params, model.state


def header(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def packed(head, body):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + body


# --- round trip


def test_the_bits_and_the_nesting_come_back(weights, path):
    loaded = weights_in(path)
    assert fingerprint(loaded) == fingerprint(weights)
    assert jax.tree.structure(loaded) == jax.tree.structure(weights)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))


def test_the_same_net_gives_the_same_bytes(weights, tmp_path):
    files = [tmp_path / f"{number}.safetensors" for number in range(5)]
    for file in files:
        save(file, NET, *weights, spec=SPEC, class_names=["a", "é", '"'])
    first, *others = [file.read_bytes() for file in files]
    assert all(other == first for other in others)
    assert (8 + int.from_bytes(first[:8], "little")) % 8 == 0
    assert load(files[0]).class_names == ("a", "é", '"')
    with safetensors.safe_open(files[0], "np") as file:
        assert json.loads(file.metadata()["class_names"]) == ["a", "é", '"']


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
    save(tmp_path / "file", NET, *cast, spec=SPEC)
    loaded = weights_in(tmp_path / "file")
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
    save(tmp_path / "file", NET, params, state, spec=SPEC)
    assert fingerprint(weights_in(tmp_path / "file")) == fingerprint(weights)


def test_a_net_without_weights_comes_back(tmp_path):
    save(tmp_path / "file", Sequential(F.relu), {}, {}, spec=SPEC)
    assert weights_in(tmp_path / "file") == ({}, {})


def test_one_layer_is_a_net(tmp_path):
    net = BatchNorm()
    weights = net.init(jax.random.key(0), SPEC)
    save(tmp_path / "file", net, *weights, spec=SPEC)
    assert set(header((tmp_path / "file").read_bytes())[0]) == {"__metadata__", "scale", "bias", "mean", "var"}
    assert fingerprint(weights_in(tmp_path / "file")) == fingerprint(weights)


# --- another net


@pytest.mark.parametrize(
    ("net", "first"),
    [
        (made(norm2=BatchNorm()), "stage1/norm2/bias is missing"),
        (Sequential(flatten=Flatten(), head=Dense(3)), r"head/kernel has shape \[144, 3\] there, \[36, 3\] here"),
        (Sequential(stage1=NET[0], flatten=Flatten()), "head/bias is unexpected"),
        (made(5), r"head/kernel has shape \[144, 3\] there, \[180, 3\] here"),
    ],
)
def test_a_net_with_other_weights_is_refused_with_the_first_difference(net, first, weights, path, tmp_path):
    message = rf"expected weights of the net that is with them, got others \({first}\)\."
    with pytest.raises(ValueError, match=f"^save: {message} Pass what init or a training returned"):
        save(tmp_path / "file", net, *weights, spec=SPEC)
    assert not (tmp_path / "file").exists()
    head, body = header(path.read_bytes())
    path.write_bytes(packed(head | {"__metadata__": head["__metadata__"] | {"net": to_json(net)}}, body))
    with pytest.raises(ValueError, match=f"^load: {message} They are those in"):
        load(path)


def test_bytes_are_not_saved_for_kernels(weights, tmp_path):
    with pytest.raises(
        ValueError, match=r"^save: expected weights .* of int8 kernels what surgery\.dequantize makes of"
    ):
        save(tmp_path / "file", NET, surgery.quantize(weights[0]), weights[1], spec=SPEC)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"shape": [1, 6, 6, 1]}', '{"shape": 3, "dtype": "float32"}', '{"shape": [1, -6], "dtype": "x"}',
     '{"shape": [1, 1000000, 1000000, 1], "dtype": "float32"}', '{"shape": [1, 6, 6, 1], "dtype": "object"}',
     "[" * 100_000],
)  # fmt: skip
def test_an_input_that_is_none_is_refused(text, path):
    head, body = header(path.read_bytes())
    path.write_bytes(packed(head | {"__metadata__": head["__metadata__"] | {"input": text}}, body))
    with pytest.raises(ValueError, match=r"^load: expected a net that save wrote, got "):
        load(path)


def test_an_input_that_the_net_does_not_take_is_refused(path):
    head, body = header(path.read_bytes())
    text = json.dumps({"shape": [1, 6], "dtype": "float32"})
    path.write_bytes(packed(head | {"__metadata__": head["__metadata__"] | {"input": text}}, body))
    with pytest.raises(ValueError, match=r"^load: expected a net that save wrote, got .*, whose net takes no such"):
        load(path)


def test_class_names_that_are_none_are_refused(path):
    head, body = header(path.read_bytes())
    for text in ("{}", "[1]", "", "[" * 100_000):
        path.write_bytes(packed(head | {"__metadata__": head["__metadata__"] | {"class_names": text}}, body))
        with pytest.raises(ValueError, match=r"^load: expected a net that save wrote, got .* as class names"):
            load(path)


def test_there_is_one_class_name_for_each_output(weights, path):
    names = ["cat", "dog"]
    with pytest.raises(ValueError, match=r"^save: expected 3 class names, one for each output, got 2\. Pass train"):
        save(path, NET, *weights, spec=SPEC, class_names=names)
    head, body = header(path.read_bytes())
    path.write_bytes(packed(head | {"__metadata__": head["__metadata__"] | {"class_names": json.dumps(names)}}, body))
    with pytest.raises(ValueError, match=r"^load: expected 3 class names, one for each output, got 2\."):
        load(path)


WEIGH = """
import json, sys
from pathlib import Path
from jaxcnn import load

def kilobytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is
    begin, right = kilobytes("VmRSS"), True
    try:
        load(path)
    except ValueError:
        right = False
    found[path.name] = [kilobytes("VmHWM") - begin, right]
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in another way elsewhere")
def test_a_small_file_asks_for_little_memory(tmp_path):
    layers = {
        "a first": (Conv(1), (1, 4, 4, 1), True),
        "many windows": (AdaptiveMaxPool((2**31 - 1, 1)), (1, 4, 4, 1), False),
        "many pixels": (AdaptiveAvgPool(3), (1, 2**26, 1, 1), False),
        "averages": (AvgPool(3, padding="SAME"), (1, 2**13, 2**13, 1), True),
        "contrasts": (LocalContrastNorm(), (1, 2**13, 2**13, 1), True),
    }
    for name, (layer, shape, right) in layers.items():
        net, spec = Sequential(layer=layer), jax.ShapeDtypeStruct(shape, jnp.float32)
        if right:
            save(tmp_path / name, net, *net.init(jax.random.key(0), spec), spec=spec)
        else:  # which save refuses, too: another's bytes
            other = Sequential(layer=MaxPool(1))
            save(tmp_path / name, other, {}, {}, spec=spec)
            head, body = header((tmp_path / name).read_bytes())
            there = head | {"__metadata__": head["__metadata__"] | {"net": to_json(net)}}
            (tmp_path / name).write_bytes(packed(there, body))
    run = subprocess.run([sys.executable, "-c", WEIGH, tmp_path], capture_output=True, text=True, check=True)
    for name, (peak, right) in json.loads(run.stdout).items():
        assert right == layers[name][2], name
        assert peak * 1024 <= 2**26, (name, peak)


# --- a model


@pytest.mark.slow
def test_a_model_is_used_as_it_was_saved(weights, tmp_path):
    save(tmp_path / "file", NET, *weights, spec=SPEC, class_names=["cat", "dog", "gnu"])
    model = load(tmp_path / "file")
    assert (model.net, model.spec, model.class_names) == (NET, SPEC, ("cat", "dog", "gnu"))
    images = np.random.default_rng(0).random((4, 6, 6, 1), np.float32)
    logits = predictor(NET, *weights)(images)
    np.testing.assert_allclose(model(images), logits, rtol=1e-5)
    np.testing.assert_allclose(model(images[0]), logits[0], rtol=1e-4, atol=1e-5)
    levels = np.uint8(255 * images)
    np.testing.assert_allclose(model(levels), predictor(NET, *weights)(levels / np.float32(255)), rtol=1e-4, atol=1e-5)
    told = model.classify(images, top=2)
    for row, shares in zip(told, np.asarray(jax.nn.softmax(logits)), strict=True):
        assert [name for name, _ in row] == [model.class_names[at] for at in np.argsort(-shares)[:2]]
        np.testing.assert_allclose([share for _, share in row], np.sort(shares)[::-1][:2], rtol=1e-4)
    assert [name for name, _ in model.classify(images[0], top=2)[0]] == [name for name, _ in told[0]]
    assert len(model.classify(images)[0]) == 3  # all there are


def test_the_folder_of_a_run_is_its_model(path):
    path.rename(path.parent / "model.safetensors")
    assert load(str(path.parent)).net == NET
    empty = path.parent / "empty"
    empty.mkdir()
    message = f"load: expected a file, or a folder with model.safetensors in it, got {empty}. "
    with pytest.raises(OSError, match=f"^{re.escape(message)}"):
        load(str(empty))


def test_floats_that_look_like_bytes_are_refused(path):
    model = load(path)
    message = r"^Model: expected floating images in \[0, 1\], got values up to 255\. Divide by 255, or pass uint8\."
    with pytest.raises(ValueError, match=message):
        model(np.full((2, 6, 6, 1), 255.0, np.float32))
    assert model(np.full((2, 6, 6, 1), 3.0, np.float32)).shape == (2, 3)  # as a net takes that is not given pixels


def test_other_images_are_refused(path):
    model = load(path)
    for shape in ((2, 6, 6, 3), (2, 5, 6, 1), (6, 6)):
        with pytest.raises(ValueError, match=r"^Model: expected images of shape \(\.\.\., 6, 6, 1\), got \("):
            model(np.zeros(shape, np.float32))
    with pytest.raises(TypeError, match=r"^Model: expected images to be an array, got str\."):
        model("images")
    with pytest.raises(ValueError, match=r"^classify: expected a model with class names, got none\. Save it with"):
        model.classify(np.zeros((6, 6, 1), np.float32))


def test_what_has_classes_for_every_pixel_is_not_classified(tmp_path):
    net = Sequential(conv=Conv(2))
    save(tmp_path / "file", net, *net.init(jax.random.key(0), SPEC), spec=SPEC, class_names=["cell", "ground"])
    model = load(tmp_path / "file")
    assert model(np.zeros((6, 6, 1), np.float32)).shape == (6, 6, 2)
    for shape in ((6, 6, 1), (3, 6, 6, 1)):
        with pytest.raises(ValueError, match=r"^classify: expected logits \(N, classes\), got outputs of shape \("):
            model.classify(np.zeros(shape, np.float32))


def test_class_names_are_texts(weights, tmp_path):
    for names in ("abc", [1, 2, 3]):
        with pytest.raises(TypeError, match=r"^save: expected class_names as a list of texts, got "):
            save(tmp_path / "file", NET, *weights, spec=SPEC, class_names=names)


def test_64_bits_are_not_narrowed_in_silence(weights, tmp_path):
    save(tmp_path / "file", NET, *jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights), spec=SPEC)
    with pytest.raises(ValueError, match=r"^load: expected dtypes that JAX keeps, got 64 bits in "):
        weights_in(tmp_path / "file")


# --- what cannot be saved


def test_an_error_while_writing_leaves_what_was_there(weights, path, monkeypatch):
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match=r"^save: expected a file .*No space left"):
                save(path, NET, *jax.tree.map(jnp.negative, weights), spec=SPEC)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        assert path.read_bytes() == before
    with pytest.raises(OSError, match=r"^save: expected a file that can be written"):
        save(path / "below a file", NET, *weights, spec=SPEC)


def test_leaves_that_are_no_arrays_of_numbers_are_refused(weights, tmp_path):
    for leaf in (1.0, "text", jax.random.key(0), np.zeros(2, np.complex64), np.array(["text"])):
        with pytest.raises(TypeError, match=r"^save: expected an array of numbers as kernel, got "):
            save(tmp_path / "file", NET, {"kernel": leaf}, {}, spec=SPEC)
    with pytest.raises(ValueError, match=r"^save: expected one array a name, got two of \['a/b'\]\."):
        save(tmp_path / "file", NET, {"a": {"b": jnp.ones(1)}}, {"a/b": jnp.ones(1)}, spec=SPEC)
    with pytest.raises(ValueError, match=r"^to_json: expected layers and functions"):
        save(tmp_path / "file", Sequential(lambda x: x), {}, {}, spec=SPEC)
    assert not list(tmp_path.iterdir())


def test_without_the_library_the_fix_is_said(monkeypatch, weights, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    fix = r'expected safetensors to be installed, got none\. Install it with pip install "jaxcnn\[interop\]"\.'
    with pytest.raises(ImportError, match=f"^save: {fix}"):
        save(tmp_path / "file", NET, *weights, spec=SPEC)


# --- damaged and hostile files

SENTENCE = re.compile(r"^(load|from_json|[A-Z]\w+): expected .*, got .*\. [A-Z].*\.$", re.DOTALL)


def same_or_refused(path, weights):
    """Return whether the file is refused; fail where it is not with the design's sentence, or gives other bits."""
    try:
        loaded = weights_in(path)
    except ValueError as error:
        if not SENTENCE.match(str(error)):
            raise
        return True
    assert fingerprint(loaded) == fingerprint(weights)
    return False


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OSError, match=r"^load: expected a file, got .*\. Pass one that is there\."):
        weights_in(tmp_path / "none")


def test_files_of_others_are_refused(weights, tmp_path):
    arrays = {"head/kernel": np.zeros((144, 3), np.float32)}
    for metadata in (None, {"net": "{}"}, {"sha256": "0"}):
        safetensors.numpy.save_file(arrays, tmp_path / "file", metadata)
        with pytest.raises(ValueError, match=r"^load: expected a net .*, got .*, which something else did"):
            weights_in(tmp_path / "file")


def test_one_bit_of_an_array_is_seen(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"^load: expected the arrays that were written, got changed ones in "):
        weights_in(path)


def test_what_is_much_too_large_is_not_read(path):
    os.truncate(path, 5 * 10**9)
    with pytest.raises(ValueError, match=r"^load: expected .*, got .* bytes "):
        weights_in(path)


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
