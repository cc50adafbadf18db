"""The CIFAR nets: both shortcuts, and akamaster's names of their layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import interop, models, summarize
from jaxcnn.models.cifar_resnet import PadShortcut
from tests.models.measures import deviations

pytestmark = pytest.mark.usefixtures("quick_compilation")
CIFAR = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_names(depth):
    assert models.create(f"cifar_resnet{depth}") == models.cifar_resnet(depth)


def test_shortcut_b():
    net = models.cifar_resnet(8, shortcut="B")
    projections = [net[f"stage{i}"]["block1"]["residual"].shortcut for i in (2, 3)]
    assert [list(p.layers) for p in projections] == [["conv", "norm"]] * 2
    assert net["stage1"]["block1"]["residual"].shortcut is None
    plain, found = (summarize(n, CIFAR) for n in (models.cifar_resnet(8), net))
    extra = 16 * 32 + 2 * 32, 32 * 64 + 2 * 64
    assert found.parameters == plain.parameters + sum(extra)  # by hand
    assert found.multiply_adds == plain.multiply_adds + 16 * 32 * 16**2 + 32 * 64 * 8**2
    # By hand: 27 C at first, then 9 C^2 a convolution and pixel, the first of a stage reading half as many maps.
    per_stage = 2 * 9 * 16**2 * 32**2
    half = 9 * 16 * 32 * 16**2  # what stage 2 saves in its first convolution, and stage 3
    assert plain.multiply_adds == 27 * 16 * 32**2 + 3 * per_stage - 2 * half + 640
    assert models.cifar_resnet(8)["stage2"]["block1"]["residual"].shortcut == PadShortcut(32)
    with pytest.raises(ValueError, match=r'^cifar_resnet: expected shortcut as "A" or "B", got \'C\'\.'):
        models.cifar_resnet(20, shortcut="C")


@pytest.mark.parametrize(("depth", "shortcut"), [(8, "B"), pytest.param(56, "A", marks=pytest.mark.slow)])
def test_signals_neither_vanish_nor_explode_at_the_start(depth, shortcut):
    found = deviations(models.cifar_resnet(depth, width=4, shortcut=shortcut))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.slow
def test_weights_with_shortcut_b_go_there_and_back():
    net = models.cifar_resnet(8, width=2, shortcut="B")
    params, state = jax.jit(lambda key: net.init(key, CIFAR))(jax.random.key(0))
    there = interop.torch.state_dict(net, params, state, layout="akamaster")
    assert {name for name in there if "shortcut" in name} == {
        f"layer{i}.0.shortcut.{part}"
        for i in (2, 3)
        for part in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    }
    back = interop.torch.load_state_dict(net, there, spec=CIFAR)
    assert back.notes == ("names of akamaster's cifar_resnet",)
    jax.tree.map(np.testing.assert_array_equal, (params, state), (back.params, back.state))
