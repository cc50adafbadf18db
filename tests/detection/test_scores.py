"""The score of one object: by hand, as a target of explanations, and what an attack that brings it down achieves."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logit

from jaxcnn import attack, explain, training
from jaxcnn.detection import decode, intersection_over_union, object_score
from jaxcnn.layers import Conv, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
STRIDE = 4
DRAW = np.random.default_rng(0)
OUTPUTS = jnp.asarray(DRAW.normal(size=(3, 6, 8, 2 + 4)), jnp.float32)
BOXES = jnp.array([[4.0, 8, 15, 17], [0, 0, 3, 3], [20, 4, 40, 24]])  # the last reaches beyond the image, 32 x 24


@pytest.mark.slow
def test_the_largest_logit_in_the_box():
    expected = [OUTPUTS[0, 2:5, 1:4, 1].max(), OUTPUTS[1, 0, 0, 0], OUTPUTS[2, 1:6, 5:8, 1].max()]
    label = np.array([1, 0, 1])
    close(object_score(BOXES, label, stride=STRIDE)(OUTPUTS), expected)
    close(object_score(BOXES[0], 1, stride=STRIDE)(OUTPUTS[0]), expected[0])  # one image
    both = [OUTPUTS[0, 2:5, 1:4, :2].max(), OUTPUTS[1, 0, 0, :2].max(), OUTPUTS[2, 1:6, 5:8, :2].max()]
    close(object_score(BOXES, stride=STRIDE)(OUTPUTS), both)
    close(object_score(BOXES, 0, stride=STRIDE)(OUTPUTS)[1], OUTPUTS[1, 0, 0, 0])


def test_grad_cam_of_a_detection_by_hand():
    """dscore / dA is the head's column of the class at the peak, 0 elsewhere."""
    net = Sequential(inner=Conv(3, 1, use_bias=False), head=Conv(2 + 4, 1, use_bias=False))
    inner, head = DRAW.normal(size=(3, 3)), DRAW.normal(size=(3, 6))
    kernels = {"inner": inner, "head": head}
    params = {name: {"kernel": jnp.asarray(k, jnp.float32)[None, None]} for name, k in kernels.items()}
    x = jnp.asarray(DRAW.random((3, 6, 8, 3)), jnp.float32)
    label = np.array([1, 0, 1])
    found = explain.grad_cam(net, params, {}, x, object_score(BOXES, label, stride=STRIDE), at="inner")
    for n, c in enumerate(label):
        maps = np.asarray(x[n], float) @ inner
        close(found[n], np.maximum(maps @ head[:, c] / 48, 0), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_below_the_threshold_nothing_that_overlaps_the_box_by_half_is_found():
    """For any outputs whose offsets stay in their cells."""
    draw = np.random.default_rng(1)
    heat = draw.normal(-4, 2, (100, 6, 8, 2))
    beside = np.concatenate([draw.uniform(1, 3, (100, 6, 8, 2)), draw.uniform(0, 0.999, (100, 6, 8, 2))], -1)
    outputs = jnp.asarray(np.concatenate([heat, beside], -1), jnp.float32)
    corner, size = draw.uniform(0, 16, (100, 2)), draw.uniform(5, 10, (100, 2))
    boxes = jnp.asarray(np.concatenate([corner, corner + size], -1), jnp.float32)
    least = 0.6
    gone = object_score(boxes, stride=STRIDE)(outputs) <= logit(least)
    assert 0 < gone.sum() < 100
    found = decode(outputs, stride=STRIDE, limit=96)
    near = (intersection_over_union(boxes[:, None], found.boxes)[:, 0] >= 0.5) & (found.score > least)
    assert not near[gone].any()
    assert near[~gone].any()


@pytest.mark.slow
def test_an_attack_makes_an_object_vanish_and_leaves_another():
    """The heat is the brightness of a cell."""
    net = Sequential(head=Conv(1 + 4, 1))
    kernel = jnp.zeros((1, 1, 1, 5)).at[..., 0].set(20.0)
    params = {"head": {"kernel": kernel, "bias": jnp.array([-10.0, 2, 2, 0.5, 0.5])}}
    x = jnp.full((1, 6, 8, 1), 0.2).at[0, 1, 2].set(0.7).at[0, 4, 6].set(0.8)
    logits_fn = training.predictor(net, params, {})
    scores = lambda x: decode(logits_fn(x), stride=1, limit=2).score[0]  # noqa: E731
    assert (scores(x) > 0.9).all()
    there = attack.binary(logits_fn, object_score(jnp.array([[1.5, 0.5, 3.5, 2.5]]), stride=1), threshold=0.0)
    for epsilon, success, left in ((0.1, False, 0.6), (0.25, True, 0.45)):
        found = attack.bim(there, x, 1, epsilon=epsilon)
        assert attack.judge(there, x, found, 1).success.tolist() == [success]
        close(found[0, 1, 2], left, atol=1e-6)
    score = scores(found)
    assert score[0] > 0.9
    assert score[1] <= 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: object_score(BOXES.astype(int), stride=4), r"boxes of a floating dtype, got int32\."),
        (lambda: object_score(BOXES[:, :3], stride=4), r"boxes \(\.\.\., 4\), one an image, got \(3, 3\)\."),
        (lambda: object_score(BOXES[:, ::-1], stride=4), r"boxes x0 <= x1 and y0 <= y1, got others\."),
        (lambda: object_score(BOXES * jnp.nan, stride=4), r"boxes x0 <= x1 and y0 <= y1, got others\."),
        (lambda: object_score(BOXES, stride=0), r"stride as a positive int, got 0\."),
        (lambda: object_score(BOXES, 0.5, stride=4), r"label of an integer dtype, got float32\."),
        (lambda: object_score(BOXES, -1, stride=4)(OUTPUTS), r"label in 0\.\.1, got -1\."),
        (lambda: object_score(BOXES[:2], stride=4)(OUTPUTS), r"boxes of shape \(3, 4\), got \(2, 4\)\."),
        (lambda: object_score(BOXES, stride=4)(OUTPUTS[..., :4]), r"outputs \(\.\.\., h, w, classes \+ 4\), got "),
        (
            lambda: object_score(BOXES, stride=1)(OUTPUTS),
            r"boxes that begin on the map of 6x8 cells, got some at cells \(x, y\) .*\. Pass",
        ),
        (lambda: object_score(BOXES, stride=4)(OUTPUTS.astype(int)), r"outputs of a floating dtype, got int32\."),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^object_score: expected {message}"):
        call()
