import numpy as np
import pytest

from jaxcnn import report
from tests.report.figures import drawn, words

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), np.uint8)
SIGNED = np.linspace(-1, 1, 72).reshape(2, 6, 6)


def test_each_image_stands_beside_its_maps_with_names_and_scales():
    figure = report.attributions(IMAGES, {"gradient": SIGNED, "occlusion": np.abs(SIGNED)}, ["a cat", "a dog"])
    tiles = drawn(figure)
    assert len(tiles) == 6
    np.testing.assert_array_equal(tiles[0], IMAGES[0])
    np.testing.assert_array_equal(tiles[3], IMAGES[1])
    largest = [np.percentile(np.abs(SIGNED[n]), 99) for n in (0, 1)]
    expected = []
    for title, each in zip(["a cat", "a dog"], largest, strict=True):
        # The second image's map is above 0 throughout: nothing speaks against.
        sign = f"±{each:.2g}" if title == "a cat" else f"0 to {each:.2g}"
        expected += [title, "image", "gradient", sign, "occlusion", f"0 to {each:.2g}"]
    assert words(figure) == expected


def test_signed_maps_are_blue_below_zero_and_red_above_and_others_dark_to_yellow():
    values = np.array([[-1.0, 0.0], [0.5, 1.0]])
    signed, unsigned = drawn(report.attributions(IMAGES[:1], {"a": values, "b": abs(values)}))[1:]
    (blue, grey), (pale, red) = signed.astype(int)
    assert blue[2] - blue[0] > 80
    assert red[0] - red[2] > pale[0] - pale[2] > 20
    assert np.ptp(grey) < 5
    assert unsigned[0, 1].sum() < 200 < unsigned[0, 0, :2].sum()


def test_few_outliers_do_not_decide_the_scale():
    values = np.full((20, 20), 0.5)
    values[0, 0] = 1e6
    assert words(report.attributions(IMAGES[:1], {"a": values}))[-1] == "0 to 0.5"
    lonely = np.zeros((20, 20))
    lonely[3, 3] = 2.0
    assert words(report.attributions(IMAGES[:1], {"a": lonely}))[-1] == "0 to 2"


def test_channels_are_summed():
    values = np.stack([SIGNED, -SIGNED, SIGNED], axis=-1)
    one, summed = (report.attributions(IMAGES, {"a": each}) for each in (SIGNED, values))
    for a, b in zip(drawn(one), drawn(summed), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("overlay", [False, True])
def test_nothing_and_what_is_not_finite_is_said_and_not_drawn(overlay):
    lost = np.ones((6, 6))
    lost[2, 2] = np.nan
    maps = {
        "zero": np.zeros((6, 6)),
        "lost": lost,
        "infinite": np.full((6, 6), np.inf),
        "cancels": np.ones((6, 6, 2)) * [1, -1],
    }
    figure = report.attributions(IMAGES[0], maps, overlay=overlay)
    assert len(drawn(figure)) == 1
    found = words(figure)
    assert [found[found.index(name) - 1] for name in maps] == ["all zero", "not finite", "not finite", "all zero"]


def test_an_overlay_is_the_grey_image_where_the_map_is_weak():
    values = np.zeros((2, 2))
    values[0, 0] = 1.0  # the upper left quarter
    (_, tile) = drawn(report.attributions(IMAGES[:1], {"a": values}, overlay=True))
    grey = np.rint(IMAGES[0].mean(-1, keepdims=True))
    np.testing.assert_array_equal(tile[3:], np.broadcast_to(grey, IMAGES[0].shape)[3:])
    full = drawn(report.attributions(IMAGES[:1], {"a": values}))[1][0, 0]
    np.testing.assert_array_equal(tile[:3, :3], np.broadcast_to(full, (3, 3, 3)))


def test_one_image_and_its_map_need_no_first_axis():
    for image, values in ((IMAGES[0], SIGNED[0]), (IMAGES[:1], SIGNED[:1]), (IMAGES[0], np.stack([SIGNED[0]] * 3, -1))):
        figure = report.attributions(image, {"a": values})
        assert len(drawn(figure)) == 2
    np.testing.assert_array_equal(
        drawn(report.attributions(IMAGES[0][..., :1], {"a": SIGNED[0]}))[0][..., 1:2], IMAGES[0][..., :1]
    )


def test_many_methods_go_on_in_the_next_row():
    figure = report.attributions(IMAGES[:1], {f"method {n}": SIGNED[0] for n in range(7)}, columns=4)
    boxes = [image.get_extent() for image in figure.axes[0].images]
    assert len({box[3] for box in boxes}) == 2
    assert [box[3] for box in boxes] == sorted(box[3] for box in boxes)
    lowest = max(box[2] for box in boxes)
    assert lowest < figure.axes[0].get_ylim()[0]


@pytest.mark.parametrize(
    ("images", "maps", "options", "message"),
    [
        (IMAGES, {}, {}, "^attributions: expected at least one method, got none. "),
        (IMAGES[:0], {"a": SIGNED}, {}, "^attributions: expected at least one image, got none. "),
        (IMAGES, {"a": SIGNED[:1]}, {}, r"^attributions: expected a map of 2 images at 'a', got \(1, 6, 6\)\. "),
        (IMAGES, {"a": SIGNED[0]}, {}, r"^attributions: expected a map of 2 images at 'a', got \(6, 6\)\. "),
        (IMAGES, {"a": SIGNED}, {"captions": ["one"]}, "^attributions: expected 2 captions, got 1. "),
        (IMAGES, {"a": SIGNED}, {"columns": 1}, "^attributions: expected 2 columns or more, got 1. "),
        (IMAGES[0, 0], {"a": SIGNED}, {}, "^attributions: expected images "),
    ],
)
def test_refuses(images, maps, options, message):
    with pytest.raises(ValueError, match=message):
        report.attributions(images, maps, **options)


def test_refuses_what_is_no_number():
    with pytest.raises(TypeError, match=r"^attributions: expected numbers in the map 'a', got <U"):
        report.attributions(IMAGES, {"a": np.array(["x"])})
