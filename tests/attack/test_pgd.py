"""PGD, BIM and MI-FGSM: closed forms, balls and bounds, restarts and radii in one program, and beside others."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.goal import Goal
from jaxcnn.attack.judgement import judge
from jaxcnn.attack.momentum import momentum_iterative
from jaxcnn.attack.pgd import _from_anywhere, bim, climb, from_the_image, pgd
from tests.attack.conftest import judged
from tests.attack.exact import least_sizes
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import array, tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(5)
BALLS = ("linf", "l2", "l1")
RADII = {"linf": 0.1, "l2": 0.8, "l1": 4.0}


def losses(known, x):
    return -jax.nn.log_softmax(known.logits_fn(x))[jnp.arange(len(x)), known.y]


@pytest.mark.slow
@pytest.mark.parametrize("norm", BALLS)
def test_of_a_linear_net_the_least_size_is_found_to_a_hundredth(norm, linear):
    sizes, nearest = least_sizes(linear, norm)
    for row, least in enumerate(sizes):
        one = (linear.logits_fn, linear.x[row], linear.y[row])
        radii = np.array([0.99, 1.01]) * least
        found = pgd(KEY, *one, epsilon=radii, norm=norm, target=int(nearest[row]), loss="margin", restarts=2)
        success = judge(one[0], one[1], found, one[2]).success
        assert success.tolist() == [False, True]


@pytest.mark.parametrize("norm", BALLS)
@hypothesis.given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_images_never_leave_ball_or_bounds(norm, seed, share, linear):
    low, high = -0.3, 0.9
    epsilon = share * {"linf": 1.2, "l2": 3.0, "l1": 3.0}[norm]
    x = jax.random.uniform(jax.random.key(seed), linear.x.shape, minval=low, maxval=high)
    x = jnp.where(jax.random.bernoulli(jax.random.key(seed + 1), 0.3, x.shape), high, x)
    options = {"epsilon": epsilon, "norm": norm, "bounds": (low, high), "steps": 5, "step_size": 0.4}
    found = pgd(jax.random.key(seed), linear.logits_fn, x, linear.y, **options)
    sizes = judge(linear.logits_fn, x, found, linear.y, bounds=(low, high))
    assert (getattr(sizes, norm) <= epsilon * (1 + 1e-5) + 1e-6).all()
    assert ((found >= jnp.float32(low)) & (found <= jnp.float32(high))).all()


SOME = [*((functools.partial(pgd, KEY, steps=10), norm) for norm in BALLS), (bim, "l1"), (momentum_iterative, "l2")]


@pytest.mark.parametrize(("attack", "norm"), SOME)
def test_no_radius_is_no_change(attack, norm, linear):
    np.testing.assert_array_equal(attack(*linear, epsilon=0.0, norm=norm, step_size=0.1), linear.x)


@pytest.mark.parametrize(("attack", "norm"), SOME)
def test_images_fall_to_it_in_the_ball(attack, norm, digits):
    found = judged(digits, attack(*digits, epsilon=RADII[norm], norm=norm))
    assert found.robust_accuracy < judged(digits, digits.x).robust_accuracy - 0.2
    assert getattr(found, norm).max() <= RADII[norm] * (1 + 1e-5)


@pytest.mark.slow
def test_radii_and_restarts_are_one_program(digits):
    radii = jnp.array([0.0, 0.02, 0.1])
    before = _from_anywhere._cache_size()
    many = pgd(KEY, *digits, epsilon=radii, steps=5, restarts=3)
    assert _from_anywhere._cache_size() == before + 1
    assert many.shape == (3, *digits.x.shape)
    alone = pgd(KEY, *digits, epsilon=0.02, steps=5, restarts=3)
    close(judged(digits, many[1]).confidence, judged(digits, alone).confidence, rtol=0.02)
    accuracy = [judged(digits, one).robust_accuracy for one in many]
    assert accuracy == sorted(accuracy, reverse=True)
    assert accuracy[0] == judged(digits, digits.x).robust_accuracy


def test_the_key_decides(linear):
    found = [pgd(key, *linear, epsilon=0.05, steps=3, step_size=0.01) for key in (KEY, KEY, jax.random.key(6))]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.slow
def test_restarts_leave_a_plain():
    """At 0.4 the net has no gradient: its first logit rises from 0.5 on."""
    x = jnp.full((64, 1, 1, 1), 0.4)
    logits_fn = lambda x: jnp.concatenate([100 * jax.nn.relu(x[..., 0, 0] - 0.5), 2 + 0 * x[..., 0, 0]], -1)  # noqa: E731
    fell = lambda found: judge(logits_fn, x, found, 1).success.mean()  # noqa: E731
    options = {"epsilon": 0.2, "steps": 4}
    assert fell(bim(logits_fn, x, 1, **options)) == 0
    once, often = (fell(pgd(KEY, logits_fn, x, 1, restarts=n, **options)) for n in (1, 12))
    assert 0.1 < once < 0.5
    assert often > 0.9


def test_the_best_image_on_the_way_is_kept():
    """The first logit is largest between 0.5 and 0.6, and steps of 0.15 go beyond: 0.4, 0.55, 0.7."""
    logits_fn = lambda x: jnp.concatenate([x[..., 0, 0] - 0.5, 10 * jax.nn.relu(x[..., 0, 0] - 0.6)], -1)  # noqa: E731
    x = jnp.full((1, 1, 1), 0.4)
    found = bim(logits_fn, x, 1, epsilon=0.5, steps=2, step_size=0.15, loss=lambda z, _: z[..., 0])
    close(found.item(), 0.55, atol=1e-6)
    # It reaches the goal already, and still what has the largest loss is kept.
    close(bim(logits_fn, x + 0.15, 1, epsilon=0.05, loss=lambda z, _: z[..., 0]).item(), 0.6, atol=1e-6)


@pytest.mark.slow
def test_what_errs_already_still_does(digits):
    wrong = np.asarray(digits.logits_fn(digits.x).argmax(-1)) != np.asarray(digits.y)
    assert wrong.any()
    assert judged(digits, pgd(KEY, *digits, epsilon=1e-4, steps=1)).success[wrong].all()


@pytest.mark.slow
def test_targets_are_reached(digits):
    target = (digits.y + 3) % 10
    found = pgd(KEY, *digits, epsilon=0.4, target=target, steps=20)
    assert judged(digits, found, target=target).success.mean() > 0.8
    few = bim(*digits, epsilon=0.4, target=4, steps=20)
    assert judged(digits, few, target=4).success.mean() > 0.8


def test_pixels_at_their_bounds_take_no_share_of_a_step():
    x = jnp.array([0.0, 0.5, 0.5, 0.5]).reshape(4, 1, 1)
    weights = jnp.array([-9.0, 1.0, 0.5, 0.1])
    logits_fn = lambda x: jnp.stack([x.reshape(*x.shape[:-3], 4) @ weights, jnp.full(x.shape[:-3], 9.0)], -1)  # noqa: E731
    for norm, expected in (("l1", [0, 0.1, 0, 0]), ("l2", 0.1 * np.array([0, 1, 0.5, 0.1]) / np.sqrt(1.26))):
        found = bim(logits_fn, x, 1, epsilon=0.3, norm=norm, steps=1, step_size=0.1, loss=lambda z, _: z[..., 0])
        close((found - x).ravel(), expected, atol=1e-6)


@pytest.mark.slow
def test_steps_may_be_those_of_each_radius(linear):
    found = bim(*linear, epsilon=[0.1, 0.1], step_size=jnp.array([0.01, 0.02]), steps=1)
    close([jnp.abs(one - linear.x).max() for one in found], [0.01, 0.02], rtol=1e-4)
    close(jnp.abs(bim(*linear, epsilon=0.1, steps=50) - linear.x).max(), 0.1, rtol=1e-4)


@pytest.mark.slow
def test_the_climb_of_a_training_step(linear):
    goal = Goal(linear.y)
    run = jax.jit(functools.partial(climb, epsilon=0.05), static_argnames="steps")
    last = run(None, linear.logits_fn, linear.x, goal, steps=5)
    assert (losses(linear, last) > losses(linear, linear.x)).all()
    found = bim(*linear, epsilon=0.05, steps=5)
    assert (losses(linear, found) >= losses(linear, last) - 1e-4).all()  # which keeps the best
    other = run(KEY, linear.logits_fn, linear.x, goal, steps=1, step_size=0.06)
    assert jnp.abs(other - linear.x).max() <= 0.05 + 1e-6
    blind = jax.grad(lambda x: run(None, linear.logits_fn, x, goal, steps=1).sum())(linear.x)
    assert not blind.any()


def test_momentum_adds_gradients_of_length_1():
    """The gradient turns from (1, 0) to (0, -0.5) where the first value passes 0.55: with momentum it goes on."""

    def logits_fn(x):
        a, b = x[..., 0, 0, 0], x[..., 1, 0, 0]
        return jnp.stack([jnp.where(a < 0.55, a, 1000 - 0.5 * b), 2000 + 0 * a], -1)

    x = jnp.full((2, 1, 1), 0.5)
    options = {"epsilon": 0.4, "steps": 2, "step_size": 0.1, "loss": lambda z, _: z[..., 0], "norm": "l2"}
    aside = 0.1 / 2**0.5  # of (1, 0) + (0, -1)
    close(momentum_iterative(logits_fn, x, 1, decay=1.0, **options).ravel(), [0.6 + aside, 0.5 - aside], atol=1e-5)
    close(momentum_iterative(logits_fn, x, 1, decay=0.0, **options).ravel(), [0.6, 0.4], atol=1e-5)
    close(bim(logits_fn, x, 1, **options).ravel(), [0.6, 0.4], atol=1e-5)


@pytest.mark.slow
def test_one_image_vectors_jit_and_vmap(linear):
    logits_fn, x, y = linear
    attack = functools.partial(bim, epsilon=0.1, steps=4)
    full = attack(logits_fn, x, y)
    close(attack(logits_fn, x[2], y[2]), full[2], atol=1e-5)
    close(jax.jit(lambda x, y, e: bim(logits_fn, x, y, epsilon=e, steps=4))(x, y, 0.1), full, atol=1e-5)
    close(jax.vmap(lambda x, y: attack(logits_fn, x, y))(x, y), full, atol=1e-5)
    flat = lambda x: logits_fn(x.reshape(*x.shape[:-1], 3, 3, 1))  # noqa: E731
    close(attack(flat, x.reshape(6, 9), y), full.reshape(6, 9), atol=1e-5)
    close(attack(logits_fn, x.reshape(2, 3, 3, 3, 1), y.reshape(2, 3)), full.reshape(2, 3, 3, 3, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("attack", "program"),
    [(functools.partial(pgd, KEY), _from_anywhere), (bim, from_the_image), (momentum_iterative, from_the_image)],
    ids=["pgd", "bim", "momentum_iterative"],
)
def test_one_trace_for_other_weights_images_and_radii(attack, program, linear):
    attack(*linear, epsilon=0.1, steps=2)
    before = program._cache_size()
    other = jax.tree_util.Partial(linear.logits_fn.func, *(0.5 * a for a in linear.logits_fn.args))
    more = {"decay": 0.5} if attack is momentum_iterative else {}
    attack(other, linear.x[::-1], linear.y, epsilon=0.3, steps=2, step_size=0.1, **more)
    assert program._cache_size() == before


def test_gradients_that_are_not_finite_are_said(linear):
    logits_fn = lambda x: jnp.stack([jnp.sqrt(x).sum((1, 2, 3)), jnp.full(len(x), 2.0)], -1)  # noqa: E731
    with pytest.raises(ValueError, match=r"^bim: expected finite gradients, got infinite or NaN ones"):
        bim(logits_fn, jnp.zeros((2, 2, 2, 1)), 1, epsilon=0.1)
    inside = jax.jit(lambda x: bim(logits_fn, x, 1, epsilon=0.1))(jnp.zeros((2, 2, 2, 1)))
    assert jnp.isfinite(inside).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps as a positive int, got 0"),
        ({"restarts": 0}, "restarts as a positive int, got 0"),
        ({"norm": "l0"}, r"norm as one of \('linf', 'l2', 'l1'\), got 'l0'"),
        ({"step_size": -1}, "step_size above 0, got -1"),
        ({"step_size": jnp.ones(2)}, r"step_size of shape \(\) or \(\), as epsilon, got \(2,\)"),
        (
            {"epsilon": [0.1] * 3, "step_size": jnp.ones(2)},
            r"step_size of shape \(\) or \(3,\), as epsilon, got",
        ),
        ({"step_size": "large"}, "step_size as a number or an array, got 'large'"),
        ({"target": 7}, r"target in 0\.\.3, got 7"),
    ],
)
def test_refuses(options, message, linear):
    with pytest.raises(ValueError, match=f"^pgd: expected {message}"):
        pgd(KEY, *linear, **({"epsilon": 0.1} | options))


def test_refuses_a_negative_decay(linear):
    with pytest.raises(ValueError, match=r"^momentum_iterative: expected decay of at least 0, got -1"):
        momentum_iterative(*linear, epsilon=0.1, decay=-1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_climbs_like_those_of_foolbox(norm, digits):
    twin, foolbox = digits_twin(digits), peer("foolbox")
    import torch

    x = 0.3 + 0.4 * digits.x  # nothing meets its bounds
    y = digits.logits_fn(x).argmax(-1)
    epsilon, step_size = {"linf": (0.05, 0.01), "l2": (0.4, 0.1)}[norm]
    method = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    attack = method(abs_stepsize=step_size, steps=6, random_start=False)
    _, theirs, _ = attack(
        foolbox.PyTorchModel(twin, bounds=(0, 1)), tensor(x), torch.tensor(np.asarray(y)).long(), epsilons=epsilon
    )
    ours = climb(None, digits.logits_fn, x, Goal(y), epsilon=epsilon, steps=6, step_size=step_size, norm=norm)
    assert np.isclose(ours, array(theirs), atol=5e-4).mean() > 0.98


@pytest.mark.parametrize("epsilon", [0.03, 0.06])
def test_as_strong_as_pgd_of_torchattacks_and_foolbox(epsilon, digits):
    twin, torchattacks, foolbox = digits_twin(digits), peer("torchattacks"), peer("foolbox")
    import torch

    x, y = tensor(digits.x), torch.tensor(np.asarray(digits.y)).long()
    torch.manual_seed(0)
    theirs = torchattacks.PGD(twin, eps=epsilon, alpha=epsilon / 16, steps=40)(x, y)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=epsilon / 16, steps=40)
    _, others, _ = attack(foolbox.PyTorchModel(twin, bounds=(0, 1)), x, y, epsilons=epsilon)
    ours = judged(digits, pgd(KEY, *digits, epsilon=epsilon, step_size=epsilon / 16)).robust_accuracy
    luck = 1 / 32  # of a start decides about an image; of 256 and over 4 keys the means are the same
    assert ours <= judged(digits, np.clip(array(theirs), 0, 1)).robust_accuracy + luck
    assert ours <= judged(digits, np.clip(array(others), 0, 1)).robust_accuracy + luck


def test_momentum_as_strong_as_that_of_torchattacks(digits):
    twin, torchattacks = digits_twin(digits), peer("torchattacks")
    import torch

    theirs = torchattacks.MIFGSM(twin, eps=0.06, alpha=0.006, steps=10, decay=1.0)(
        tensor(digits.x), torch.tensor(np.asarray(digits.y)).long()
    )
    ours = momentum_iterative(*digits, epsilon=0.06)
    assert (losses(digits, ours) >= losses(digits, array(theirs)) - 0.05).mean() > 0.9
    close(losses(digits, ours).mean(), losses(digits, array(theirs)).mean(), rtol=0.05)
