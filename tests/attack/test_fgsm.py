"""FGSM and R-FGSM: their formulas, what stays as it is, and beside foolbox's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.fgsm import _step, fgsm, random_fgsm
from jaxcnn.attack.judgement import judge
from tests.attack.exact import least_sizes
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import array, tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(3)


def slope(known, x):
    def loss(x):
        logits = known.logits_fn(x)
        return -jax.nn.log_softmax(logits)[jnp.arange(len(x)), known.y].sum()

    return jax.grad(loss)(x)


@pytest.mark.slow
def test_a_step_is_the_sign_of_the_gradient_cut_off_at_the_bounds(digits):
    right = np.asarray(digits.logits_fn(digits.x).argmax(-1)) == np.asarray(digits.y)
    found = fgsm(*digits, epsilon=0.1)
    expected = jnp.clip(digits.x + 0.1 * jnp.sign(slope(digits, digits.x)), 0, 1)
    # Of a gradient that is 0 to rounding log_softmax gives some sign.
    assert np.isclose(found, expected, atol=1e-6)[right].mean() > 0.99
    assert 0 < (~right).sum() < len(right)
    np.testing.assert_array_equal(found[~right], digits.x[~right])  # they reach the goal as they are


@pytest.mark.slow
def test_radii_are_the_axes_in_front(digits):
    radii = jnp.array([[0.0, 0.05], [0.1, 0.2]])
    found = fgsm(*digits, epsilon=radii)
    assert found.shape == (2, 2, *digits.x.shape)
    np.testing.assert_array_equal(found[0, 0], digits.x)
    for at in ((0, 1), (1, 0), (1, 1)):
        close(found[at], fgsm(*digits, epsilon=radii[at]), atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_of_a_linear_net_the_least_size_is_found_to_a_hundredth(norm, linear):
    sizes, nearest = least_sizes(linear, norm)
    for share, falls in ((0.99, False), (1.01, True)):
        for row, epsilon in enumerate(sizes):
            one = (linear.logits_fn, linear.x[row], linear.y[row])
            options = {"epsilon": share * epsilon, "norm": norm, "target": int(nearest[row]), "loss": "margin"}
            judged = judge(one[0], one[1], fgsm(*one, **options), one[2])
            assert judged.success == falls
            close(getattr(judged, norm), share * epsilon, rtol=1e-4)


def test_it_is_the_largest_step_that_bounds_allow():
    x = jnp.array([0.9, 0.2, 0.5])[:, None, None]
    logits_fn = lambda x: jnp.stack([jnp.zeros(x.shape[:-3]), x.sum((-3, -2, -1)) - 9], -1)  # noqa: E731
    found = fgsm(logits_fn, x, 0, epsilon=0.5, norm="l2").ravel()
    rest = np.sqrt((0.25 - 0.01) / 2)
    close(found, [1.0, 0.2 + rest, 0.5 + rest], atol=1e-5)  # one that stops short would give the others 0.5 / sqrt(3)


@pytest.mark.slow
def test_a_target_is_approached(digits):
    target = (digits.y + 1) % 10
    found = fgsm(*digits, epsilon=0.1, target=target)
    before, after = (jax.nn.log_softmax(digits.logits_fn(x))[jnp.arange(32), target] for x in (digits.x, found))
    assert (after > before).all()


@pytest.mark.slow
def test_random_steps_stay_in_the_ball_and_come_back_with_the_key(digits):
    found = random_fgsm(KEY, *digits, epsilon=0.1)
    np.testing.assert_array_equal(found, random_fgsm(KEY, *digits, epsilon=0.1))
    assert not np.array_equal(found, random_fgsm(jax.random.key(4), *digits, epsilon=0.1))
    assert judge(digits.logits_fn, digits.x, found, digits.y).linf.max() <= 0.1 + 1e-6
    np.testing.assert_array_equal(random_fgsm(KEY, *digits, epsilon=0.0), digits.x)
    assert random_fgsm(KEY, *digits, epsilon=[0.0, 0.1]).shape == (2, *digits.x.shape)


@pytest.mark.slow
def test_random_steps_by_hand(linear):
    way = jnp.sign(jax.random.normal(KEY, linear.x.shape))
    start = linear.x + 0.06 * way
    expected = start + 0.04 * jnp.sign(slope(linear, start))
    found = random_fgsm(KEY, *linear, epsilon=0.1, alpha=0.06, loss=lambda z, _: 0 * z[:, 0])
    close(found, linear.x)  # of equals the first
    found = random_fgsm(KEY, *linear, epsilon=0.1, alpha=0.06)
    loss = lambda x: -jax.nn.log_softmax(linear.logits_fn(x))[jnp.arange(6), linear.y]  # noqa: E731
    best = (loss(expected) > loss(linear.x)) & (loss(expected) > loss(start))
    assert best.sum() > 2
    close(found[best], expected[best], atol=1e-6)


def test_without_a_random_step_it_is_fgsm(linear):
    close(random_fgsm(KEY, *linear, epsilon=0.1, alpha=0.0), fgsm(*linear, epsilon=0.1), atol=1e-6)


@pytest.mark.slow
def test_a_random_step_leaves_a_plain():
    """At 0.4 the net has no gradient: its first logit rises from 0.5 on."""
    x = jnp.full((64, 1, 1, 1), 0.4)
    logits_fn = lambda x: jnp.concatenate([100 * jax.nn.relu(x[..., 0, 0] - 0.5), 2 + 0 * x[..., 0, 0]], -1)  # noqa: E731
    np.testing.assert_array_equal(fgsm(logits_fn, x, 1, epsilon=0.3), x)
    fell = judge(logits_fn, x, random_fgsm(KEY, logits_fn, x, 1, epsilon=0.3), 1).success
    assert 16 < fell.sum() < 48


@pytest.mark.slow
def test_one_image_jit_and_one_trace(digits, linear):
    one = fgsm(digits.logits_fn, digits.x[3], digits.y[3], epsilon=0.1)
    close(one, fgsm(*digits, epsilon=0.1)[3], atol=1e-6)
    close(
        jax.jit(lambda x: fgsm(digits.logits_fn, x, digits.y, epsilon=0.1))(digits.x),
        fgsm(*digits, epsilon=0.1),
        atol=1e-6,
    )
    before = _step._cache_size()
    for epsilon in (0.1, 0.2):
        fgsm(digits.logits_fn, digits.x[::-1], 3, epsilon=epsilon)
    assert _step._cache_size() == before


@pytest.mark.slow
def test_a_net_without_finite_gradients_is_said_to_have_none():
    x = jnp.zeros((2, 2, 2, 1))
    logits_fn = lambda x: jnp.stack([jnp.sqrt(x).sum((1, 2, 3)), jnp.full(len(x), 2.0)], -1)  # noqa: E731
    for attack in (lambda: fgsm(logits_fn, x, 1, epsilon=0.1), lambda: random_fgsm(KEY, logits_fn, x, 1, epsilon=0.1)):
        with pytest.raises(ValueError, match=r"fgsm: expected finite gradients, got infinite or NaN ones\. Attack it"):
            attack()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l0"}, r"norm as one of \('linf', 'l2', 'l1'\), got 'l0'"),
        ({"epsilon": -0.1}, "epsilon >= 0, got -0.1"),
        ({"loss": "entropy"}, r"loss as one of .*, got 'entropy'"),
        ({"bounds": (0.0, 0.1)}, r"images within bounds=\(0.0, 0.1\)"),
    ],
)
def test_refuses(options, message, linear):
    with pytest.raises(ValueError, match=f"^fgsm: expected {message}"):
        fgsm(*linear, **({"epsilon": 0.1} | options))


def test_random_steps_refuse(linear):
    with pytest.raises(ValueError, match=r"^random_fgsm: expected alpha of at least 0, got -0\.1\."):
        random_fgsm(KEY, *linear, epsilon=0.1, alpha=-0.1)
    with pytest.raises(TypeError, match=r"^random_fgsm: expected one PRNG key"):
        random_fgsm(linear.logits_fn, KEY, linear.x, linear.y, epsilon=0.1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_like_those_of_foolbox(norm, digits):
    twin, foolbox = digits_twin(digits), peer("foolbox")
    import torch

    epsilon = {"linf": 0.1, "l2": 0.5}[norm]
    x = 0.3 + 0.4 * digits.x if norm == "l2" else digits.x  # nothing meets its bounds
    y = digits.logits_fn(x).argmax(-1)
    method = {"linf": foolbox.attacks.LinfFastGradientAttack, "l2": foolbox.attacks.L2FastGradientAttack}[norm]()
    model = foolbox.PyTorchModel(twin, bounds=(0, 1))
    _, theirs, _ = method(model, tensor(x), torch.tensor(np.asarray(y)).long(), epsilons=epsilon)
    ours = fgsm(digits.logits_fn, x, y, epsilon=epsilon, norm=norm)
    same = np.isclose(ours, array(theirs), atol=2e-4)  # a gradient that is 0 to rounding has either sign
    assert same.mean() > 0.995
