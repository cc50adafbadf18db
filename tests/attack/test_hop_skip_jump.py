"""HopSkipJump: the least changes of linear nets, what it costs, and its strength beside foolbox."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.goal import Goal, reached
from jaxcnn.attack.hop_skip_jump import _vote, hop_skip_jump
from tests.attack.exact import least_sizes, with_classes
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import array, tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)
NORMS = ("l2", "linf")


@pytest.mark.parametrize("norm", NORMS)
def test_finds_the_least_change_of_a_linear_net(norm, linear):
    two = with_classes(linear, 2)
    judged = attack.judge(two.logits_fn, two.x, hop_skip_jump(KEY, *two, norm=norm, steps=40, samples=60), two.y)
    assert judged.success.all()
    ratio = getattr(judged, norm) / least_sizes(two, norm)[0]
    assert (ratio > 1).all()
    assert (ratio < 1.01).all()


@pytest.mark.slow
def test_of_several_classes_it_finds_one_that_is_near(linear):
    found = hop_skip_jump(KEY, *linear, steps=20)
    judged = attack.judge(linear.logits_fn, linear.x, found, linear.y)
    assert judged.success.all()
    ratio = judged.l2 / least_sizes(linear, "l2")[0]
    assert (ratio > 1).all()
    assert np.median(ratio) < 1.01


@pytest.mark.slow
def test_votes_are_weighed_by_how_rare_they_are():
    image = jnp.full((2, 3, 3, 1), 0.5)
    ask = lambda images: images.sum((-3, -2, -1)) > jnp.array([4.4, 4.6])  # noqa: E731  # of 4.5: most, and few
    found = _vote(KEY, ask, image, jnp.float32(0.1), jnp.int32(40), "l2", (0.0, 1.0), (1, 2, 3), 40)
    draws = [jax.random.normal(key, image.shape) for key in jax.random.split(jax.random.fold_in(KEY, 0), 40)]
    ways = jnp.stack([way / jnp.sqrt((way**2).sum((1, 2, 3), keepdims=True)) for way in draws])
    votes = jnp.where(jax.vmap(ask)(image + 0.1 * ways), 1.0, -1.0)
    assert votes[:, 0].mean() > 0.3
    assert -1 < votes[:, 1].mean() < -0.3
    total = ((votes - votes.mean(0))[..., None, None, None] * ways).sum(0)
    np.testing.assert_allclose(found, total / jnp.sqrt((total**2).sum((1, 2, 3), keepdims=True)), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
def test_fools_the_net_and_says_what_it_cost(norm, digits):
    logits_fn, x, y = digits
    options = {"norm": norm, "steps": 5, "samples": 20, "return_queries": True}
    found, queries = hop_skip_jump(KEY, logits_fn, x, y, **options)
    judged = attack.judge(logits_fn, x, found, y)
    before = np.asarray(reached(logits_fn(x), Goal(y)))
    assert judged.success.all()
    np.testing.assert_array_equal(found[before], x[before])
    np.testing.assert_array_equal(queries == 1, before)
    votes = sum(int(20 * np.sqrt(step)) for step in range(1, 6))
    assert (queries[~before] >= votes + 6 * 12 + 5).all()
    assert (queries[~before] <= votes + 6 * 13 + 5 * 16 + 152).all()
    again, _ = hop_skip_jump(KEY, logits_fn, x, y, **options)
    np.testing.assert_array_equal(found, again)
    more = hop_skip_jump(KEY, logits_fn, x, y, norm=norm, steps=12, samples=30)
    assert np.median(getattr(attack.judge(logits_fn, x, more, y), norm)) < np.median(getattr(judged, norm))
    assert (more >= 0).all()
    assert (more <= 1).all()


def test_no_step_asks_in_more_directions_than_most_samples(linear):
    options = {"steps": 3, "samples": 200, "most_samples": 20, "return_queries": True}
    found, queries = hop_skip_jump(KEY, *linear, **options)
    assert attack.judge(linear.logits_fn, linear.x, found, linear.y).success.all()
    votes = 3 * 20
    assert (queries >= votes + 4 * 12 + 3).all()
    assert (queries <= votes + 4 * 13 + 3 * 16 + 152).all()


@pytest.mark.slow
def test_sees_nothing_but_classes(linear):
    logits_fn, x, y = linear
    found = hop_skip_jump(KEY, logits_fn, x[:4], y[:4], steps=3, samples=10)
    one_hot = lambda x: jax.nn.one_hot(logits_fn(x).argmax(-1), 4)  # noqa: E731
    np.testing.assert_allclose(hop_skip_jump(KEY, one_hot, x[:4], y[:4], steps=3, samples=10), found, atol=1e-5)


@pytest.mark.slow
def test_targets_need_images_to_start_from(digits):
    logits_fn, x, y = digits
    target = (y[:8] + 1) % 10
    given = jnp.stack([x[int(jnp.argmax((y == t) & (logits_fn(x).argmax(-1) == t)))] for t in target])
    found = hop_skip_jump(KEY, logits_fn, x[:8], y[:8], target=target, start=given, steps=10, samples=40)
    judged = attack.judge(logits_fn, x[:8], found, y[:8], target=target)
    assert judged.success.all()
    at_start = jnp.sqrt(((given - x[:8]) ** 2).sum((1, 2, 3)))
    assert (judged.l2 < 0.8 * at_start).all()


@pytest.mark.slow
def test_what_cannot_be_fooled_is_given_back():
    stubborn = lambda x: jnp.stack([jnp.ones(x.shape[:-3]), 0 * x.sum((-3, -2, -1))], -1)  # noqa: E731
    x = jax.random.uniform(KEY, (3, 4, 4, 1))
    found, queries = hop_skip_jump(KEY, stubborn, x, 0, steps=2, samples=5, return_queries=True)
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(queries, 101)


@pytest.mark.slow
def test_single_images_jit_and_one_trace(linear):
    logits_fn, x, y = linear
    traces = []

    def counted(x):
        traces.append(1)
        return logits_fn(x)

    one = hop_skip_jump(KEY, counted, x[0], y[0], steps=3, samples=10)
    count = len(traces)
    assert one.shape == x[0].shape
    assert attack.judge(logits_fn, x[0], one, y[0]).success
    hop_skip_jump(jax.random.key(1), counted, x[1], y[1], steps=3, samples=10)
    assert len(traces) == count
    inside = jax.jit(lambda key, x: hop_skip_jump(key, logits_fn, x, y[0], steps=3, samples=10))(KEY, x[0])
    np.testing.assert_allclose(inside, one, atol=1e-4)


def test_refuses(digits):
    logits_fn, x, y = digits
    with pytest.raises(ValueError, match=r"^hop_skip_jump: expected norm as one of \('l2', 'linf'\), got 'l1'\."):
        hop_skip_jump(KEY, logits_fn, x, y, norm="l1")
    with pytest.raises(ValueError, match=r"^hop_skip_jump: expected steps as a positive int, got 0\."):
        hop_skip_jump(KEY, logits_fn, x, y, steps=0)
    with pytest.raises(TypeError, match=r"^hop_skip_jump: expected one PRNG key"):
        hop_skip_jump(3, logits_fn, x, y)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
def test_is_as_strong_as_foolbox_on_the_twin(norm, digits):
    net, foolbox = digits_twin(digits), peer("foolbox")
    import torch

    logits_fn, x, y = digits
    right = np.asarray(logits_fn(x).argmax(-1) == y)
    x, y = x[right], y[right]
    given = jnp.stack([x[int(jnp.argmax(y != label))] for label in y])
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    method = foolbox.attacks.HopSkipJumpAttack(
        steps=10, initial_gradient_eval_steps=50, max_gradient_eval_steps=10_000, constraint=norm
    )
    torch.manual_seed(0)
    labels = torch.tensor(np.asarray(y)).long()
    fooled = method.run(model, tensor(x), foolbox.criteria.Misclassification(labels), starting_points=tensor(given))
    theirs = attack.judge(logits_fn, x, array(fooled), y)
    ours = attack.judge(
        logits_fn, x, hop_skip_jump(KEY, logits_fn, x, y, norm=norm, steps=10, samples=50, start=given), y
    )
    assert ours.success.all()
    assert np.median(getattr(ours, norm)) <= 1.05 * np.median(getattr(theirs, norm))
