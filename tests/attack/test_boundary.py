"""The boundary attack: the least changes of linear nets, steps of one's own, and its strength beside foolbox."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.boundary import _proposals, _State, boundary
from jaxcnn.attack.goal import Goal, reached
from tests.attack.exact import least_sizes, with_classes
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import array, tensor

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)
close = np.testing.assert_allclose


def test_finds_the_least_change_of_a_linear_net(linear):
    two = with_classes(linear, 2)
    judged = attack.judge(two.logits_fn, two.x, boundary(KEY, *two, steps=3000), two.y)
    assert judged.success.all()
    ratio = judged.l2 / least_sizes(two, "l2")[0]
    assert (ratio > 1).all()
    assert (ratio < 1.01).all()


@pytest.mark.slow
def test_proposals_are_on_the_sphere_and_then_nearer():
    x, image = jnp.full((3, 6, 6, 1), 0.5), jax.random.uniform(KEY, (3, 6, 6, 1), minval=0.3, maxval=0.7)
    part, none = jnp.asarray([0.01, 0.1, 0.3]), jnp.zeros(3)
    state = _State(jnp.ones(()), image, part, 0.2 * jnp.ones(3), none)
    on_sphere, moved = _proposals(KEY, x, state, (0.0, 1.0), (1, 2, 3))
    length = lambda a: np.sqrt((np.asarray(a) ** 2).sum((1, 2, 3)))  # noqa: E731
    close(length(on_sphere - x), length(image - x), rtol=1e-5)
    close(length(moved - x), 0.8 * length(image - x), rtol=1e-5)
    # At a right angle to the way to x, s r long before it is bent onto the sphere.
    tangent = (on_sphere - x) * jnp.sqrt(1 + part**2)[:, None, None, None] - (image - x)
    close(length(tangent), part * length(image - x), rtol=1e-4)
    close((tangent * (image - x)).sum((1, 2, 3)), 0, atol=1e-5)


@pytest.mark.slow
def test_fools_the_net_and_says_what_it_cost(digits):
    logits_fn, x, y = digits
    found, queries = boundary(KEY, logits_fn, x, y, steps=100, return_queries=True)
    judged = attack.judge(logits_fn, x, found, y)
    before = np.asarray(reached(logits_fn(x), Goal(y)))
    assert judged.success.all()
    np.testing.assert_array_equal(found[before], x[before])
    np.testing.assert_array_equal(queries == 1, before)
    assert (queries[~before] > 112).all()
    assert (queries[~before] <= 111 + 152).all()
    again = boundary(KEY, logits_fn, x, y, steps=100)
    np.testing.assert_array_equal(found, again)
    more = attack.judge(logits_fn, x, boundary(KEY, logits_fn, x, y, steps=1000), y)
    assert (more.l2[~before] < judged.l2[~before]).all()
    assert more.success.all()


def test_a_walk_that_has_arrived_asks_no_more():
    one = lambda x: jnp.stack([0 * x.sum((-3, -2, -1)), x.sum((-3, -2, -1)) - 0.7], -1)  # noqa: E731
    x = jnp.full((2, 1, 1, 1), 0.5)  # of one value there is but one way
    found, queries = boundary(KEY, one, x, 0, steps=5000, return_queries=True)
    close(found, 0.7 + 0.0002, atol=1e-4)
    assert (queries < 2000).all()


@pytest.mark.slow
def test_targets_and_given_images(digits):
    logits_fn, x, y = digits
    target = (y[:8] + 1) % 10
    given = jnp.stack([x[int(jnp.argmax((y == t) & (logits_fn(x).argmax(-1) == t)))] for t in target])
    found = boundary(KEY, logits_fn, x[:8], y[:8], target=target, start=given, steps=500)
    judged = attack.judge(logits_fn, x[:8], found, y[:8], target=target)
    assert judged.success.all()
    assert (judged.l2 < 0.9 * jnp.sqrt(((given - x[:8]) ** 2).sum((1, 2, 3)))).all()


@pytest.mark.slow
def test_single_images_jit_and_one_trace(linear):
    logits_fn, x, y = linear
    traces = []

    def counted(x):
        traces.append(1)
        return logits_fn(x)

    one = boundary(KEY, counted, x[0], y[0], steps=50)
    count = len(traces)
    assert one.shape == x[0].shape
    assert attack.judge(logits_fn, x[0], one, y[0]).success
    boundary(jax.random.key(1), counted, x[1], y[1], steps=50, source_step=0.02, adaptation=1.3)
    assert len(traces) == count
    inside = jax.jit(lambda key, x: boundary(key, logits_fn, x, y[0], steps=50))(KEY, x[0])
    close(inside, one, atol=1e-4)


def test_refuses(digits):
    logits_fn, x, y = digits
    with pytest.raises(ValueError, match=r"^boundary: expected spherical_step between 0 and 1, got 2\."):
        boundary(KEY, logits_fn, x, y, spherical_step=2)
    with pytest.raises(ValueError, match=r"^boundary: expected adaptation above 1, got 1\.0\. Pass 1\.5, say\."):
        boundary(KEY, logits_fn, x, y, adaptation=1.0)
    with pytest.raises(ValueError, match=r"^boundary: expected start of shape \(32, 8, 8, 1\)"):
        boundary(KEY, logits_fn, x, y, start=x[0])


@pytest.mark.slow
def test_is_as_strong_as_foolbox_on_the_twin(digits):
    net, foolbox = digits_twin(digits), peer("foolbox")
    import torch

    logits_fn, x, y = digits
    right = np.asarray(logits_fn(x).argmax(-1) == y)
    x, y = x[right], y[right]
    given = jnp.stack([x[int(jnp.argmax(y != label))] for label in y])
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    torch.manual_seed(0)
    labels = torch.tensor(np.asarray(y)).long()
    method = foolbox.attacks.BoundaryAttack(steps=1000)
    fooled = method.run(model, tensor(x), foolbox.criteria.Misclassification(labels), starting_points=tensor(given))
    theirs = attack.judge(logits_fn, x, array(fooled), y)
    ours = attack.judge(logits_fn, x, boundary(KEY, logits_fn, x, y, steps=1000, start=given), y)
    assert ours.success.all()
    assert np.median(ours.l2) <= np.median(theirs.l2)
