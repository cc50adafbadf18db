"""Weights by median frequency, by hand."""

import numpy as np
import pytest

from jaxcnn.segmentation import class_weights

MASKS = np.array([[[0, 0, 1], [0, 0, 255]], [[0, 0, 0], [2, 2, 0]]], np.uint8)


def test_by_hand():
    # Of class 0 are 8 of the 11 pixels that count, of class 1 1 of 5 in the only mask that has it, of 2 2 of 6.
    frequency = np.array([8 / 11, 1 / 5, 2 / 6])
    found = class_weights(MASKS, 3)
    np.testing.assert_allclose(found, (1 / 3) / frequency)
    assert all(isinstance(weight, float) for weight in found)


def test_classes_that_no_mask_has_weigh_nothing():
    assert class_weights(MASKS, 5)[3:] == (0.0, 0.0)
    assert class_weights(np.zeros((2, 3, 3), int), 2) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("masks", "options", "error", "message"),
    [
        (MASKS, {"void": ()}, ValueError, r"masks in 0\.\.2 for 3 classes, got \[255\]\. Number the classes"),
        (MASKS[0], {}, ValueError, r"masks \(N, H, W\), got \(2, 3\)\. Pass those"),
        (MASKS * 1.0, {}, TypeError, r"masks of an integer dtype, got float64\."),
        (np.full((1, 2, 2), 255), {}, ValueError, r"masks with a pixel that counts, got none\."),
    ],
)
def test_bad_masks(masks, options, error, message):
    with pytest.raises(error, match=f"^class_weights: expected {message}"):
        class_weights(masks, 3, **options)
