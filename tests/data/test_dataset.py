"""A data set: a read-only mapping of arrays that knows where it is from."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data.dataset import moments

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (12, 4, 5, 2), np.uint8)
LABEL = np.arange(12) % 3


def make(image=IMAGE, label=LABEL, **options):
    return data.from_arrays(image, label, **options)


# --- the mapping


def test_is_a_mapping_of_names_to_arrays():
    dataset = make(mask=np.ones((12, 4)))
    assert list(dataset) == ["image", "label", "mask"]
    assert len(dataset) == 3
    assert dataset.size == 12
    assert "mask" in dataset and "masks" not in dataset
    assert dict(dataset).keys() == {"image", "label", "mask"}
    assert (dataset["image"].dtype, dataset["label"].dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(dataset["image"], IMAGE)
    np.testing.assert_array_equal(dataset["label"], LABEL)
    assert repr(dataset) == "Dataset('arrays', 12 examples: image uint8[4, 5, 2], label int32[], mask float64[4])"


def test_unknown_names_list_the_known_ones():
    with pytest.raises(KeyError, match=r"Dataset: expected one of \['image', 'label'\], got 'labels'\. Choose"):
        make()["labels"]
    assert make().get("labels") is None
    for name in (0, slice(2), [0, 1], np.arange(2)):
        with pytest.raises(KeyError, match=r"Dataset: expected one of .*, got .*Examples are train"):
            make()[name]


@pytest.mark.parametrize("of", [lambda d: d, lambda d: d.take([1, 2, 3]), lambda d: d.take(np.arange(12) > 3)])
@pytest.mark.parametrize("name", ["image", "label", "mask"])
def test_writing_raises(of, name):
    array = of(make(mask=np.ones(12)))[name]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0
    with pytest.raises(TypeError, match="item assignment"):
        make()[name] = array


def test_the_caller_keeps_arrays_that_can_be_written():
    image, label, mask = IMAGE.copy(), np.arange(12, dtype=np.int32), np.ones(12)
    data.from_arrays(image, label, mask=mask)
    assert image.flags.writeable and label.flags.writeable and mask.flags.writeable


def test_the_spec_is_what_the_net_sees():
    assert make().spec == jax.ShapeDtypeStruct((1, 4, 5, 2), jnp.float32)


# --- take


def test_take_picks_in_order():
    dataset = make(number=np.arange(12))
    some = dataset.take([7, 2, 2])
    np.testing.assert_array_equal(some["number"], [7, 2, 2])
    np.testing.assert_array_equal(some["image"], IMAGE[[7, 2, 2]])
    np.testing.assert_array_equal(dataset.take(LABEL == 1)["number"], [1, 4, 7, 10])
    np.testing.assert_array_equal(dataset.take([-1, 2, -12])["number"], [11, 2, 0])
    assert some.size == 3
    assert some.info.mean == dataset.info.mean
    assert some.info.fingerprint != dataset.info.fingerprint
    assert dataset.take(range(12)).info == dataset.info


@pytest.mark.parametrize("nothing", [[], np.zeros(12, bool), np.arange(0)], ids=["list", "mask", "array"])
def test_take_of_nothing(nothing):
    with pytest.raises(ValueError, match=r"^Dataset: expected at least one example, got none\. Check how"):
        make().take(nothing)


# --- what is known of it


def test_info():
    info = make(name="stripes", source="here", class_names=["a", "b", "c", "d"]).info
    assert (info.name, info.source, info.class_names) == ("stripes", "here", ("a", "b", "c", "d"))
    np.testing.assert_allclose(info.mean, IMAGE.mean((0, 1, 2)) / 255, atol=1e-6)
    np.testing.assert_allclose(info.std, IMAGE.std((0, 1, 2)) / 255, atol=1e-6)
    assert all(type(value) is float for value in (*info.mean, *info.std))
    assert make().info.class_names == ("0", "1", "2")


def test_moments_of_floats_are_in_their_own_units():
    image = np.float32([0.25, 0.75]).reshape(2, 1, 1, 1)
    info = data.from_arrays(image).info
    assert (info.mean, info.std, info.class_names) == ((0.5,), (0.25,), ())


def test_with_moments_of_another_set():
    dark, bright = make(IMAGE // 4), make()
    moved = dark.with_moments_of(bright)
    assert (moved.info.mean, moved.info.std) == (bright.info.mean, bright.info.std)
    assert moved.info.fingerprint == dark.info.fingerprint
    np.testing.assert_array_equal(moved["image"], dark["image"])


def test_the_fingerprint_sees_every_pixel_and_label():
    assert make().info.fingerprint == make(IMAGE.copy(), LABEL.astype(np.int16)).info.fingerprint
    image, label = IMAGE.copy(), LABEL.copy()
    image[11, 3, 4, 1] ^= 1
    label[0] = 2
    prints = {
        make().info.fingerprint,
        make(image).info.fingerprint,
        make(label=label).info.fingerprint,
        make(label=None).info.fingerprint,
        make(mask=LABEL).info.fingerprint,
    }
    assert len(prints) == 5


# --- bad input


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (IMAGE[:0], LABEL[:0], "at least one example, got none"),
        (IMAGE[:0], None, "at least one example, got none"),
        (IMAGE[..., 0], LABEL, "images of shape (N, H, W, C), got (12, 4, 5). Grey images need a last axis"),
        (np.zeros(0), None, "images of shape (N, H, W, C), got (0,)"),
        (np.zeros((2, 3, 8, 9)), None, "images of shape (N, H, W, C), got (2, 3, 8, 9), channels first. Move"),
        (3.0, None, "images of shape (N, H, W, C), got ()"),
        (IMAGE, LABEL[:-1], "arrays of one length, got {'image': 12, 'label': 11}"),
        (IMAGE, 2, "arrays of one length, got {'image': 12, 'label': 0}"),
        (IMAGE, LABEL[:, None], "labels of shape (N,), got shape (12, 1). Of one-hot rows pass label.argmax(-1)."),
    ],
)
def test_arrays_of_bad_shapes_or_values(image, label, message):
    with pytest.raises(ValueError, match="^Dataset: expected " + re.escape(message)):
        data.from_arrays(image, label)


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (IMAGE.astype(np.int32), LABEL, "Dataset: expected uint8 or floating images, got int32"),
        (np.full((2, 2, 2, 1), "x"), None, "from_arrays: expected image as an array of numbers, got an array of "),
        (IMAGE, LABEL.astype(str), "from_arrays: expected label as an array of numbers, got an array of "),
        (IMAGE, LABEL.astype(float), "from_arrays: expected labels of an integer dtype, got float64"),
        (IMAGE, LABEL > 1, "from_arrays: expected labels of an integer dtype, got bool"),
    ],
)
def test_arrays_of_bad_dtypes(image, label, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        data.from_arrays(image, label)


@pytest.mark.parametrize("dtype", [str, bytes, object])
def test_further_arrays_are_of_numbers(dtype):
    with pytest.raises(TypeError, match=r"^from_arrays: expected names as an array of numbers, got an array "):
        make(names=LABEL.astype(dtype))


@pytest.mark.parametrize(("shift", "got"), [(0, "0..2"), (-1, "-1..1")], ids=["above", "below"])
def test_labels_that_no_class_name_belongs_to(shift, got):
    with pytest.raises(ValueError, match=rf"in 0\.\.1, got {re.escape(got)}\. Renumber .*class_names"):
        make(label=LABEL + shift, class_names=["a", "b"])


def test_further_arrays_of_another_length():
    with pytest.raises(ValueError, match=r"^Dataset: expected arrays of one length, got .*'mask': 3"):
        make(mask=np.ones(3))


# --- to_float


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_to_float(dtype):
    x = np.uint8([0, 51, 255])
    for fn in (data.to_float, jax.jit(data.to_float, static_argnums=1)):
        y = fn(x, dtype)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.astype(jnp.float32), jnp.asarray([0, 0.2, 1], dtype), rtol=1e-7)
    np.testing.assert_array_equal(data.to_float(jnp.float32([0.3, 1.0]), dtype), jnp.asarray([0.3, 1.0], dtype))


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, bool])
def test_to_float_of_other_dtypes(dtype):
    with pytest.raises(
        TypeError, match=rf"^to_float: expected uint8 or floating images, got {np.dtype(dtype)}\. Scale"
    ):
        data.to_float(np.ones(3, dtype))


@pytest.mark.parametrize(("label", "got"), [(LABEL - 1, "-1..1"), (LABEL + 1, "1..3")])
def test_classes_are_numbered_from_0_unless_they_are_named(label, got):
    with pytest.raises(ValueError, match=rf"^from_arrays: expected labels numbered from 0, got {re.escape(got)}\. Sub"):
        data.from_arrays(IMAGE, label)


def test_a_class_without_examples_needs_a_name():
    assert data.from_arrays(IMAGE, LABEL + 1, class_names="abcd").info.class_names == ("a", "b", "c", "d")


@pytest.mark.parametrize("value", [-0.1, 1.5, 73.9, np.nan, np.inf])
def test_floating_images_are_in_0_to_1(value):
    image = np.full((3, 2, 2, 1), 0.5)
    image[1, 0, 1] = value
    with pytest.raises(ValueError, match=r"^from_arrays: expected floating images in \[0, 1\], got values from "):
        data.from_arrays(image)


def test_the_set_does_not_follow_changes_of_the_callers_array():
    image = IMAGE.copy()
    dataset = data.from_arrays(image, LABEL)
    image[:] = 0
    assert (dataset["image"] == IMAGE).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (65, 3, 5, 1), (130, 4, 2, 3), (64, 2, 3, 4)])
def test_moments_against_numpy(dtype, shape):
    image = RNG.integers(0, 256, shape, np.uint8) if dtype is np.uint8 else RNG.random(shape).astype(dtype)
    info = data.from_arrays(image).info
    scale = 255 if dtype is np.uint8 else 1
    np.testing.assert_allclose(info.mean, image.mean((0, 1, 2), np.float64) / scale, atol=5.1e-7)
    np.testing.assert_allclose(info.std, image.std((0, 1, 2), np.float64) / scale, atol=5.1e-7)


def test_moments_of_images_of_several_sizes_weigh_every_pixel_alike():
    ones, zeros = np.full((3, 2, 1), 255, np.uint8), np.zeros((1, 2, 1), np.uint8)
    mean, std = moments([ones, zeros])
    assert (mean, std) == ((0.75,), (pytest.approx(0.1875**0.5, abs=1e-6),))


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_the_deviation_of_one_colour_is_zero(value):
    assert data.from_arrays(np.full((3, 5, 7, 1), value, np.uint8)).info.std == (0.0,)
    assert data.from_arrays(np.full((3, 5, 7, 1), value / 255)).info.std == (pytest.approx(0, abs=1e-6),)


def test_frozen_arrays_are_not_copied():
    image = IMAGE.copy()
    view = image.view()
    for array in (image, view):
        array.setflags(write=False)
    assert np.shares_memory(data.from_arrays(image, LABEL)["image"], image)
    assert not np.shares_memory(data.from_arrays(view, LABEL)["image"], image)  # its base may be written to
