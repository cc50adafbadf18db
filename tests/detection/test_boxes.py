"""Overlaps of boxes, and which of many are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.detection.boxes import area, intersection_over_union, non_maximum_suppression

BOXES = jnp.array([[0.0, 0, 4, 4], [2, 2, 6, 6], [0, 0, 4, 2], [9, 9, 9, 9]])


def drawn(count, seed=0):
    """Return boxes, many of which overlap, and scores that differ."""
    draw = np.random.default_rng(seed)
    corner, size = draw.uniform(0, 20, (count, 2)), draw.uniform(4, 12, (count, 2))
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    return jnp.asarray(boxes), jnp.asarray(draw.permutation(count).astype(np.float32))


def test_areas_and_overlaps_by_hand():
    assert area(BOXES).tolist() == [16, 16, 8, 0]
    assert area(jnp.array([4.0, 4, 0, 0])) == 0
    expected = [[1, 4 / 28, 0.5, 0], [4 / 28, 1, 0, 0], [0.5, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(intersection_over_union(BOXES, BOXES), expected, rtol=1e-6)


def test_overlaps_of_several_images():
    many = jnp.stack([BOXES, BOXES[::-1]])
    found = intersection_over_union(many, BOXES[:2])
    assert found.shape == (2, 4, 2)
    np.testing.assert_array_equal(found[1], intersection_over_union(BOXES[::-1], BOXES[:2]))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    """An area beyond 65,504, the largest float16; 1/3, of which bfloat16 has two digits."""
    boxes = jnp.array([[0, 0, 512, 512], [256, 0, 768, 512]], dtype)
    assert area(boxes).tolist() == [512.0**2] * 2
    found = intersection_over_union(boxes, boxes)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [[1, 1 / 3], [1 / 3, 1]], rtol=1e-6)
    scores = jnp.array([1, 2], dtype)
    assert non_maximum_suppression(boxes, scores, overlap=0.3335).tolist() == [True, True]
    assert non_maximum_suppression(boxes, scores, overlap=0.333).tolist() == [False, True]


def test_better_boxes_suppress_those_that_they_overlap():
    scores = jnp.array([0.5, 0.9, 0.8, 0.1])
    assert non_maximum_suppression(BOXES, scores, overlap=0.4).tolist() == [False, True, True, True]
    assert non_maximum_suppression(BOXES, scores, overlap=0.1).tolist() == [False, True, True, True]
    assert non_maximum_suppression(BOXES, scores, overlap=0.6).tolist() == [True] * 4
    kept = non_maximum_suppression(BOXES, scores, jnp.array([0, 0, 1, 0]), overlap=0.4)
    assert kept.tolist() == [True] * 4


def test_what_is_suppressed_suppresses_nothing():
    row = jnp.array([[0.0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]])  # neighbours overlap by 3/5, the ends by 1/3
    assert non_maximum_suppression(row, jnp.array([3.0, 2, 1]), overlap=0.5).tolist() == [True, False, True]


def test_of_equal_scores_the_first_is_kept_and_minus_infinity_is_no_box():
    two = jnp.array([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    assert non_maximum_suppression(two, jnp.array([1.0, 1.0])).tolist() == [True, False]
    assert non_maximum_suppression(two, jnp.array([-jnp.inf, 1.0])).tolist() == [False, True]


@pytest.mark.slow
def test_batches_under_jit():
    boxes, scores = zip(*(drawn(30, seed) for seed in range(3)), strict=True)
    together = jax.jit(jax.vmap(non_maximum_suppression))(jnp.stack(boxes), jnp.stack(scores))
    for one, *given in zip(together, boxes, scores, strict=True):
        np.testing.assert_array_equal(one, non_maximum_suppression(*given))
        assert 0 < one.sum() < 30


@pytest.mark.parametrize("overlap", [0.1, 0.5, 0.8])
def test_agrees_with_the_plain_loop(overlap):
    """The definition, which torchvision's nms follows, too."""
    boxes, scores = drawn(60)
    labels = np.arange(60) % 2
    shared = np.asarray(intersection_over_union(boxes, boxes))
    kept = []
    for at in np.argsort(-np.asarray(scores)):
        if all(shared[at, other] <= overlap or labels[at] != labels[other] for other in kept):
            kept.append(at)
    found = non_maximum_suppression(boxes, scores, jnp.asarray(labels), overlap=overlap)
    np.testing.assert_array_equal(np.flatnonzero(found), np.sort(kept))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: area(jnp.zeros((2, 3))), ValueError, r"area: expected boxes of shape \(\.\.\., 4\)"),
        (lambda: area(jnp.zeros((2, 4), int)), TypeError, "area: expected boxes of a floating dtype"),
        (lambda: non_maximum_suppression(BOXES[None], jnp.ones(4)), ValueError, "expected boxes of one image"),
        (lambda: non_maximum_suppression(BOXES, jnp.ones(3)), ValueError, r"expected scores of shape \(4,\), got \(3,"),
        (lambda: non_maximum_suppression(BOXES, jnp.ones(4), jnp.ones(5)), ValueError, "expected classes of shape"),
        (lambda: non_maximum_suppression(BOXES, jnp.ones(4), overlap=2), ValueError, r"overlap in \[0, 1\], got 2"),
    ],
)
def test_bad_boxes(call, error, message):
    with pytest.raises(error, match=message):
        call()
