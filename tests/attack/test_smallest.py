"""What holds of every attack that looks for the smallest adversarial image, and what a second look says."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.carlini_wagner import _run as cw_run
from jaxcnn.attack.carlini_wagner import carlini_wagner
from jaxcnn.attack.deepfool import _run as deepfool_run
from jaxcnn.attack.deepfool import deepfool
from jaxcnn.attack.fab import _run as fab_run
from jaxcnn.attack.fab import fab
from jaxcnn.attack.goal import Goal
from jaxcnn.attack.judgement import judge
from jaxcnn.attack.minimum_norm import _ddn, _fmn, ddn, fmn
from jaxcnn.attack.smallest import clearly_reached, none_but, slack, smaller
from tests.attack.exact import least_sizes

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(3)
ATTACKS: dict[str, tuple[Any, str]] = {  # and the norm
    "deepfool l2": (functools.partial(deepfool, norm="l2", overshoot=0.005), "l2"),
    "deepfool linf": (functools.partial(deepfool, norm="linf", overshoot=0.005), "linf"),
    "fmn linf": (functools.partial(fmn, KEY, norm="linf"), "linf"),
    "fmn l2": (functools.partial(fmn, KEY, norm="l2"), "l2"),
    "fmn l1": (functools.partial(fmn, KEY, norm="l1"), "l1"),
    "fmn l0": (functools.partial(fmn, KEY, norm="l0"), "l0"),
    "ddn": (ddn, "l2"),
    "carlini wagner": (functools.partial(carlini_wagner, steps=150, learning_rate=0.03), "l2"),
    "fab linf": (functools.partial(fab, KEY, norm="linf", steps=30), "linf"),
    "fab l2": (functools.partial(fab, KEY, norm="l2", steps=30), "l2"),
    "fab l1": (functools.partial(fab, KEY, norm="l1", steps=30), "l1"),
}
FEW: dict[str, tuple[Any, dict[str, Any]]] = {  # what they compile, and options that are traced
    "deepfool linf": (deepfool_run, {"overshoot": 0.01}),
    "fmn l2": (_fmn, {"step_size": 0.9}),
    "ddn": (_ddn, {"gamma": 0.02, "initial_epsilon": 0.9}),
    "carlini wagner": (cw_run, {"confidence": 0.1}),
    "fab l2": (fab_run, {"beta": 0.8}),
}
# The gradient of the cross-entropy, which `ddn` follows, looks at all classes at once.
RELATIVE = {"ddn": 0.05}


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_a_second_look_agrees(name, digits):
    attack, _ = ATTACKS[name]
    wrong = np.asarray(digits.logits_fn(digits.x).argmax(-1) != digits.y)
    some = np.argsort(~wrong, stable=True)[:12]  # those that the net errs on among them
    x, y, wrong = digits.x[some], digits.y[some], wrong[some]
    assert wrong.any()
    found = attack(digits.logits_fn, x, y)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    judged = judge(digits.logits_fn, x, found, y)  # which looks at the bounds, too
    changed = np.asarray((found != x).any((1, 2, 3)))
    np.testing.assert_array_equal(judged.success, changed | wrong)
    assert not (changed & wrong).any()
    assert judged.success.all()


@pytest.mark.parametrize("name", ATTACKS)
def test_of_a_linear_net_the_least_is_found(name, linear):
    attack, norm = ATTACKS[name]
    least, nearest = least_sizes(linear, norm)
    found = attack(linear.logits_fn, linear.x, linear.y)
    judged = judge(linear.logits_fn, linear.x, found, linear.y)
    assert judged.success.all()
    sizes = getattr(judged, norm)
    assert (sizes >= least * (1 - 1e-4)).all()
    assert (sizes <= least * (1 + RELATIVE.get(name, 0.01))).all()
    np.testing.assert_array_equal(judged.prediction, nearest)


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_a_target_is_found(name, linear):
    attack, norm = ATTACKS[name]
    least, nearest = least_sizes(linear, norm)
    found = attack(linear.logits_fn, linear.x, linear.y, target=nearest)
    judged = judge(linear.logits_fn, linear.x, found, linear.y, target=nearest)
    assert judged.success.all()
    close(getattr(judged, norm), least, rtol=RELATIVE.get(name, 0.01))
    other = jnp.asarray(6 - nearest - np.asarray(linear.y)) % 4  # another class, or the true one
    target = jnp.where(other == linear.y, (other + 1) % 4, other)
    found = attack(linear.logits_fn, linear.x, linear.y, target=target)
    judged = judge(linear.logits_fn, linear.x, found, linear.y, target=target)
    np.testing.assert_array_equal(judged.success, np.asarray((found != linear.x).any((1, 2, 3))))
    assert judged.success.mean() >= 0.5


@pytest.mark.parametrize("name", FEW)
def test_one_image_in_jit_is_as_in_the_batch(name, linear):
    attack, norm = ATTACKS[name]
    logits_fn, x, y = linear
    sizes = getattr(judge(logits_fn, x, attack(logits_fn, x, y), y), norm)
    one = jax.jit(attack)(logits_fn, x[1], y[1])
    assert one.shape == x[1].shape
    close(getattr(judge(logits_fn, x[1], one, y[1]), norm), sizes[1], rtol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fmn l2", "fab l2"])
def test_several_axes_are_as_one(name, linear):
    attack, norm = ATTACKS[name]
    x, y = linear.x.reshape(3, 2, 3, 3, 1), linear.y.reshape(3, 2)
    judged = judge(linear.logits_fn, x, attack(linear.logits_fn, x, y), y)
    assert judged.success.all()
    close(getattr(judged, norm).ravel(), least_sizes(linear, norm)[0], rtol=0.01)


@pytest.mark.parametrize("name", FEW)
def test_pixels_of_another_unit(name, linear):
    attack, norm = ATTACKS[name]
    logits_fn, x = lambda x: linear.logits_fn((x + 100) / 255), 255 * linear.x - 100
    found = attack(logits_fn, x, linear.y, bounds=(-100, 155))
    judged = judge(logits_fn, x, found, linear.y, bounds=(-100, 155))
    assert judged.success.all()
    close(getattr(judged, norm) / 255, least_sizes(linear, norm)[0], rtol=RELATIVE.get(name, 0.01))


@pytest.mark.parametrize("name", FEW)
def test_one_trace_for_other_images_classes_and_numbers(name, linear):
    (attack, _), (compiled, options) = ATTACKS[name], FEW[name]
    attack(linear.logits_fn, linear.x, linear.y)
    traces = compiled._cache_size()
    other = linear.logits_fn.func, *(a + 0.01 for a in linear.logits_fn.args)
    found = attack(jax.tree_util.Partial(*other), linear.x[::-1], linear.y[::-1], **options)
    assert compiled._cache_size() == traces
    again = attack(jax.tree_util.Partial(*other), linear.x[::-1], linear.y[::-1], **options)
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("name", FEW)
def test_where_the_net_errs_without_help_nothing_changes(name, linear):
    attack, _ = ATTACKS[name]
    y = (linear.y + jnp.array([1, 0, 1, 0, 1, 0])) % 4
    found = attack(linear.logits_fn, linear.x, y)
    np.testing.assert_array_equal((found != linear.x).any((1, 2, 3)), [False, True] * 3)


@pytest.mark.parametrize("name", FEW)
def test_where_no_gradient_helps_the_images_come_back(name, linear):
    attack, _ = ATTACKS[name]
    ones = jnp.ones((3, 4)).at[:, 0].add(1)

    def logits_fn(x):
        steep = jnp.sqrt(jax.nn.relu(x[3:, 0, 0] - 2))  # its slope is infinite times 0
        return jnp.concatenate([ones, ones + steep])

    np.testing.assert_array_equal(attack(logits_fn, linear.x, 0), linear.x)


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_half_precision(name, linear):
    attack, _ = ATTACKS[name]
    x = linear.x.astype(jnp.bfloat16)
    found = attack(linear.logits_fn, x, linear.y)
    assert found.dtype == x.dtype
    judged = judge(linear.logits_fn, x, found, linear.y)
    np.testing.assert_array_equal(judged.success, np.asarray((found != x).any((1, 2, 3))))
    assert judged.success.mean() > 0.8


def test_clearly_is_by_more_than_rounding():
    logits = jnp.array([[2.0, 2.0 + 1e-6], [2.0, 2.0 + 1e-4], [2.0, 1.0], [jnp.nan, 3.0], [-jnp.inf, 3.0]])
    goal = Goal(jnp.zeros(5, int))
    for dtype, expected in ((jnp.float32, [0, 1, 0, 0, 1]), (jnp.bfloat16, [0, 0, 0, 0, 1])):
        assert clearly_reached(logits, goal, slack(logits, dtype)).tolist() == expected
    close(slack(logits[:1], jnp.float32), 32 * 2.0**-23, rtol=1e-5)


def test_the_smaller_is_kept(linear):
    x = linear.x
    best = none_but(x, jnp.arange(6) == 0)
    assert best.size.tolist() == [0] + [np.inf] * 5
    hit = jnp.array([True, True, False, True, True, True])
    best = smaller(best, x, x + 0.2, hit, "linf", Goal(linear.y))
    best = smaller(best, x, x - 0.1, jnp.arange(6) > 4, "linf", Goal(linear.y))
    best = smaller(best, x, x + 0.3, hit, "linf", Goal(linear.y))
    close(best.size, [0, 0.2, np.inf, 0.2, 0.2, 0.1], rtol=1e-5)
    moves = jnp.array([0, 0.2, 0, 0.2, 0.2, -0.1])
    close(best.image, x + moves[:, None, None, None], rtol=1e-6)
