"""APGD: its checkpoints and steps by hand, closed forms, several targets, and beside its authors' own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack import adaptive_steps
from jaxcnn.attack.apgd import _run, apgd, likeliest
from jaxcnn.attack.goal import Goal
from jaxcnn.attack.judgement import judge
from tests.attack.conftest import judged
from tests.attack.exact import least_sizes
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import array, tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(7)
BALLS = ("linf", "l2", "l1")
RADII = {"linf": 0.06, "l2": 0.4, "l1": 3.0}


def test_checkpoints_come_ever_sooner():
    windows = adaptive_steps._windows(100, "linf")
    assert (np.flatnonzero(windows) + 1).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]  # equation 2 of the paper
    assert windows[np.flatnonzero(windows)].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    assert (np.flatnonzero(adaptive_steps._windows(100, "l1")) + 1).tolist() == list(range(4, 101, 4))
    assert (adaptive_steps._windows(3, "l2") == 1).all()


def test_steps_of_l1_go_through_wider_balls():
    assert adaptive_steps.rounds("l1", 100) == [(3, 30), (2, 30), (1, 40)]
    assert adaptive_steps.rounds("l1", 3) == [(1, 3)]
    assert adaptive_steps.rounds("l2", 7) == [(1, 7)]


def climb_of(heights, steps, start=0.5, epsilon=0.4):
    """Return where a climb of a function of one pixel ends, at its highest."""
    goal = Goal(jnp.array(1))
    x = jnp.full((1, 1, 1), 0.5)
    logits_fn = lambda x: jnp.stack([heights(x[..., 0, 0, 0]), 99 + 0 * x[..., 0, 0, 0]], -1)  # noqa: E731
    options = {"steps": steps, "norm": "linf", "bounds": (0.0, 1.0), "loss": lambda z, _: z[..., 0]}
    image, best = adaptive_steps.ascent(
        logits_fn, jnp.full_like(x, start), x, goal, goal, jnp.float32(epsilon), None, **options
    )
    assert not best.reached
    close(best.image, image)
    return float(image.item())


def test_the_first_steps_by_hand(monkeypatch):
    """A step of 2 epsilon reaches the edge; there 3 quarters of the next are made, and a quarter of the one before."""
    monkeypatch.setattr(adaptive_steps, "_windows", lambda steps, _: np.zeros(steps, int))  # no checkpoint
    close(climb_of(lambda p: -jnp.abs(p - 0.83), 1), 0.9, atol=1e-6)
    # From 0.9 down: z = 0.1; 0.9 + 0.75 (0.1 - 0.9) + 0.25 (0.9 - 0.5) = 0.4.
    close(climb_of(lambda p: jnp.where(p > 0.8, 0.8 - p, jnp.where(p > 0.45, p - 9, 5)), 2), 0.4, atol=1e-6)
    # From 0.4 up: z = 0.9; 0.4 + 0.75 (0.9 - 0.4) + 0.25 (0.4 - 0.9) = 0.65.
    close(climb_of(lambda p: -jnp.abs(p - 0.72), 3), 0.65, atol=1e-6)


def test_a_checkpoint_halves_the_step_and_goes_back_to_the_top(monkeypatch):
    monkeypatch.setattr(adaptive_steps, "_windows", lambda steps, _: np.where(np.arange(steps) == 1, 2, 0))
    # 0.5, 0.9, 0.4 as above; then with half the step from 0.9: z = 0.5; 0.9 + 0.75 (0.5 - 0.9) + 0.25 * 0 = 0.6.
    heights = lambda p: jnp.where(p > 0.8, 0.8 - p, jnp.where(p > 0.59, 1 - p, p - 9))  # noqa: E731
    close(climb_of(heights, 3), 0.6, atol=1e-6)


def test_steps_become_shorter_until_the_top_is_found():
    close(climb_of(lambda p: -((p - 0.64) ** 2), 100), 0.64, atol=1e-3)
    close(climb_of(lambda p: -jnp.abs(p - 0.437), 100), 0.437, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])  # for "l1", a step of so few values is never sparse enough
def test_of_a_linear_net_the_least_size_is_found_to_a_hundredth(norm, linear):
    sizes, _ = least_sizes(linear, norm)
    for row, least in enumerate(sizes):
        one = (linear.logits_fn, linear.x[row], linear.y[row])
        found = apgd(KEY, *one, epsilon=np.array([0.99, 1.01]) * least, norm=norm, targets=3, loss="margin")
        success = judge(one[0], one[1], found, one[2]).success
        assert success.tolist() == [False, True]


@pytest.mark.parametrize(("norm", "loss"), [("linf", "cross_entropy"), ("l2", "dlr"), ("l1", "cross_entropy")])
def test_images_fall_to_it_in_ball_and_bounds(norm, loss, digits):
    found = apgd(KEY, *digits, epsilon=RADII[norm], norm=norm, loss=loss, steps=20)
    result = judged(digits, found)
    assert result.robust_accuracy < judged(digits, digits.x).robust_accuracy - 0.15
    assert getattr(result, norm).max() <= RADII[norm] * (1 + 1e-5)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("norm", BALLS)
def test_no_radius_is_no_change(norm, linear):
    np.testing.assert_array_equal(apgd(KEY, *linear, epsilon=0, norm=norm, steps=5, targets=2), linear.x)


@pytest.mark.slow
def test_radii_restarts_and_keys(digits):
    radii = jnp.array([0.0, 0.03, 0.1])
    many = apgd(KEY, *digits, epsilon=radii, steps=10, restarts=2)
    assert many.shape == (3, *digits.x.shape)
    accuracy = [judged(digits, one).robust_accuracy for one in many]
    assert accuracy == sorted(accuracy, reverse=True)
    alone = [apgd(key, *digits, epsilon=0.03, steps=10, restarts=2) for key in (KEY, KEY, jax.random.key(8))]
    assert judged(digits, alone[0]).robust_accuracy == accuracy[1]
    np.testing.assert_array_equal(alone[0], alone[1])
    assert not np.array_equal(alone[0], alone[2])


def test_targets_are_the_likeliest_others(digits):
    found = likeliest(jax.tree_util.Partial(digits.logits_fn), digits.x, digits.y, count=9)
    logits = np.asarray(digits.logits_fn(digits.x))
    for row, y in enumerate(np.asarray(digits.y)):
        expected = [int(c) for c in np.argsort(-logits[row]) if c != y]
        assert found[:, row].tolist() == expected


@pytest.mark.slow
def test_several_targets_are_tried_until_one_is_reached(digits):
    """Any wrong class is a success; a single target may be farther away than another."""
    least = judged(digits, apgd(KEY, *digits, epsilon=0.05, targets=9, loss="dlr", steps=20))
    far = likeliest(digits.logits_fn, digits.x, digits.y, count=9)[8:]
    one = judged(digits, apgd(KEY, *digits, epsilon=0.05, targets=far, loss="dlr", steps=20))
    assert least.robust_accuracy < one.robust_accuracy
    strict = apgd(KEY, *digits, epsilon=0.05, target=far[0], loss="dlr", steps=20)
    assert (judged(digits, strict, target=far[0]).success <= one.success).all()
    # More than there are is all.
    assert judged(digits, apgd(KEY, *digits, epsilon=0.05, targets=50, loss="dlr", steps=20)).success.tolist() == (
        least.success.tolist()
    )


@pytest.mark.slow
def test_a_target_is_reached(digits):
    target = (digits.y + 1) % 10
    for loss in ("cross_entropy", "dlr"):
        found = apgd(KEY, *digits, epsilon=0.4, target=target, steps=30, loss=loss)
        assert judged(digits, found, target=target).success.mean() > 0.9


@pytest.mark.slow
def test_it_ends_when_all_images_have_fallen(digits):
    asked = []

    def counting(x):
        jax.debug.callback(lambda: asked.append(1))
        return digits.logits_fn(x)

    for epsilon in (0.9, 0.001):
        asked.clear()
        jax.block_until_ready(apgd(KEY, counting, digits.x, digits.y, epsilon=epsilon, steps=50))
        jax.effects_barrier()
        assert (len(asked) < 30) == (epsilon == 0.9)


@pytest.mark.slow
def test_one_image_jit_and_one_trace(linear):
    logits_fn, x, y = linear
    options = {"epsilon": 0.05, "steps": 10, "targets": 2}
    assert apgd(KEY, logits_fn, x[2], y[2], **options).shape == x[2].shape
    inside = jax.jit(lambda key, x: apgd(key, logits_fn, x, y, **options))(KEY, x)
    close(inside, apgd(KEY, logits_fn, x, y, **options), atol=1e-5)
    before = _run._cache_size()
    other = jax.tree_util.Partial(logits_fn.func, *(0.5 * a for a in logits_fn.args))
    apgd(jax.random.key(0), other, x[::-1], y, **options | {"epsilon": 0.3})
    assert _run._cache_size() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps as a positive int, got 0"),
        ({"restarts": 0}, "restarts as a positive int, got 0"),
        ({"norm": "l0"}, r"norm as one of \('linf', 'l2', 'l1'\), got 'l0'"),
        ({"loss": "entropy"}, r"loss as one of .*, got 'entropy'"),
        ({"targets": 0}, r"targets as a count or an array \(T, ...\) of classes, got 0"),
        ({"targets": jnp.zeros((2, 3), jnp.int32)}, r"targets of shape \(\) or \(2, 6\), got \(2, 3\)"),
        ({"targets": 2, "target": 1}, "target or targets, got both"),
    ],
)
def test_refuses(options, message, linear):
    with pytest.raises(ValueError, match=f"^apgd: expected {message}"):
        apgd(KEY, *linear, **({"epsilon": 0.1} | options))


@pytest.mark.parametrize("norm", ["linf", *(pytest.param(norm, marks=pytest.mark.slow) for norm in ("l2", "l1"))])
@pytest.mark.parametrize(
    "kind", ["cross_entropy", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("dlr", "targets"))]
)
def test_as_strong_as_that_of_its_authors(norm, kind, digits):
    twin, pyautoattack = digits_twin(digits), peer("pyautoattack")
    import torch

    epsilon = {"linf": 0.04, "l2": 0.3, "l1": 1.0}[norm]
    theirs = pyautoattack.AutoAttack(twin, norm=norm.replace("l", "L"), eps=epsilon, seed=0)
    attack = theirs.apgd_targeted if kind == "targets" else theirs.apgd
    if kind != "targets":
        attack.loss = {"cross_entropy": "ce", "dlr": "dlr"}[kind]
    attack.seed, attack.n_restarts = 0, 1
    x, y = tensor(digits.x), torch.tensor(np.asarray(digits.y)).long()
    images = np.clip(array(attack.perturb(x, y)), 0, 1)
    several = {"targets": attack.n_target_classes, "loss": "dlr"} if kind == "targets" else {"loss": kind}
    ours = apgd(KEY, *digits, epsilon=epsilon, norm=norm, **several)
    luck = 1 / 32  # of a start decides about an image
    assert judged(digits, ours).robust_accuracy <= judged(digits, images).robust_accuracy + luck
