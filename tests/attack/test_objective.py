"""What attacks climb, against its formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import attack
from jaxcnn.attack.goal import Goal
from jaxcnn.attack.objective import OBJECTIVES, climbing, cross_entropy, dlr, negative_margin, objective

LOGITS = jnp.array([[3.0, 1.0, 2.0, -1.0], [0.0, 5.0, 4.0, 1.0]])
LABEL, TARGET = jnp.array([0, 2]), jnp.array([1, 3])


def test_cross_entropy_is_that_of_the_label_or_minus_that_of_the_target():
    expected = optax.softmax_cross_entropy_with_integer_labels
    np.testing.assert_allclose(cross_entropy(LOGITS, Goal(LABEL)), expected(LOGITS, LABEL), rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(LOGITS, Goal(LABEL, TARGET)), -expected(LOGITS, TARGET), rtol=1e-6)


@pytest.mark.slow
def test_the_gradient_of_cross_entropy_keeps_its_direction_where_the_net_is_sure():
    """Softmax minus one-hot, the usual form, is 0 for the label there, and does not sum to 0."""
    sure = jnp.array([[40.0, 1.0, 0.5]])
    slope = jax.grad(lambda z: cross_entropy(z, Goal(jnp.array([0]))).sum())(sure)[0]
    exact = np.exp([1.0 - 40, 0.5 - 40])
    np.testing.assert_allclose(slope, [-exact.sum(), *exact], rtol=1e-5)


def test_the_margin_is_that_of_the_logits():
    np.testing.assert_allclose(negative_margin(LOGITS, Goal(LABEL)), [-1, 1])
    np.testing.assert_allclose(negative_margin(LOGITS, Goal(LABEL, TARGET)), [1 - 3, 1 - 5])


def test_the_ratio_of_logits_against_its_formula():
    # Equations 6 and 7 by hand: sorted logits are 3 2 1 -1 and 5 4 1 0.
    np.testing.assert_allclose(dlr(LOGITS, Goal(LABEL)), [-(3 - 2) / (3 - 1), -(4 - 5) / (5 - 1)], rtol=1e-6)
    expected = [-(3 - 1) / (3 - (1 - 1) / 2), -(4 - 1) / (5 - (1 + 0) / 2)]
    np.testing.assert_allclose(dlr(LOGITS, Goal(LABEL, TARGET)), expected, rtol=1e-6)


def test_the_ratio_is_free_of_scale():
    for logits, goal in ((LOGITS, Goal(LABEL, TARGET)), (LOGITS, Goal(LABEL)), (LOGITS[:, :3], Goal(LABEL))):
        np.testing.assert_allclose(dlr(100 * logits, goal), dlr(logits, goal), rtol=1e-5)


@pytest.mark.parametrize(("classes", "target", "least"), [(2, None, "3"), (2, 1, "4"), (3, 1, "4 classes .* a target")])
def test_the_ratio_of_too_few_classes_is_refused(classes, target, least, linear):
    """It would be constant: an attack on it climbs nothing."""
    few, y = lambda x: linear.logits_fn(x)[..., :classes], jnp.zeros(6, jnp.int32)
    options = {"epsilon": 0.1, "target": target, "loss": "dlr"}
    for name in ("pgd", "apgd", "square", "nes", "simba"):
        with pytest.raises(
            ValueError, match=rf'^{name}: expected at least {least}.*, got {classes}\. Pass loss="margin"'
        ):
            getattr(attack, name)(jax.random.key(0), few, linear.x, y, **options)
    with pytest.raises(ValueError, match=rf"^fgsm: expected at least {least}"):
        attack.fgsm(few, linear.x, y, **options)
    if target is not None:
        with pytest.raises(ValueError, match=r"^apgd: expected at least 4 classes"):
            attack.apgd(jax.random.key(0), few, linear.x, y, epsilon=0.1, targets=1, loss="dlr")


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_each_is_larger_where_the_net_is_nearer_to_err(name):
    nearer = LOGITS.at[jnp.arange(2), LABEL].add(-0.5)
    for goal in (Goal(LABEL), Goal(LABEL, jnp.array([1, 1]))):
        nearer_to = nearer if goal.target is None else LOGITS.at[jnp.arange(2), goal.target].add(0.1)
        assert (OBJECTIVES[name](nearer_to, goal) > OBJECTIVES[name](LOGITS, goal)).all()


def test_climbing_gives_each_image_its_own_gradient(linear):
    goal = Goal(linear.y)
    logits, values, slope = climbing(linear.logits_fn, linear.x, goal, negative_margin)
    np.testing.assert_allclose(values, negative_margin(logits, goal))
    kernel = linear.logits_fn.args[0]
    second = jnp.where(jax.nn.one_hot(linear.y, 4, dtype=bool), -jnp.inf, logits).argmax(-1)
    np.testing.assert_allclose(slope.reshape(6, 9), (kernel[:, second] - kernel[:, linear.y]).T, rtol=1e-5, atol=1e-6)


def test_names_of_objectives(linear):
    of = linear.logits_fn, linear.x, None
    assert objective("pgd", "dlr", *of) is dlr
    assert objective("pgd", cross_entropy, *of) is cross_entropy
    with pytest.raises(ValueError, match=r"^pgd: expected loss as one of \('cross_entropy', 'margin', 'dlr'\), got"):
        objective("pgd", "ce", *of)
