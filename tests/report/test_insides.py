import numpy as np
import pytest

from jaxcnn import report
from tests.report.figures import drawn, words


def test_filters_of_three_channels_are_colours_on_one_scale():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 7))
    figure = report.filters(kernel)
    expected = np.moveaxis(np.rint(255 * (0.5 + 0.5 * kernel / np.abs(kernel).max())), 3, 0)
    np.testing.assert_array_equal(drawn(figure), expected)
    assert words(figure) == [f"grey 0, full colour ±{np.abs(kernel).max():.2g}"]


def test_filters_of_one_channel_are_blue_below_zero_and_red_above():
    kernel = np.array([[-2.0, 0.0], [1.0, 2.0]])[..., None, None] * np.array([1.0, 0.5])
    strong, weak = drawn(report.filters(kernel))
    (blue, grey), (_, red) = strong.astype(int)
    assert blue[2] - blue[0] > 80
    assert red[0] - red[2] > 80
    assert np.ptp(grey) < 5
    assert weak[0, 0, 0] > blue[0]  # one scale for all


def test_filters_of_other_channels_are_a_tile_for_each_pair_up_to_the_limit():
    kernel = np.zeros((3, 3, 4, 5))
    kernel[..., 1, 0] = 1.0
    figure = report.filters(kernel, limit=12)
    reds = [int(tile[0, 0, 0]) - int(tile[0, 0, 2]) > 80 for tile in drawn(figure)]
    assert reds == [False, True] + [False] * 10  # filter after filter, each channel by channel
    assert words(figure) == ["blue −1, grey 0, red 1; 8 more are not shown"]


def test_filters_mark_what_is_not_finite():
    kernel = np.ones((2, 2, 1, 1))
    kernel[0, 0] = np.nan
    assert drawn(report.filters(kernel))[0][0, 0].tolist() == [255, 0, 255]


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (np.ones((3, 3, 1)), {}, r"filters: expected a kernel \(kh, kw, c_in, c_out\), got \(3, 3, 1\)"),
        (np.ones((3, 3, 1, 0)), {}, r"filters: expected a kernel"),
        (np.ones((3, 3, 1, 1)), {"limit": 0}, "filters: expected a limit above 0, got 0"),
    ],
)
def test_filters_refuse(kernel, options, message):
    with pytest.raises(ValueError, match=message):
        report.filters(kernel, **options)


def test_feature_maps_show_the_image_and_the_first_channels_of_each_layer():
    image = np.full((4, 4), 0.5, np.float32)
    conv, dead = np.zeros((4, 4, 10)), np.zeros((2, 3, 2))
    conv[0, 0, 1] = 1.0
    figure = report.feature_maps({"stage1/conv": conv, "stage1/act": dead}, image, channels=8)
    tiles = drawn(figure)
    assert [tile.shape for tile in tiles] == [(4, 4, 3)] * 9 + [(2, 3, 3)] * 2
    assert (tiles[0] == 128).all()
    dark, yellow = tiles[1][0, 0], tiles[2][0, 0]
    assert yellow[0] > 200
    assert dark[0] < 100
    assert all((tile == dark).all() for tile in tiles[9:])
    assert words(figure) == [
        "image", "", "stage1/conv", "4×4, 10 channels, 2 more not shown", "stage1/act", "2×3, 2 channels",
    ]  # fmt: skip


def test_feature_maps_give_signed_layers_a_scale_around_zero():
    maps = np.zeros((1, 3, 1))
    maps[0, :, 0] = -1.0, 0.0, 1.0
    (tile,) = drawn(report.feature_maps({"conv": maps}))
    blue, grey, red = tile[0].astype(int)
    assert blue[2] > blue[0]
    assert np.ptp(grey) < 5
    assert red[0] > red[2]


@pytest.mark.parametrize(
    ("maps", "image", "message"),
    [
        ({}, None, "feature_maps: expected at least one layer, got none"),
        ({"a": np.zeros((1, 4, 4, 2))}, None, r"feature_maps: expected \(h, w, c\) at 'a', got \(1, 4, 4, 2\)"),
        ({"a": np.zeros((4, 4, 2))}, np.zeros((1, 4, 4, 3)), "feature_maps: expected images"),
    ],
)
def test_feature_maps_refuse(maps, image, message):
    with pytest.raises(ValueError, match=message):
        report.feature_maps(maps, image)
