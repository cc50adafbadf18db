"""Rotations and shifts: known ones are found, nothing else is done, and as many fool as foolbox finds."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.judgement import judge
from jaxcnn.attack.spatial import spatial, spatial_random
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(6)
STILL = {"max_shift": 0.0, "max_angle": 0.0}
X = jax.random.uniform(jax.random.key(1), (2, 7, 7, 2), minval=0.2)


def likes(template):
    """A net of two classes that errs the more on images of class 0, the nearer they are to the template."""
    return lambda x: jnp.stack([jnp.zeros(x.shape[:-3]), -((x - template) ** 2).sum((-1, -2, -3))], -1)


@pytest.mark.slow
def test_a_shift_is_found():
    template = jnp.pad(X[0], ((2, 0), (0, 1), (0, 0)))[:7, 1:]  # two down, one to the left
    found = spatial(likes(template), X, 0, max_shift=2.0, max_angle=10.0, angles=3)
    close(found[0], template, atol=1e-6)
    assert not np.allclose(found[1], template)
    one = spatial(likes(template), X[0], 0, max_shift=(2.0, 1.0), max_angle=0.0, shifts=3, angles=1)
    close(one, template, atol=1e-6)


@pytest.mark.parametrize(("mode", "fill"), [("constant", None), ("constant", 0.7), ("edge", None), ("reflect", None)])
def test_what_comes_in_from_outside(mode, fill):
    options = {"constant_values": fill or 0.0} if mode == "constant" else {}
    template = jnp.pad(X[0], ((1, 0), (0, 0), (0, 0)), mode, **options)[:7]
    found = spatial(
        likes(template), X[0], 0, max_shift=(1.0, 0.0), max_angle=0.0, shifts=3, padding_mode=mode, fill=fill
    )
    close(found, template, atol=1e-6)


@pytest.mark.parametrize("way", [1, -1])
def test_random_shifts_go_either_way(way):
    template = jnp.roll(jnp.pad(X[0], ((1, 1), (1, 1), (0, 0))), (way, way), (0, 1))[1:-1, 1:-1]
    found = spatial_random(KEY, likes(template), X[0], 0, max_shift=1.0, max_angle=0.0, samples=300)
    assert np.abs(found - template).mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("turns", [1, -1])
def test_a_rotation_is_found(turns):
    template = jnp.rot90(X[1], turns)
    close(spatial(likes(template), X, 0, max_shift=0.0, max_angle=90.0, angles=3)[1], template, atol=1e-5)
    found = spatial_random(KEY, likes(template), X[1], 0, max_shift=0.0, max_angle=90.0, samples=300)
    assert np.abs(found - template).mean() < 0.02


@pytest.mark.slow
def test_without_room_nothing_moves(digits):
    np.testing.assert_array_equal(spatial(*digits, **STILL), digits.x)
    np.testing.assert_array_equal(spatial_random(KEY, *digits, **STILL), digits.x)


@pytest.mark.slow
def test_what_is_outside_is_the_least_value(digits):
    logits_fn, x, y = digits
    wide = lambda x: logits_fn((x + 1) / 2)  # noqa: E731
    found = spatial(wide, 2 * x - 1, y, shifts=3, angles=3, bounds=(-1.0, 1.0))
    close((found + 1) / 2, spatial(logits_fn, x, y, shifts=3, angles=3), atol=1e-6)


@pytest.mark.slow
def test_the_more_is_tried_the_more_is_fooled(digits):
    logits_fn, x, y = digits
    rates = [
        judge(logits_fn, x, images, y).success.mean()
        for images in (
            x,
            spatial_random(KEY, logits_fn, x, y, max_shift=1.0, samples=10),
            spatial(logits_fn, x, y, max_shift=1.0),
        )
    ]
    assert rates[0] < rates[1] <= rates[2]
    assert rates[2] > 0.5


def test_a_target_is_reached(digits):
    logits_fn, x, y = digits
    target = (y + 1) % 10
    found = spatial(logits_fn, x, y, target=target)
    judged = judge(logits_fn, x, found, y, target=target)
    assert judged.success.mean() > judge(logits_fn, x, x, y, target=target).success.mean() + 0.2


@pytest.mark.slow
def test_same_key_same_bits_and_inside_jit(digits):
    logits_fn, x, y = digits
    attack = lambda key, x, y: spatial_random(key, logits_fn, x, y)  # noqa: E731
    found = attack(KEY, x, y)
    np.testing.assert_array_equal(found, attack(KEY, x, y))
    assert (found != attack(jax.random.key(7), x, y)).any()
    close(jax.jit(attack)(KEY, x, y), found, atol=1e-5)
    grid = lambda x, y: spatial(logits_fn, x, y, shifts=3, angles=3)  # noqa: E731
    close(jax.jit(grid)(x, y), grid(x, y), atol=1e-5)


def test_images_have_draws_of_their_own():
    same = jnp.stack([X[0], X[0]])
    found = spatial_random(KEY, likes(jnp.zeros_like(X[0])), same, 0, samples=2)
    assert not np.allclose(found[0], found[1])


@pytest.mark.slow
def test_is_traced_once(linear):
    calls = []

    def logits_fn(x):
        calls.append(1)
        return linear.logits_fn(x)

    for attack in (spatial, lambda *args, **options: spatial_random(KEY, *args, **options)):
        attack(logits_fn, linear.x, linear.y)
        before = len(calls)
        attack(logits_fn, linear.x[::-1], linear.y, max_shift=(0.5, 1), max_angle=5, fill=0.3)
        assert len(calls) == before


def test_refuses(digits):
    for option, match in (
        ({"max_shift": -1}, r"max_shift of at least 0 pixels, got -1\."),
        ({"max_angle": -1}, r"max_angle of at least 0, got -1\."),
        ({"shifts": 0}, r"shifts as a positive int, got 0\."),
        ({"angles": 0}, r"angles as a positive int, got 0\."),
        ({"fill": 2.0}, r"fill within the bounds, got 2\.0\."),
        ({"padding_mode": "wrap"}, r"padding_mode to be one of .*, got 'wrap'\."),
    ):
        with pytest.raises(ValueError, match=f"^spatial: expected {match}"):
            spatial(*digits, **option)
    with pytest.raises(ValueError, match=r"^spatial_random: expected samples as a positive int, got 0\."):
        spatial_random(KEY, *digits, samples=0)


@pytest.mark.parametrize("limits", [(0.0, 30.0), (3.0, 0.0), (3.0, 30.0), (1.0, 20.0)])
def test_fools_as_many_as_that_of_foolbox(digits, limits):
    foolbox, net = peer("foolbox"), digits_twin(digits)
    import torch

    logits_fn, x, y = digits
    shift, angle = limits
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    theirs = foolbox.attacks.SpatialAttack(max_translation=shift, max_rotation=angle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a way in which it calls PyTorch
        fooled = np.asarray(theirs(model, tensor(x), torch.tensor(np.asarray(y)).long())[2])
    found = spatial(logits_fn, x, y, max_shift=shift * 7 / 8, max_angle=angle, angles=5)
    ours = judge(logits_fn, x, found, y).success
    if 0 in limits:  # otherwise the two are composed in another order
        np.testing.assert_array_equal(ours, fooled)
    assert ours.mean() >= fooled.mean() - 1 / len(x)
