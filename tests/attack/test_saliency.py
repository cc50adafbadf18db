"""The attack of the Jacobian's saliency map: the pair against all pairs, its steps by hand, and torchattacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.judgement import judge
from jaxcnn.attack.saliency import best_pair, jacobian_saliency
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import array, tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
DRAW = np.random.default_rng(1)
KERNEL, BIAS = np.float32(DRAW.normal(0, 1, (25, 4))), np.float32(DRAW.normal(0, 0.1, 4))
IMAGES = np.float32(DRAW.uniform(0.3, 0.7, (6, 5, 5, 1)))


def wide(x):
    """A linear net of more values than that of `linear`, so that pairs are at hand."""
    return x.reshape(-1, 25) @ KERNEL + BIAS


def best_of_all(u, v):
    """The largest product of sums over all pairs, one after the other; -inf where no pair has both above 0."""
    sums = [a[:, None] + a for a in (u, v)]
    ok = (sums[0] > 0) & (sums[1] > 0) & ~np.eye(len(u), dtype=bool)
    return np.where(ok, sums[0] * sums[1], -np.inf).max()


@pytest.mark.parametrize("correlation", [-0.95, 0.0, 0.9])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_pair_is_the_best_of_all(correlation, shift):
    draw = np.random.default_rng(3)
    u, v = draw.normal(0, 1, (2, 40, 30)).astype(np.float32)
    u, v = u + np.float32(shift), np.float32(correlation * u + (1 - correlation**2) ** 0.5 * v + shift)
    u[:10], v[:10] = np.round(u[:10]), np.round(v[:10])  # ties
    gone = draw.random(u.shape) < np.linspace(0, 1, len(u))[:, None]
    u[gone] = v[gone] = -np.inf
    p, q, exists = map(np.asarray, best_pair(jnp.asarray(u), jnp.asarray(v)))
    rows = np.arange(len(u))
    expected = np.array([best_of_all(*row) for row in zip(u, v, strict=True)])
    assert exists.any()
    assert not exists.all()
    np.testing.assert_array_equal(exists, expected > -np.inf)
    found = (u[rows, p] + u[rows, q]) * (v[rows, p] + v[rows, q])
    close(found[exists], expected[exists], rtol=1e-6)
    assert (p != q)[exists].all()


@pytest.mark.parametrize(("theta", "targeted"), [(1.0, True), (-1.0, True), (1.0, False), (0.03, True), (-0.2, False)])
def test_steps_on_a_linear_net_by_hand(theta, targeted):
    x, y = IMAGES, np.asarray(wide(IMAGES).argmax(-1))
    target = (y + 1) % 4 if targeted else None
    found = jacobian_saliency(wide, x, y, target=target, theta=theta, gamma=8 / 25)
    moved = 0
    for n, image in enumerate(x.reshape(-1, 25)):
        wanted = int(target[n] if targeted else y[n])
        u, v = KERNEL[:, wanted], -(KERNEL.sum(1) - KERNEL[:, wanted])
        sign = np.sign(theta) * (1 if targeted else -1)
        images = [image]
        for _ in range(4):
            now = images[-1]
            if (np.argmax(now @ KERNEL + BIAS) == wanted) == targeted:
                break
            free = now < 1 if theta > 0 else now > 0
            sums = [np.where(free, sign * a, -np.inf) for a in (u, v)]
            sums = [a[:, None] + a for a in sums]
            value = np.where((sums[0] > 0) & (sums[1] > 0) & ~np.eye(25, dtype=bool), sums[0] * sums[1], -np.inf)
            if value.max() == -np.inf:
                break
            chosen = list(np.unravel_index(value.argmax(), value.shape))
            images.append(np.where(np.isin(np.arange(25), chosen), np.clip(now + theta, 0, 1), now))
        logits = [now @ KERNEL + BIAS for now in images]
        own = [z[wanted] for z in logits]
        best = [np.delete(z, wanted).max() for z in logits]
        missed = np.subtract(best, own) if targeted else np.subtract(own, best)
        close(found[n].reshape(25), images[missed.argmin()], atol=1e-6)
        moved += len(images) - 1
    assert moved > 3


@pytest.mark.parametrize("theta", [1.0, 0.3, -1.0])
def test_few_values_change_and_the_net_is_fooled(digits, theta):
    logits_fn, x, y = digits
    found = jacobian_saliency(logits_fn, x, y, theta=theta, gamma=0.2)
    judged = judge(logits_fn, x, found, y)
    assert judged.l0.max() <= 12
    assert judged.success.mean() > 0.8
    if abs(theta) == 1:
        assert np.isin(found[found != x], [0.0 if theta < 0 else 1.0]).all()
    assert (judged.l0[judge(logits_fn, x, x, y).success] == 0).all()
    more = judge(logits_fn, x, jacobian_saliency(logits_fn, x, y, theta=theta, gamma=0.5), y)
    assert more.success.mean() >= judged.success.mean()
    np.testing.assert_array_equal(jacobian_saliency(logits_fn, x, y, theta=theta, gamma=0.0), x)


@pytest.mark.slow
def test_a_target_is_reached(digits):
    logits_fn, x, y = digits
    target = (y + 3) % 10
    found = jacobian_saliency(logits_fn, x, y, target=target, gamma=0.4)
    judged = judge(logits_fn, x, found, y, target=target)
    assert judged.success.mean() > 0.7
    assert (judged.prediction == target)[judged.success].all()


@pytest.mark.slow
def test_other_bounds(linear):
    scaled = lambda x: linear.logits_fn((x + 1) / 2)  # noqa: E731
    found = jacobian_saliency(scaled, 2 * linear.x - 1, linear.y, theta=2.0, gamma=0.9, bounds=(-1.0, 1.0))
    expected = jacobian_saliency(linear.logits_fn, linear.x, linear.y, gamma=0.9)
    close((found + 1) / 2, expected, atol=1e-6)


@pytest.mark.slow
def test_one_image_and_inside_jit_and_vmap(digits):
    logits_fn, x, y = digits
    whole = jacobian_saliency(logits_fn, x, y)
    one = jacobian_saliency(logits_fn, x[3], y[3])
    assert judge(logits_fn, x[3], one, y[3]).success == judge(logits_fn, x, whole, y).success[3]
    attack = lambda x, y: jacobian_saliency(logits_fn, x, y)  # noqa: E731
    close(jax.jit(attack)(x, y), whole)
    close(jax.vmap(attack)(x[:4], y[:4]), whole[:4])


def test_is_traced_once(linear):
    calls = []

    def logits_fn(x):
        calls.append(1)
        return linear.logits_fn(x)

    jacobian_saliency(logits_fn, linear.x, linear.y)
    before = len(calls)
    jacobian_saliency(logits_fn, linear.x[::-1], linear.y, theta=-0.5, gamma=0.5)
    assert len(calls) == before


def test_values_without_a_finite_slope_are_left_alone():
    def logits_fn(x):
        steep = jnp.sqrt(x[..., :1, :, :] - x[..., :1, :, :])  # 0, with the slope inf * 0
        return wide(x) + steep.sum((-1, -2, -3))[..., None] * jnp.arange(4)

    found = jacobian_saliency(logits_fn, IMAGES, wide(IMAGES).argmin(-1), gamma=1.0, target=wide(IMAGES).argmin(-1))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, 0], IMAGES[:, 0])
    assert (found != IMAGES).any()


def test_refuses(linear):
    def check(**options):
        jacobian_saliency(linear.logits_fn, linear.x, linear.y, **options)

    with pytest.raises(ValueError, match=r"^jacobian_saliency: expected theta as a number, not 0, got 0"):
        check(theta=0)
    with pytest.raises(ValueError, match=r"^jacobian_saliency: expected gamma in \[0, 1\], got 1.5\."):
        check(gamma=1.5)
    with pytest.raises(ValueError, match=r"^jacobian_saliency: expected images within bounds"):
        check(bounds=(0.5, 0.6))


def test_jacobian_saliency_like_that_of_torchattacks(digits):
    logits_fn, x, y = digits
    net = digits_twin(digits)
    import torch

    gamma = 2 * 4 / 64  # 4 steps for both, which round gamma n / 2 up and down
    theirs = peer("torchattacks").JSMA(net, theta=1.0, gamma=gamma)
    theirs = array(theirs(tensor(x), torch.tensor(np.asarray(y)).long()))
    target = (y + 1) % 10
    ours = np.asarray(jacobian_saliency(logits_fn, x, y, target=target, gamma=gamma))
    judged = judge(logits_fn, x, ours, y, target=target)
    judged_theirs = judge(logits_fn, x, np.clip(theirs, 0, 1), y, target=target)
    np.testing.assert_array_equal(judged.success, judged_theirs.success)
    np.testing.assert_array_equal(ours[judged.success], theirs[judged.success])  # the others are not those it ends with
    assert judged.success.sum() > 3
