"""The Square attack: closed forms, the ball, what it costs, and its strength beside AutoAttack's own code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.goal import Goal, reached
from jaxcnn.attack.square import _schedule, _turned_square, square
from jaxcnn.attack.square_windows import _eta, corner, hills, tiles
from tests.attack.exact import least_sizes
from tests.attack.twins import digits_twin, peer
from tests.small_nets import CASES
from tests.torch_twins import tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)
close = np.testing.assert_allclose
RADII = {"linf": 0.15, "l2": 1.0, "l1": 5.0}


@pytest.mark.slow
def test_linear_nets_fall_where_they_can(linear):
    least, _ = least_sizes(linear, "linf")
    epsilon = np.sort(least)[:, None] * [0.99, 1.01]
    found = square(KEY, linear.logits_fn, linear.x, linear.y, epsilon=epsilon, queries=300, restarts=3)
    assert found.shape == (6, 2, *linear.x.shape)
    success = attack.judge(linear.logits_fn, linear.x, found, linear.y).success
    np.testing.assert_array_equal(success, epsilon[..., None] > least)


@pytest.mark.slow
@pytest.mark.parametrize("norm", RADII)
def test_stays_in_ball_and_bounds(norm, images):
    case = CASES["plain"]
    y = case.logits_fn(images).argmax(-1)
    epsilon = jnp.asarray([0.0, 0.02, 1.0]) * RADII[norm]
    found = square(KEY, case.logits_fn, images, y, epsilon=epsilon, norm=norm, queries=25)
    judged = attack.judge(case.logits_fn, images, found, y)
    size = getattr(judged, norm)
    assert (size <= epsilon[:, None] * (1 + 1e-5) + 1e-7).all()
    assert (size[1] > 0.5 * epsilon[1]).all()
    np.testing.assert_array_equal(found[0], images)


@pytest.mark.slow
@pytest.mark.parametrize("norm", RADII)
def test_finds_what_fools_the_net_and_says_what_it_cost(norm, digits):
    logits_fn, x, y = digits
    options = {"epsilon": RADII[norm], "norm": norm, "queries": 200, "return_queries": True}
    found, queries = square(KEY, logits_fn, x, y, **options)
    judged = attack.judge(logits_fn, x, found, y)
    before = np.asarray(reached(logits_fn(x), Goal(y)))
    assert judged.robust_accuracy < 0.7 * (1 - before.mean())
    np.testing.assert_array_equal(found[before], x[before])  # what is wrong already is left alone
    np.testing.assert_array_equal(queries == 1, before)
    np.testing.assert_array_equal(queries[~judged.success], 202)
    assert (queries[judged.success] <= 202).all()
    assert (queries[judged.success & ~before] >= 2).all()
    assert len(np.unique(queries)) > 5
    # Those that stand are nearer to falling than they were.
    goal = Goal(y)
    margin = [attack.objective.negative_margin(logits_fn(images), goal) for images in (x, found)]
    assert (margin[1] >= margin[0]).all()
    again, _ = square(KEY, logits_fn, x, y, **options)
    np.testing.assert_array_equal(found, again)
    other, _ = square(jax.random.key(5), logits_fn, x, y, **options)
    assert not np.array_equal(found, other)


@pytest.mark.slow
def test_restarts_help(digits):
    logits_fn, x, y = digits

    def fallen(**options):
        found = square(KEY, logits_fn, x, y, epsilon=0.12, **options)
        return attack.judge(logits_fn, x, found, y).success.mean()

    few = fallen(queries=20)
    assert fallen(queries=20, restarts=6) > few


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "loss"), [("linf", "margin"), ("linf", "cross_entropy"), ("l2", "dlr")])
def test_targets(norm, loss, digits):
    logits_fn, x, y = digits
    target = (y + 1) % 10
    options = {"norm": norm, "queries": 300, "target": target, "loss": loss}
    found = square(KEY, logits_fn, x, y, epsilon=jnp.asarray([1.0, 2.0]) * RADII[norm], **options)
    judged = attack.judge(logits_fn, x, found, y, target=target)
    np.testing.assert_array_equal(judged.success, judged.prediction == np.asarray(target))
    assert 0 < judged.success[0].mean() < judged.success[1].mean()


@pytest.mark.slow
def test_any_leading_axes_and_nets_side_by_side(digits):
    logits_fn, x, y = digits
    alone = square(KEY, logits_fn, x[0], y[0], epsilon=0.3, queries=200)
    assert alone.shape == x[0].shape
    assert attack.judge(logits_fn, x[0], alone, y[0]).success
    # Two nets, each with images of its own: the places of one are no places of the other.
    shift = jnp.zeros((2, 10)).at[1].set(jnp.linspace(-3, 3, 10))
    both = lambda x: jax.vmap(lambda x, shift: logits_fn(x) + shift)(x, shift)  # noqa: E731
    pair = jnp.stack([x[:4], x[:4]])
    labels = both(pair).argmax(-1)
    found = square(KEY, both, pair, labels, epsilon=0.15, queries=150)
    judged = attack.judge(both, pair, found, labels)
    separate = [square(KEY, lambda x, s=s: logits_fn(x) + s, x[:4], labels[i], epsilon=0.15, queries=150)
                for i, s in enumerate(shift)]  # fmt: skip
    expected = [attack.judge(lambda x, s=s: logits_fn(x) + s, x[:4], separate[i], labels[i]).success
                for i, s in enumerate(shift)]  # fmt: skip
    assert judged.success.sum() >= np.sum(expected) - 1
    assert judged.success.any()


@pytest.mark.slow
def test_is_compiled_once_and_works_inside_of_jit(digits):
    logits_fn, x, y = digits
    traces = []

    def counted(x):
        traces.append(1)
        return logits_fn(x)

    first = square(KEY, counted, x[:4], y[:4], epsilon=0.1, queries=20)
    count = len(traces)
    square(jax.random.key(9), counted, x[4:8], y[4:8], epsilon=0.2, queries=20, fraction=0.5)
    assert len(traces) == count
    inside = jax.jit(lambda key, x: square(key, logits_fn, x, y[:4], epsilon=0.1, queries=20))(KEY, x[:4])
    close(inside, first, atol=1e-6)
    keys = jax.random.split(KEY, 2)
    several = jax.vmap(lambda key: square(key, logits_fn, x[:4], y[:4], epsilon=0.1, queries=20))(keys)
    assert several.shape == (2, 4, 8, 8, 1)
    close(several[1], square(keys[1], logits_fn, x[:4], y[:4], epsilon=0.1, queries=20), atol=1e-6)


@pytest.mark.slow
def test_half_precision_stays_half_precision(images):
    case, x = CASES["plain"], images.astype(jnp.bfloat16)
    y = case.logits_fn(x).argmax(-1)
    for norm in ("linf", "l2"):
        found = square(KEY, case.logits_fn, x, y, epsilon=RADII[norm], norm=norm, queries=10)
        assert found.dtype == jnp.bfloat16
        assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.slow
def test_a_draw_that_would_change_nothing_is_turned_round():
    x, side = jnp.full((20, 3, 3, 1), 0.5), jnp.full(20, 3)
    found = _turned_square(KEY, x, x + 0.25, side, jnp.float32(0.25), (0.0, 1.0))
    np.testing.assert_array_equal(found, x - 0.25)


def test_squares_become_smaller_by_the_schedule():
    sides, known = _schedule(10_000, 0.8, (32, 32), "linf")
    assert known is None
    expected = np.round(np.sqrt(0.8 * 32 * 32 / 2.0 ** np.arange(10)))
    np.testing.assert_array_equal(np.asarray(sides)[[10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]], expected)
    np.testing.assert_array_equal(_schedule(100, 0.8, (32, 32), "linf")[0], sides[::100])
    odd, known = _schedule(10_000, 0.8, (32, 32), "l2")
    assert (np.asarray(odd) % 2 == 1).all()
    assert odd.min() == 3
    assert _schedule(5, 1.0, (4, 7), "l1")[0].max() == 4


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 3, 7, 8])
def test_hills_have_size_one_and_lie_in_their_windows(power, side):
    known = hills([side], 10, power)
    at = [jnp.asarray(n) for n in (2, 1, side)]
    for turned in (False, True):
        eta = np.asarray(_eta(*at, jnp.asarray(turned), (12, 10), known, power))
        assert eta.shape == (12, 10)
        close((np.abs(eta) ** power).sum(), 1, rtol=1e-5)
        outside = eta.copy()
        outside[2 : 2 + side, 1 : 1 + side] = 0
        assert (outside == 0).all()
        window = eta[2 : 2 + side, 1 : 1 + side]
        window = window.T if turned else window
        assert (window[: side // 2] > 0).all()
        assert (window[side // 2 :] < 0).all()


@pytest.mark.slow
def test_windows_begin_wherever_they_fit():
    """By counts of 4,000 draws in images of 5x9: each place as often, within six standard deviations."""
    side = jnp.full(4000, 3)
    for places, begins in zip((3, 7), corner(jax.random.key(0), side, (5, 9)), strict=True):
        counts = np.bincount(begins, minlength=places)
        assert len(counts) == places
        np.testing.assert_allclose(counts, 4000 / places, atol=6 * (4000 / places) ** 0.5)


def test_tiles_fill_the_image():
    x = jnp.zeros((2, 11, 9, 3))
    found = tiles(KEY, x, 2, hills([2], 9, 2), 2)
    assert found.shape == x.shape
    close(jnp.sum(found**2, (1, 2)), 5 * 4, rtol=1e-5)  # 5 x 4 windows, one row and one column are left over
    assert (found[:, :10, :8] != 0).all()


def test_refuses(digits):
    logits_fn, x, y = digits

    def check(**options):
        square(KEY, logits_fn, x, y, **{"epsilon": 0.1, "queries": 2} | options)

    with pytest.raises(ValueError, match=r"^square: expected norm as one of \('linf', 'l2', 'l1'\), got 'l0'\."):
        check(norm="l0")
    with pytest.raises(ValueError, match=r"^square: expected queries as a positive int, got 0\."):
        check(queries=0)
    with pytest.raises(ValueError, match=r"^square: expected fraction in \(0, 1\], got 1\.5\. It is the part"):
        check(fraction=1.5)
    with pytest.raises(ValueError, match=r"^square: expected epsilon >= 0, got -0\.1\."):
        check(epsilon=-0.1)
    with pytest.raises(ValueError, match=r"^square: expected loss as one of"):
        check(loss="hinge")
    with pytest.raises(TypeError, match=r"^square: expected return_queries as a Python bool"):
        check(return_queries=1)
    flat = lambda x: x @ jnp.ones((5, 3))  # noqa: E731
    with pytest.raises(
        ValueError, match=r"^square: expected x of shape \(\.\.\., H, W, C\).*got \(2, 5\)\. Pass images"
    ):
        square(KEY, flat, jnp.ones((2, 5)), jnp.zeros(2, jnp.int32), epsilon=0.1)


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_hills_are_those_of_the_twin_in_autoattack(norm):
    theirs = peer("pyautoattack.square").SquareAttack(None, norm=norm, eps=1.0, device="cpu")
    import torch

    power = 2 if norm == "L2" else 1
    for side in (1, 3, 5, 9, 10, 25):
        torch.manual_seed(0)
        expected = theirs.eta(side).numpy()
        ours = [
            np.asarray(_eta(*(jnp.asarray(n) for n in (0, 0, side)), jnp.asarray(turned), (side, side),
                            hills([side], 30, power), power))
            for turned in (False, True)
        ]  # fmt: skip
        assert any(np.allclose(eta, expected, rtol=1e-4, atol=1e-6) for eta in ours)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 0.7), ("l1", 1.5)])
def test_is_as_strong_as_autoattack_on_the_twin(norm, epsilon, digits):
    net, attacks = digits_twin(digits), peer("pyautoattack.square")
    import torch

    logits_fn, x, y = digits
    labels = torch.tensor(np.asarray(y)).long()
    theirs, ours = [], []
    for seed in range(2):
        options = {"norm": norm.capitalize(), "n_queries": 300, "eps": epsilon, "seed": seed, "device": "cpu"}
        fooled = attacks.SquareAttack(net, **options).perturb(tensor(x), labels)
        theirs.append(float((net(fooled).argmax(1) == labels).float().mean()))
        found = square(jax.random.key(seed), logits_fn, x, y, epsilon=epsilon, norm=norm, queries=300)
        ours.append(attack.judge(logits_fn, x, found, y).robust_accuracy)
    assert 0.1 < np.mean(theirs) < 0.9  # neither too easy nor too hard to tell
    assert np.mean(ours) <= np.mean(theirs) + 1 / 32, (ours, theirs)
