"""A net as a classifier of two classes, and attacks on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack, detection, segmentation
from jaxcnn.attack import binary

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose


def first(outputs):
    return outputs[..., 0]


def test_it_is_1_where_the_score_is_above_the_threshold(linear):
    found = linear.logits_fn(linear.x)[:, 0]
    for threshold in (0.3, found + jnp.array([1.0, -1, 0, 1, -1, 0])):
        logits = binary(linear.logits_fn, first, threshold=threshold)(linear.x)
        assert logits.shape == (6, 2)
        close(logits[:, 1] - logits[:, 0], found - threshold, rtol=1e-5, atol=1e-6)
        assert (logits.argmax(-1) == (found > threshold)).all()  # at the threshold it is 0


@pytest.mark.slow
def test_an_attack_brings_the_score_down_as_far_as_it_can(linear):
    kernel = linear.logits_fn.args[0][:, 0]
    before = linear.logits_fn(linear.x)[:, 0]
    least = before - 0.1 * jnp.abs(kernel).sum()
    there = binary(linear.logits_fn, first, threshold=jnp.where(jnp.arange(6) % 2, least - 0.01, least + 0.01))
    found = attack.pgd(jax.random.key(0), there, linear.x, 1, epsilon=0.1, steps=20)
    close(linear.logits_fn(found)[:, 0], least, atol=1e-4)
    assert attack.judge(there, linear.x, found, 1).success.tolist() == [True, False] * 3
    higher = attack.fgsm(binary(linear.logits_fn, first, threshold=before + 1), linear.x, 0, epsilon=0.1)
    close(linear.logits_fn(higher)[:, 0], before + 0.1 * jnp.abs(kernel).sum(), atol=1e-4)


def test_a_score_of_1_is_not_taken_for_a_probability(linear):
    one = binary(lambda x: x[..., :1, 0, 0] * 0 + 1.0, first)
    attack.fgsm(one, linear.x, 1, epsilon=0.1)


@pytest.mark.slow
def test_one_program_for_other_thresholds(linear):
    traces = []

    def spied(outputs):
        traces.append(0)
        return outputs[..., 0]

    def attacked(threshold):
        there = binary(linear.logits_fn, spied, threshold=threshold)
        attack.bim(there, linear.x, 1, epsilon=0.1, steps=2)

    attacked(0.0)
    once = len(traces)
    attacked(1.0)
    assert len(traces) == once


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fn, x: binary(3, first), r"logits_fn as a function of images, got 3\."),
        (lambda fn, x: binary(fn, 3), r"score as a function of outputs, got 3\. Pass detection"),
        (lambda fn, x: binary(fn, first, threshold="0"), r"threshold as a number, or an array .*, got '0'\."),
        (lambda fn, x: binary(fn, lambda y: y)(x), r"a score that gives one number an image, got "),
        (lambda fn, x: binary(fn, lambda y: y.argmax(-1))(x), r"a score that gives one number an image, got "),
        (lambda fn, x: binary(fn, first, threshold=np.zeros(2))(x), r"threshold of shape \(\) or \(6,\), got \(2,\)\."),
    ],
)
def test_bad_input(call, message, linear):
    with pytest.raises((ValueError, TypeError), match=f"^binary: expected {message}"):
        call(linear.logits_fn, linear.x)


@pytest.mark.parametrize(
    "score",
    [
        segmentation.class_margin(6),
        segmentation.class_score(-1, jnp.ones((2, 4, 4), bool)),
        detection.object_score(jnp.array([[0.0, 0, 2, 2]] * 2), 2, stride=1),
        detection.object_score(jnp.array([[0.0, 0, 2, 2]] * 2), -1, stride=1),
    ],
)
def test_scores_of_classes_that_there_are_not_are_refused(score):
    """Their labels are arguments of the compiled net, where nothing can be raised; nothing would be found there."""
    there = binary(lambda x: jnp.concatenate([x, x], -1), score)
    with pytest.raises(ValueError, match=r"^fgsm: expected logits that are numbers, got NaN\."):
        attack.fgsm(there, jnp.full((2, 4, 4, 3), 0.5), 1, epsilon=0.1)
