"""Pointing game, mask IoU and the energy inside, by hand and on scenes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.data.scenes import Scenes
from jaxcnn.explain import trust

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
MAP = jnp.array([[0.1, 0.9, 0.0], [0.5, -0.7, 0.3]])
MASK = jnp.array([[0, 0, 0], [1, 1, 0]])


def test_pointing_by_hand():
    assert trust.pointing_game(MAP, MASK == 0)
    assert not trust.pointing_game(MAP, MASK)
    assert not trust.pointing_game(MAP, MASK, tolerance=0.99)
    assert trust.pointing_game(MAP, MASK, tolerance=1)  # the mask begins right below
    far = jnp.zeros((2, 3), int).at[1, 2].set(5)
    assert not trust.pointing_game(MAP, far, tolerance=1.4)
    assert trust.pointing_game(MAP, far, tolerance=1.5)  # one down, one to the right
    assert not trust.pointing_game(MAP, jnp.zeros((2, 3), int), tolerance=10)
    assert trust.pointing_game(jnp.ones((2, 3)), jnp.zeros((2, 3), bool).at[0, 0].set(True))  # the first of equals


def test_iou_by_hand():
    # In order: outside, inside, outside (0.3), outside, outside, inside.
    close(trust.mask_iou(MAP, MASK), max(0 / 3, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 2 / 6), rtol=1e-6)
    close(trust.mask_iou(MAP, MASK, at=0.5), 1 / 4, rtol=1e-6)  # 3 of the 6 pixels
    close(trust.mask_iou(MAP, MASK, at=0.99), 0)  # one pixel at least
    close(trust.mask_iou(MASK.astype(float), MASK), 1)
    close(trust.mask_iou(MAP, 0 * MASK), 0)


def test_energy_by_hand():
    close(trust.energy_inside(MAP, MASK), 0.5 / 1.8, rtol=1e-6)
    close(trust.energy_inside(-jnp.abs(MAP), MASK), 0)


@pytest.mark.slow
def test_channels_are_summed_and_images_counted_one_by_one():
    maps = jnp.stack([MAP, MASK.astype(float)])
    masks = jnp.stack([MASK, MASK])
    colours = jnp.stack([maps + 1, -jnp.ones_like(maps)], axis=-1)
    for measure in (trust.pointing_game, trust.mask_iou, trust.energy_inside):
        close(measure(colours, masks), [measure(one, MASK) for one in maps], rtol=1e-5)
        close(jax.jit(measure)(maps, masks), measure(maps, masks), rtol=1e-5)


@pytest.mark.slow
def test_the_truth_of_scenes_is_found():
    scenes = Scenes(size=32).batch(jax.random.key(0), range(8))
    mask = scenes["instance_mask"] == 1
    truth = mask.astype(jnp.float32)
    close(trust.mask_iou(truth, mask), 1)
    close(trust.energy_inside(truth, mask), 1)
    assert trust.pointing_game(truth, mask).all()
    nothing = 1 - truth
    assert not trust.pointing_game(nothing, mask).any()
    share = mask.mean((1, 2))
    close(trust.energy_inside(jnp.ones_like(truth), mask), share, rtol=1e-5)
    noise = jax.random.uniform(jax.random.key(1), mask.shape)
    assert (abs(trust.mask_iou(noise, mask) - share) < 0.1).all()


def test_refuses():
    with pytest.raises(ValueError, match=r"^mask_iou: expected an attribution of shape \(2, 3, 1\) or \(2, 3\), got "):
        trust.mask_iou(MAP[:1], MASK)
    with pytest.raises(TypeError, match=r"^mask_iou: expected a mask of bools or integers, got float32"):
        trust.mask_iou(MAP, MAP)
    with pytest.raises(ValueError, match=r"^mask_iou: expected at as a quantile between 0 and 1, or \"best\", got 1"):
        trust.mask_iou(MAP, MASK, at=1.0)
    with pytest.raises(ValueError, match=r"^mask_iou: expected at as a quantile or \"best\", got 'all'"):
        trust.mask_iou(MAP, MASK, at="all")
    with pytest.raises(ValueError, match=r"^pointing_game: expected a tolerance of at least 0, got -1\. "):
        trust.pointing_game(MAP, MASK, tolerance=-1)
    with pytest.raises(ValueError, match=r"^energy_inside: expected finite values in attribution, got 1 that are not"):
        trust.energy_inside(MAP.at[0, 0].set(jnp.nan), MASK)
