"""Published weights of CIFAR nets: PyTorch's logits, and the test error that was published."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data, interop, models
from jaxcnn.layers import Normalize, Sequential
from tests.shared_data import SHARED

CIFAR = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
WEIGHTS = {  # file, test error in percent on the test images at hand
    20: ("resnet20-12fca82f.th", 8.27),
    32: ("resnet32-d509ac18.th", 7.37),
    44: ("resnet44-014dd654.th", 6.89),
    56: ("resnet56-4bfd9763.th", 6.61),
}
NORMALIZE = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@functools.cache
def shared():
    """Return the folder of real sets, or skip."""
    if not (SHARED / "weights_akamaster").is_dir():
        pytest.skip(f"no published weights in {SHARED}")
    return SHARED


def published(depth):
    """Return the net with normalisation in front, its weights, and what was loaded."""
    net = models.create(f"cifar_resnet{depth}")
    found = interop.torch.load(net, shared() / "weights_akamaster" / WEIGHTS[depth][0], spec=CIFAR)
    whole = Sequential(normalize=NORMALIZE, net=net)
    return lambda x: whole.apply({"net": found.params}, {"net": found.state}, x, train=False)[0], found


@functools.cache
def held_out():
    return data.load("cifar10", data_dir=shared())[1]


@pytest.mark.parametrize("depth", [20, pytest.param(56, marks=pytest.mark.slow)])
def test_published_weights_give_the_logits_that_pytorch_gave(depth):
    reference = np.load(shared() / "weights_akamaster" / "reference_logits_first64_test.npz")
    logits_fn, found = published(depth)
    assert not found.report.unexpected
    assert "names of akamaster's cifar_resnet" in found.notes
    assert any("module." in note for note in found.notes)
    images = data.to_float(held_out()["image"][:64])
    logits = jax.jit(logits_fn)(images)
    expected = reference[f"resnet{depth}_logits64"]
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("depth", WEIGHTS)
def test_published_weights_score_what_was_published(depth):
    logits_fn, _ = published(depth)
    run = jax.jit(lambda x: logits_fn(data.to_float(x)).argmax(-1))
    images, labels = held_out()["image"], held_out()["label"]
    wrong = sum(int((run(images[i : i + 500]) != labels[i : i + 500]).sum()) for i in range(0, 10_000, 500))
    assert len(labels) == 10_000
    assert wrong / 100 == WEIGHTS[depth][1]
