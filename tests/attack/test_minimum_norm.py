"""FMN and DDN: how the radius follows the boundary, and beside foolbox's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.minimum_norm import ddn, fmn
from jaxcnn.attack.norms import NORMS
from tests.attack.foolbox_sizes import foolbox_sizes, sizes

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(1)
FOOLBOX = {"linf": "LInf", "l2": "L2", "l1": "L1", "l0": "L0"}


def test_first_steps_of_ddn_by_hand():
    """The radius grows by half as long as the image is not adversarial, and shrinks by half where it is."""
    logits_fn = lambda x: jnp.stack([2 - x.sum((-3, -2, -1)), jnp.zeros(x.shape[:-3])], -1)  # noqa: E731
    x = jnp.full((1, 1, 4, 1), 0.1)  # 1.6 from the boundary, 0.8 in L2
    found = ddn(logits_fn, x, 0, steps=4, gamma=0.5, initial_epsilon=0.4)
    # Radii 0.4 -> 0.6 (grown, as x is not adversarial), 0.9, which is adversarial, and 0.45, which is not.
    close(jnp.linalg.norm(found - x), 0.9, rtol=1e-4)
    close(found, x + 0.45, rtol=1e-4)
    assert not (ddn(logits_fn, x, 0, steps=2, gamma=0.5, initial_epsilon=0.4) != x).any()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_first_radius_of_fmn_is_the_distance_to_the_plane(norm):
    logits_fn = lambda x: jnp.stack([2 - x.sum((-3, -2, -1)), jnp.zeros(x.shape[:-3])], -1)  # noqa: E731
    x = jnp.full((1, 1, 4, 1), 0.1)
    found = fmn(KEY, logits_fn, x, 0, norm=norm, steps=2)
    close(found, x + 0.4, rtol=1e-3)


def test_l0_changes_as_few_values_as_it_takes():
    """Two values that give 0.9 each, and many that give little."""
    weight = jnp.array([1.0, 1.0, 0.1, 0.1, 0.1, 0.1])[:, None]
    logits_fn = lambda x: jnp.stack([1.7 - (x * weight).sum((-3, -2, -1)), jnp.zeros(x.shape[:-3])], -1)  # noqa: E731
    x = jnp.full((1, 1, 6, 1), 0.1)
    found = fmn(KEY, logits_fn, x, 0, norm="l0", steps=60)
    assert (found != x)[0, 0, :, 0].tolist() == [True, True, False, False, False, False]


@pytest.mark.slow
def test_restarts_find_no_larger_ones_and_a_key_gives_the_same(digits):
    few, many = (fmn(KEY, *digits, norm="linf", steps=15, restarts=n) for n in (1, 4))
    assert (sizes(digits, many, "linf") <= sizes(digits, few, "linf") * (1 + 1e-6)).all()
    assert sizes(digits, many, "linf").mean() < sizes(digits, few, "linf").mean()
    np.testing.assert_array_equal(many, fmn(KEY, *digits, norm="linf", steps=15, restarts=4))
    other = fmn(jax.random.key(2), *digits, norm="linf", steps=15, restarts=4)
    assert (other != many).any()


@pytest.mark.slow
def test_more_steps_find_smaller_ones(digits):
    for attack in (ddn, lambda *known, steps: fmn(KEY, *known, norm="l2", steps=steps)):
        few, many = (np.median(sizes(digits, attack(*digits, steps=n), "l2")) for n in (20, 100))
        assert many < few < 1.5 * many


@pytest.mark.parametrize("norm", NORMS)
def test_sizes_of_fmn_are_not_above_those_of_foolbox(norm, digits):
    theirs, correct = foolbox_sizes(digits, f"{FOOLBOX[norm]}FMNAttack", norm, steps=100)
    ours = sizes(digits, fmn(KEY, *digits, norm=norm, steps=100), norm)
    assert np.median(ours[correct]) <= np.median(theirs[correct]) * 1.005


def test_sizes_of_ddn_are_not_above_those_of_foolbox(digits):
    theirs, correct = foolbox_sizes(digits, "DDNAttack", "l2", steps=100)
    ours = sizes(digits, ddn(*digits, steps=100), "l2")
    assert np.median(ours[correct]) <= np.median(theirs[correct]) * 1.005


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l3"}, r"norm as one of \('linf', 'l2', 'l1', 'l0'\), got 'l3'"),
        ({"steps": 0}, "steps as a positive int, got 0"),
        ({"restarts": 0}, "restarts as a positive int, got 0"),
        ({"gamma": 1.0}, "gamma between 0 and 1, got 1.0"),
        ({"step_size": 0}, "step_size > 0, got 0"),
    ],
)
def test_fmn_refuses(options, message, linear):
    with pytest.raises(ValueError, match=f"^fmn: expected {message}"):
        fmn(KEY, linear.logits_fn, linear.x, linear.y, **options)


def test_ddn_refuses(linear):
    with pytest.raises(ValueError, match=r"^ddn: expected initial_epsilon > 0, got 0\."):
        ddn(linear.logits_fn, linear.x, linear.y, initial_epsilon=0)
    with pytest.raises(ValueError, match=r"^ddn: expected gamma between 0 and 1, got 0\."):
        ddn(linear.logits_fn, linear.x, linear.y, gamma=0)
    with pytest.raises(ValueError, match=r"^ddn: expected step_size > 0, got -1\."):
        ddn(linear.logits_fn, linear.x, linear.y, step_size=-1)
    with pytest.raises(TypeError, match=r"^fmn: expected one PRNG key, got "):
        fmn(linear.logits_fn, linear.x, linear.y, linear.y)
