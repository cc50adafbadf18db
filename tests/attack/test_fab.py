"""FAB: its first step by hand, towards one class, its restarts, and beside AutoAttack's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.fab import fab
from tests.attack.exact import least_sizes
from tests.attack.foolbox_sizes import sizes, sizes_of
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(6)
NORMS = ("linf", "l2", "l1")


@pytest.mark.parametrize("norm", ["linf", "l2"])  # of l1 the one pixel meets its bound
def test_the_first_steps_by_hand(norm, linear):
    """From x both projections are the same: eta times the shortest step. From 0.9 of that it is nearer to the plane."""
    least, _ = least_sizes(linear, norm)
    one, two = (fab(KEY, linear.logits_fn, linear.x, linear.y, norm=norm, steps=n, eta=1.1) for n in (1, 2))
    close(sizes(linear, one, norm), 1.1 * least, rtol=1e-3)
    pull = min(0.01 / 1.01, 0.1)  # 0.9 * 1.1 = 0.99 is 0.01 before the plane
    close(sizes(linear, two, norm), ((1 - pull) * (0.99 + 1.1 * 0.01) + pull * 1.1) * least, rtol=1e-3)


@pytest.mark.slow
def test_toward_one_class_any_other_counts(linear):
    """The nearest of all classes is that of one of them; and farther ones are farther."""
    least, nearest = least_sizes(linear, "l2")
    options = {"norm": "l2", "steps": 30}
    each = [
        sizes(linear, fab(KEY, linear.logits_fn, linear.x, linear.y, toward=(linear.y + n) % 4, **options), "l2")
        for n in (1, 2, 3)
    ]
    close(np.min(each, 0), least, rtol=0.01)
    np.testing.assert_array_equal((np.argmin(each, 0) + 1 + np.asarray(linear.y)) % 4, nearest)
    assert (np.max(each, 0) > 1.05 * least).all()


@pytest.mark.slow
def test_of_all_classes_those_of_one_at_a_time(digits):
    """FAB-T: the smallest over classes is about that of all at once."""
    options = {"norm": "l2", "steps": 40}
    order = jnp.argsort(digits.logits_fn(digits.x), -1)
    each = [sizes(digits, fab(KEY, *digits, toward=order[:, -n], **options), "l2") for n in range(2, 6)]
    at_once = sizes(digits, fab(KEY, *digits, **options), "l2")
    assert np.median(np.min(each, 0)) <= 1.05 * np.median(at_once)
    assert np.isfinite(np.min(each, 0)).all()


@pytest.mark.slow
def test_restarts_find_no_larger_ones_and_a_key_gives_the_same(digits):
    options = {"norm": "l2", "steps": 8}
    few, many = (fab(KEY, *digits, restarts=n, **options) for n in (1, 3))
    assert (sizes(digits, many, "l2") <= sizes(digits, few, "l2") * (1 + 1e-6)).all()
    assert sizes(digits, many, "l2").mean() < sizes(digits, few, "l2").mean()
    np.testing.assert_array_equal(many, fab(KEY, *digits, restarts=3, **options))
    assert (many != fab(jax.random.key(0), *digits, restarts=3, **options)).any()
    assert (many != fab(KEY, *digits, restarts=3, epsilon=0.01, **options)).any()


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("toward", [False, True])
def test_sizes_are_not_above_those_of_autoattack_on_the_twin(norm, toward, digits):
    peer("pyautoattack")
    module = digits_twin(digits)
    import torch
    from pyautoattack.fab_pt import FABAttack_PT

    x, y = tensor(digits.x), torch.tensor(np.asarray(digits.y)).long()
    name, steps = norm.capitalize(), 50
    attack = FABAttack_PT(module, norm=name, n_iter=steps, eps=1e3, device="cpu", targeted=toward, n_target_classes=1)
    theirs, correct = sizes_of(module, x, attack.perturb(x, y), y, norm)
    second = jnp.argsort(digits.logits_fn(digits.x), -1)[:, -2] if toward else None
    ours = sizes(digits, fab(KEY, *digits, norm=norm, steps=steps, toward=second), norm)
    assert np.median(ours[correct]) <= np.median(theirs[correct]) * 1.005


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l0"}, r"norm as one of \('linf', 'l2', 'l1'\), got 'l0'"),
        ({"steps": 0}, "steps as a positive int, got 0"),
        ({"restarts": 0}, "restarts as a positive int, got 0"),
        ({"epsilon": -0.1}, "epsilon >= 0, got -0.1"),
        ({"alpha_max": 1.5}, r"alpha_max in 0\.\.1, got 1.5"),
        ({"eta": 0.9}, "eta >= 1, got 0.9"),
        ({"beta": 1.0}, "beta between 0 and 1, got 1.0"),
        ({"candidates": 1}, "candidates as an int >= 2, got 1"),
        ({"toward": 7}, r"toward in 0\.\.3, got 7"),
        ({"toward": 1, "target": 1}, "target or toward, got both"),
    ],
)
def test_refuses(options, message, linear):
    with pytest.raises(ValueError, match=f"^fab: expected {message}"):
        fab(KEY, linear.logits_fn, linear.x, linear.y, **options)
