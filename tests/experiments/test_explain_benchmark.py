"""The benchmark of explanations: that both sides have the same net, its record, and what it says without PyTorch."""

import json
import stat

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import explain
from experiments.benchmarks.peer_process import PeerProcess, Theirs, written
from jaxcnn.layers import BatchNorm, Conv, Dense, Flatten, MaxPool, Sequential
from tests.torch_nets import torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")


def script(folder, text):
    """Return a program that answers as told, in the place of a Python."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


@pytest.mark.slow
def test_without_pytorch_it_says_so(tmp_path):
    fake = script(tmp_path, """echo '{"missing": "captum"}'""")
    message = r"^explain: expected a Python to compare with, got one without captum\. Pass --torch-python with one"
    with pytest.raises(ImportError, match=message):
        explain.main(explain.Config(quick=True, torch_python=fake))


def test_a_process_that_ends_is_no_answer(tmp_path):
    with pytest.raises(OSError, match=r"^explain: expected an answer of the other process, got its end\."):
        PeerProcess("explain", script(tmp_path, "exit 1"), "torch_explanations.py", tmp_path, "PyTorch and captum")


def test_times_are_those_that_the_process_says(tmp_path):
    answers = """echo '{"torch": "2", "ways": {"rise": ["one", "two"]}}'
    while read line; do case $line in *two*) echo '{"seconds": 0.5}';; *) echo '{"seconds": 2}';; esac; done"""
    with PeerProcess("explain", script(tmp_path, answers), "torch_explanations.py", tmp_path, "captum") as process:
        assert process.versions == {"torch": "2"}
        assert process.times("rise") == {"one": 2, "two": 0.5}
        assert Theirs(process, "rise", "two").seconds(7) == 0.5


def test_layers_are_described(tmp_path):
    net = Sequential(
        conv=Conv(4, 5), norm=BatchNorm(), act=jnp.tanh, pool=MaxPool(2), edge=Conv(2, 3, padding="VALID"),
        flat=Flatten(), head=Dense(3),
    )  # fmt: skip
    x = jnp.zeros((2, 8, 8, 1))
    params, state = net.init(jax.random.key(0), x)
    file = written(tmp_path / "net.npz", net, params, state, x, jnp.zeros(2, jnp.int32), cells=3)
    with np.load(file) as found:
        about = json.loads(str(found["about"]))
        assert found["head.weight"].shape == (3, 8)
    assert about["cells"] == 3
    assert about["layers"][0] == [
        "conv", "Conv", {"in_channels": 1, "out_channels": 4, "kernel_size": [5, 5], "padding": [2, 2], "bias": True},
    ]  # fmt: skip
    assert about["layers"][1:4] == [
        ["norm", "BatchNorm", {"num_features": 4, "eps": 1e-5}],
        ["act", "tanh", {}],
        ["pool", "MaxPool", {"kernel_size": 2}],
    ]
    assert about["layers"][4][2]["padding"] == [0, 0]
    assert about["layers"][6] == ["head", "Dense", {"in_features": 8, "out_features": 3, "bias": True}]


def test_the_vgg_is_that_of_the_other_benchmarks():
    net, at, size = explain.EXPLAINED["vgg"]()
    params, _ = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, *size))))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 1_148_874
    assert at in net.layers


@pytest.mark.slow
def test_a_small_run_beside_captum_is_json():
    torchvision()
    pytest.importorskip("captum", reason="captum is not installed")
    result = explain.main(explain.Config(quick=True))
    assert json.loads(json.dumps(result.figures)) == result.figures
    assert [row["method"] for row in result.figures["cases"]] == list(explain.Config().methods)
    assert all(row["ratio"] > 0 for row in result.figures["cases"])
    assert result.holds, result.verdict
