"""Average precision by hand, and against pycocotools' protocol where faster-coco-eval is installed."""

import numpy as np
import pytest

from jaxcnn.detection import Found, average_precision

ONE = np.array([[0.0, 0, 10, 10]])


def found(boxes, score, label=None):
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return {
        "boxes": boxes,
        "score": np.asarray(score, float),
        "box_class": np.zeros(len(boxes), int) if label is None else label,
    }


def true(boxes, label=None):
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return {"boxes": boxes, "box_class": np.zeros(len(boxes), int) if label is None else label}


def test_all_found_and_nothing_else():
    result = average_precision([found(ONE, [0.9])], [true(ONE)], 1)
    assert float(result) == 1
    assert result.at(0.5) == 1


def test_a_box_that_overlaps_by_two_thirds_counts_up_to_there():
    result = average_precision([found([[0, 0, 10, 15]], [0.9])], [true(ONE)], 1)
    assert result.table[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]  # 0.5, 0.55, 0.6, 0.65 of 0.667
    assert float(result) == pytest.approx(0.4)


def test_overlaps_are_those_of_coco_to_the_bit():
    """17 of 20 pixels are 0.85, which 0.5 + 7 * 0.05 = 0.8500000000000001 is not."""
    result = average_precision([found([[0, 0, 17, 1]], [0.9])], [true([[0, 0, 20, 1]])], 1)
    assert result.overlaps == tuple(np.linspace(0.5, 0.95, 10))
    assert result.table[0].tolist() == [1] * 8 + [0] * 2


@pytest.mark.parametrize("overlaps", [(50,), (-0.1,), (), 0.5, ("half",)])
def test_overlaps_are_numbers_from_0_to_1(overlaps):
    with pytest.raises(ValueError, match=r"^average_precision: expected overlaps as numbers in \[0, 1\], at least one"):
        average_precision([found(ONE, [0.9])], [true(ONE)], 1, overlaps=overlaps)


def test_of_an_image_and_class_100_boxes_count():
    """The 101st of class 0 is left out, that of class 1 is the 102nd box of the image."""
    boxes = np.concatenate([np.tile(ONE + 50, (100, 1)), ONE, ONE])
    given = found(boxes, np.linspace(1, 0.5, 102), np.array([0] * 101 + [1]))
    result = average_precision([given], [true([ONE[0], ONE[0]], np.array([0, 1]))], 2, overlaps=[0.5])
    assert result.table[:, 0].tolist() == [0, 1]


def test_precision_is_averaged_over_recalls():
    """Right, wrong, right of three true ones: precision 1 up to recall 1/3, 2/3 up to 2/3, then 0."""
    boxes = [[0, 0, 1, 1], [50, 50, 51, 51], [10, 10, 11, 11]]
    there = [[0, 0, 1, 1], [10, 10, 11, 11], [20, 20, 21, 21]]
    result = average_precision([found(boxes, [0.9, 0.8, 0.7])], [true(there)], 1, overlaps=[0.5])
    assert float(result) == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)


def test_a_true_box_is_found_once():
    twice = found([ONE[0], ONE[0]], [0.9, 0.8])
    result = average_precision([twice, found([], [])], [true(ONE), true(ONE)], 1, overlaps=[0.5])
    assert float(result) == pytest.approx(51 / 101)  # recall 1/2 at precision 1


def test_classes_and_rows_that_are_no_boxes():
    boxes = np.concatenate([ONE, ONE + 20, ONE + 40])
    given = found(boxes, [0.9, 0.8, 0.7], np.array([0, 1, -1]))
    result = average_precision([given], [true(boxes, np.array([0, 0, -1]))], 3)
    assert result.at(0.5) == pytest.approx(51 / 101)  # one of two of class 0; classes 1 and 2 have no true box
    assert np.isnan(result.table[1:]).all()
    assert np.isnan(float(average_precision([found([], [])], [true([])], 2)))


def test_what_is_found_in_an_image_without_objects_is_wrong():
    """The higher score is in the empty image: precision 1/2 at every recall."""
    result = average_precision([found(ONE, [0.9]), found(ONE, [0.8])], [true([]), true(ONE)], 1, overlaps=[0.5])
    assert float(result) == pytest.approx(0.5)
    nothing = average_precision([found([], []), found([], [])], [true([]), true(ONE)], 1)
    assert float(nothing) == 0


def drawn(seed, images=12, classes=3):
    """Return found and true boxes of several images, many of them near one another."""
    draw = np.random.default_rng(seed)
    finds, truths = [], []
    for _ in range(images):
        count = draw.integers(0, 7)
        corner, size = draw.uniform(0, 80, (count, 2)), draw.uniform(5, 30, (count, 2))
        boxes, label = np.concatenate([corner, corner + size], 1), draw.integers(0, classes, count)
        truths.append(true(boxes, label))
        again = np.repeat(np.arange(count), 2)
        near = boxes[again] + draw.normal(0, 2.5, (len(again), 4))
        near = np.concatenate([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])], 1)
        other = np.where(draw.random(len(again)) < 0.8, label[again], draw.integers(0, classes, len(again)))
        finds.append(found(near, draw.random(len(again)).round(2), other))
    return finds, truths


@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_the_evaluation_of_coco(seed):
    coco = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    finds, truths = drawn(seed)
    ours = average_precision(finds, truths, 3)

    def rows(images, label):
        for image, given in enumerate(images):
            for number, (box, kind) in enumerate(zip(given["boxes"], given[label], strict=True)):
                x0, y0, x1, y1 = (float(value) for value in box)
                row = {"image_id": image, "category_id": int(kind), "bbox": [x0, y0, x1 - x0, y1 - y0]}
                yield row, number

    there = [
        row | {"id": i + 1, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]}
        for i, (row, _) in enumerate(rows(truths, "box_class"))
    ]
    images = [{"id": i, "width": 200, "height": 200} for i in range(len(truths))]
    truth = coco.COCO({"images": images, "annotations": there, "categories": [{"id": c} for c in range(3)]})
    scored = [
        row | {"score": float(finds[row["image_id"]]["score"][number])} for row, number in rows(finds, "box_class")
    ]
    evaluation = coco.COCOeval_faster(truth, truth.loadRes(scored), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    theirs = evaluation.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, classes, area "all", 100 boxes
    np.testing.assert_allclose(ours.precision, theirs.transpose(2, 0, 1), atol=1e-9)
    assert 0.1 < float(ours) < 0.9


@pytest.mark.parametrize(
    ("finds", "truths", "message"),
    [
        ([], [], "expected as many images found as true, at least one, got 0 and 0"),
        ([found(ONE, [1])], [], "got 1 and 0"),
        ([found(ONE, [1, 2])], [true(ONE)], r"expected found boxes \(K, 4\) with a row of each entry"),
        ([found(ONE, [1])], [true(ONE, np.array([2]))], r"expected classes in 0\.\.1, or -1 for no box, got \[0, 2\]"),
        ([found(ONE, [np.nan])], [true(ONE)], r"expected finite found boxes and scores, got \[\[0\.0, .*nan\]\]"),
        ([found(ONE, [1])], [true(ONE * np.nan)], "expected finite true boxes"),
        ([found(ONE, [1])], [true(ONE[:, ::-1])], r"expected true boxes x0, y0, x1, y1, got \[\[10"),
    ],
)
def test_bad_boxes(finds, truths, message):
    with pytest.raises(ValueError, match=f"^average_precision: .*{message}"):
        average_precision(finds, truths, 2)


def test_what_decode_and_data_sets_give_will_do():
    boxes = np.array([[[0, 0, 4, 4], [4, 4, 8, 8]], [[1, 1, 5, 5], [0, 0, 0, 0]]], np.float32)
    given = Found(boxes, np.array([[0.9, 0.8], [0.7, 0.0]]), np.array([[0, 1], [0, -1]]))
    held = {"image": np.zeros((2, 8, 8, 3)), "boxes": boxes, "box_class": np.array([[0, 1], [1, -1]])}
    rows = [{"boxes": b, "box_class": c} for b, c in zip(held["boxes"], held["box_class"], strict=True)]
    table = average_precision(given, held, 2).table
    np.testing.assert_array_equal(table, average_precision(given.rows(), rows, 2).table)
    message = "expected found boxes as a mapping with boxes, score, box_class, got .*boxes.* Found.rows"
    with pytest.raises(ValueError, match=f"^average_precision: {message}"):
        average_precision(rows, rows, 2)
    with pytest.raises(ValueError, match=r"^average_precision: expected true boxes as a mapping with boxes"):
        average_precision(given, {"boxes": boxes}, 2)


def test_classes_that_are_not_integers():
    with pytest.raises(
        TypeError, match=r"^average_precision: expected found box_class of an integer dtype, got float64\. Number"
    ):
        average_precision([found(ONE, [1], np.array([0.5]))], [true(ONE)], 2)
    with pytest.raises(
        TypeError, match=r"^average_precision: expected true box_class of an integer dtype, got bool\. Number"
    ):
        average_precision([found(ONE, [1])], [true(ONE, np.array([True]))], 2)
    assert average_precision([found(ONE, [1])], [{"boxes": ONE, "box_class": [0]}], 2).at(0.5) == 1
