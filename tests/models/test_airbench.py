"""The nets of the CIFAR-10 speed recipes against the figures of their paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import initialization, models, summarize
from jaxcnn.layers import BatchNorm, GlobalMaxPool
from jaxcnn.models.airbench import airbench
from tests.models.measures import deviations

pytestmark = pytest.mark.usefixtures("quick_compilation")
SPEC = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
NET = airbench(94)


@pytest.mark.parametrize(
    ("name", "parameters", "millions", "flops"),  # by hand; the code's and the paper's figures, in millions and G
    [
        ("airbench94", 1_971_640, "1.97", 0.236),
        ("airbench95", 4_604_728, "4.6", 0.603),
        ("airbench96", 9_915_704, "9.9", 0.904),
    ],
)
def test_costs(name, parameters, millions, flops):
    found = summarize(models.create(name), SPEC)
    assert found.parameters == parameters
    assert f"{parameters / 1e6:.{len(millions) - 2}f}" == millions
    assert round(2 * found.multiply_adds / 1e9, 3) == flops


def test_shapes():
    found = summarize(NET, SPEC).rows
    assert {row.path: row.output[1:] for row in found if "/" not in row.path} == {
        "stem": (31, 31, 24),
        "stage1": (15, 15, 64),
        "stage2": (7, 7, 256),
        "stage3": (3, 3, 256),
        "pool": (256,),
        "head": (10,),
        "scale": (10,),
    }


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (9, 3)])
def test_other_images(size, channels):
    spec = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    found = summarize(airbench(94, channels=channels), spec).rows
    assert next(row for row in found if row.path == "stem").output == (1, size - 1, size - 1, 8 * channels)
    assert found[-1].output == (1, 10)


def test_groups():
    assert list(airbench(94)["stage2"].layers) == ["conv1", "pool", "norm1", "act1", "conv2", "norm2", "act2"]
    group = airbench(96)["stage2"]
    assert list(group.layers) == ["conv1", "pool", "norm1", "act1", "residual", "act3"]
    assert list(group["residual"].branch.layers) == ["conv2", "norm2", "act2", "conv3", "norm3"]
    assert airbench(95)["stage1"]["norm1"] == BatchNorm(decay=0.6, eps=1e-12, use_scale=False)
    assert group["norm1"].decay == 0.9
    assert group["act3"] is F.gelu
    assert NET["pool"] == GlobalMaxPool()


def initial(layer, channels):
    return np.asarray(
        layer.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, channels), jnp.float32))[0]["kernel"]
    )


def test_the_first_maps_start_as_copies():
    kernel = initial(NET["stage1"]["conv1"], 24)
    copies = np.zeros((3, 3, 24, 24), np.float32)
    copies[1, 1] = np.eye(24)
    np.testing.assert_array_equal(kernel[..., :24], copies)
    bound = 1 / np.sqrt(9 * 24)
    assert 0.98 * bound < np.abs(kernel[..., 24:]).max() <= bound
    np.testing.assert_array_equal(initial(NET["stage1"]["conv2"], 64)[1, 1], np.eye(64))
    assert 0.98 / 16 < np.abs(initial(NET["head"], 256)).max() <= 1 / 16


def test_logits_are_a_ninth():
    assert list(NET.layers)[-2:] == ["head", "scale"]
    logits, _ = NET["scale"].apply({}, {}, jnp.arange(10.0)[None], train=False)
    np.testing.assert_allclose(logits, np.arange(10.0)[None] / 9, rtol=1e-6)


@pytest.mark.slow
def test_whitening_goes_into_the_first_kernel():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 32, 32, 3)) @ rng.standard_normal((3, 3))
    x = (x + np.roll(x, 1, axis=1)).astype(np.float32)  # correlated channels and rows
    kernel = initialization.patch_whitening(x)
    conv = NET["stem"]["conv"]
    assert kernel.shape == initial(conv, 3).shape
    y, _ = conv.apply({"kernel": kernel, "bias": jnp.zeros(24)}, {}, x, train=False)
    found = np.cov(np.asarray(y)[..., :12].reshape(-1, 12).T)
    np.testing.assert_allclose(found, np.eye(12), atol=0.02)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(NET, size=16, batch=4)
    # Logits times 1/9 are small on purpose.
    assert {path: sd for path, sd in found.items() if path != "scale" and not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^airbench: expected num_classes as a positive int, got 0\."),
        ({"channels": 0}, r"^airbench: expected channels as a positive int, got 0\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("airbench94", **options)


@pytest.mark.parametrize("recipe", [93, "94"])
def test_bad_recipes(recipe):
    message = rf"^airbench: expected recipe as one of \[94, 95, 96\], got {recipe!r}\. Choose"
    with pytest.raises(ValueError, match=message):
        airbench(recipe)
