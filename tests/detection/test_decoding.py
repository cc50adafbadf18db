"""The boxes that outputs stand for, and which of many are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from jaxcnn.detection import Found, decode
from tests.detection.perfect import BOXES, KINDS, perfect

pytestmark = pytest.mark.usefixtures("quick_compilation")


def outputs_of(peaks, shape=(8, 8), size=6.0):
    """Return outputs of one class with logits at cells (row, column), and boxes of so many cells."""
    outputs = np.full((1, *shape, 5), -8, np.float32)
    for at, logit in peaks.items():
        outputs[0, *at, 0] = logit
    outputs[..., 1:3], outputs[..., 3:] = size, 0
    return jnp.asarray(outputs)


@pytest.mark.slow
def test_decoding_gives_the_boxes_back():
    found = jax.jit(lambda y: decode(y, stride=4, limit=5))(perfect(BOXES, KINDS))
    assert found.boxes.shape == (1, 5, 4)
    order = np.argsort(np.asarray(found.box_class[0, :2]))
    np.testing.assert_allclose(found.boxes[0, :2][order], BOXES[:2][::-1], atol=1e-5)
    assert (found.score[0, :2] > 0.99).all()
    assert (found.score[0, 2:] < 0.01).all()


@pytest.mark.slow
def test_neighbours_of_a_peak_are_no_peaks_and_boxes_that_overlap_may_be_suppressed():
    outputs = outputs_of({(3, 3): 3, (3, 4): 2, (3, 5): 4})  # two peaks, two cells apart
    both = decode(outputs, stride=4, limit=2)
    np.testing.assert_allclose(both.score[0], expit([4.0, 3.0]), rtol=1e-5)
    one = decode(outputs, stride=4, limit=2, overlap=0.4, candidates=2)
    assert one.box_class[0].tolist() == [0, -1]
    assert one.score[0, 1] == 0
    assert not one.boxes[0, 1].any()


def test_what_is_suppressed_makes_room_for_what_comes_after_it():
    outputs = outputs_of({(1, 1): 5, (1, 3): 4, (1, 5): 1, (6, 6): 3}, size=4.0)
    find = jax.jit(lambda y: decode(y, stride=4, limit=3, overlap=0.3, candidates=4))
    found = find(outputs)  # the second overlaps the first by a third, the third the second
    np.testing.assert_allclose(found.score[0], expit([5.0, 3.0, 1.0]), rtol=1e-5)
    assert found.box_class[0].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(found.boxes[0, :, 0], [-4, 16, 12])
    few = decode(outputs, stride=4, limit=3, overlap=0.3, candidates=2)
    assert few.box_class[0].tolist() == [0, -1, -1]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_peaks_are_those_of_logits_where_all_scores_are_1(dtype):
    outputs = outputs_of({(3, 3): 20, (3, 4): 30, (3, 5): 25, (6, 1): 40}).astype(dtype)
    found = decode(outputs, stride=1, limit=4)
    assert found.score[0, :2].tolist() == [1, 1]
    assert found.score[0, 2] < 0.001
    np.testing.assert_array_equal(found.boxes[0, :2], [[-2, 3, 4, 9], [1, 0, 7, 6]])


def test_what_is_not_finite_is_no_box():
    found = decode(outputs_of({(1, 1): np.nan, (4, 4): -np.inf, (6, 6): 2}), stride=1, limit=50)
    assert np.isfinite(found.score).all()
    assert found.score[0, 0] == pytest.approx(expit(2))


def test_rows_are_of_one_image_each_and_leave_out_low_scores():
    found = Found(jnp.zeros((2, 3, 4)), jnp.array([[0.9, 0.3, 0], [0.2, 0, 0]]), jnp.array([[1, 0, -1], [2, -1, -1]]))
    assert [row["box_class"].tolist() for row in found.rows()] == [[1, 0, -1], [2, -1, -1]]
    assert [row["box_class"].tolist() for row in found.rows(0.3)] == [[1, 0, -1], [-1, -1, -1]]
    assert [(row["boxes"].shape, row["score"].shape) for row in found.rows()] == [((3, 4), (3,))] * 2


def test_more_rows_than_cells():
    found = decode(jnp.zeros((2, 2, 2, 5)), stride=4, limit=9)
    assert found.box_class.shape == (2, 9)
    assert found.box_class[0].tolist() == [0] * 4 + [-1] * 5
    assert found.score[0].tolist() == [0.5] * 4 + [0] * 5


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        (jnp.zeros((8, 8, 4)), {}, r"outputs \(N, h, w, classes \+ 4\), got \(8, 8, 4\)\."),
        (jnp.zeros((1, 8, 8, 5), int), {}, r"outputs of a floating dtype"),
        (jnp.zeros((1, 8, 8, 5)), {"stride": 0}, r"stride as a positive int, got 0\."),
        (jnp.zeros((1, 8, 8, 5)), {"candidates": 0}, r"candidates as a positive int, got 0\."),
        (jnp.zeros((1, 8, 8, 5)), {"overlap": 2}, r"overlap in \[0, 1\], got 2\."),
    ],
)
def test_bad_input(outputs, options, message):
    with pytest.raises((ValueError, TypeError), match=f"^decode: expected {message}"):
        decode(outputs, **{"stride": 4, **options})
