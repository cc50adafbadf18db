"""What counts as success, and by how much it is missed."""

import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.goal import Goal, margin, reached, rivals

LOGITS = jnp.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0], [1.0, 1.0, 0.0], [jnp.nan, 2.0, 1.0]])


def test_the_goal_without_a_target_is_any_other_class():
    found = reached(LOGITS, Goal(jnp.array([0, 0, 1, 0])))
    assert found.tolist() == [False, True, True, False]  # of equal logits the first counts; of NaN nothing does


def test_the_goal_with_a_target_is_that_class():
    labels = jnp.array([0, 0, 1, 0])
    assert reached(LOGITS, Goal(labels, jnp.array([2, 1, 2, 1]))).tolist() == [False, True, False, False]


def test_margins_say_by_how_much_the_goal_is_missed():
    np.testing.assert_allclose(margin(LOGITS[:3], Goal(jnp.array([0, 0, 2]))), [1, -5, -1])
    np.testing.assert_allclose(margin(LOGITS[:3], Goal(jnp.array([0, 0, 2]), jnp.array([2, 1, 0]))), [1, -1, 0])


def test_rivals_are_the_likeliest_other_classes():
    logits = jnp.array([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 4.0, 1.0]])
    assert rivals(logits, Goal(jnp.array([0, 2])), 2).T.tolist() == [[2, 1], [1, 3]]
    assert rivals(logits, Goal(jnp.array([0, 2])), 9).shape == (3, 2)
