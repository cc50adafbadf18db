"""The benchmark of folding and of weights in bytes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import inference
from jaxcnn import data
from jaxcnn.layers import BatchNorm, Dense, Flatten, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.slow
def test_a_folded_net_is_measured_and_gives_the_same():
    config = inference.Config(models=("cifar_resnet8",), batch_size=2, image_size=8, seconds=0.05)
    row = inference.folded(config, "cifar_resnet8")
    assert row["difference"] < 1e-4
    assert row["pairs"] >= 3
    assert row["ratio"] > 0


def test_the_costs_of_bytes_are_those_of_rounding():
    # Of two logits that differ by less than the grid can say the wrong one wins.
    kernel = jnp.array([[127.0, 127.0], [0.0, 0.4]])
    images = np.array([[[[1.0], [0.0]]], [[[1.0], [1.0]]]], np.float32)
    test = data.from_arrays(images, np.array([0, 1]))
    net = Sequential(flatten=Flatten(), head=Dense(2, use_bias=False), norm=BatchNorm())
    params, state = net.init(jax.random.key(0), test.spec)
    params = params | {"head": {"kernel": kernel}}
    row = inference.quantized("a net", net, params, state, test)
    assert row["float32"] == 1.0
    assert row["int8"] == 0.5
    assert row["bytes"] == 4 * (4 + 2)  # the bias is the batch norm's
    assert row["bytes with int8"] == 4 + 2 * 4 + 2 * 4


@pytest.mark.slow
def test_a_small_run_is_json(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    result = inference.main(inference.Config(quick=True))
    assert json.loads(json.dumps(result.figures)) == result.figures
    assert [row["net"] for row in result.figures["quantized"]] == ["LeNet on the digits"]
    assert result.holds
