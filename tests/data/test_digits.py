"""The embedded digits, against scikit-learn's own copy."""

import jax
import numpy as np
import pytest

from jaxcnn import data

datasets = pytest.importorskip("sklearn.datasets")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def original():
    return datasets.load_digits()


def test_every_image_once(digits, original):
    train, test = digits
    assert (train.size, test.size) == (1438, 359)
    assert train["image"].shape[1:] == test["image"].shape[1:] == (8, 8, 1)
    assert (train["image"].dtype, train["label"].dtype) == (np.uint8, np.int32)
    # 0..16 scaled to 0..255, to the nearest.
    ours = np.concatenate([train["image"], test["image"]])[..., 0]
    assert (ours.min(), ours.max()) == (0, 255)
    back = {(image.astype(float) * 16 / 255).round().astype(int).tobytes() for image in ours}
    assert back == {image.astype(int).tobytes() for image in original.images}
    assert np.abs(np.sort(ours.sum((1, 2))) - np.sort(original.images.sum((1, 2)) * 255 / 16)).max() < 32


def test_labels_stay_with_their_images(digits, original):
    known = {image.astype(int).tobytes(): label for image, label in zip(original.images, original.target, strict=True)}
    for part in digits:
        for image, label in zip(part["image"][..., 0], part["label"], strict=True):
            assert known[(image.astype(float) * 16 / 255).round().astype(int).tobytes()] == label


def test_classes_are_in_proportion(digits, original):
    train, test = (np.bincount(part["label"]) for part in digits)
    counts = np.bincount(original.target)
    np.testing.assert_array_equal(train + test, counts)
    assert np.abs(test - 0.2 * counts).max() <= 0.5


def test_what_is_known_of_them(digits):
    train, test = digits
    for part in digits:
        assert part.info.name == "digits"
        assert part.info.class_names == tuple("0123456789")
        assert "scikit-learn" in part.info.source and "CC BY 4.0" in part.info.source
    assert train.info.fingerprint != test.info.fingerprint
    assert train.spec.shape == (1, 8, 8, 1)


def test_moments_are_those_of_the_training_images(digits):
    train, test = digits
    pixels = train["image"] / 255
    assert train.info.mean == test.info.mean == (pytest.approx(pixels.mean(), abs=1e-6),)
    assert train.info.std == test.info.std == (pytest.approx(pixels.std(), abs=1e-6),)
    assert train.info.mean[0] != pytest.approx((test["image"] / 255).mean(), abs=1e-4)


def test_the_split_seed_decides_the_parts(digits):
    again, other = data.load("digits", split_seed=0), data.load("digits", split_seed=1)
    for one, same, different in zip(digits, again, other, strict=True):
        assert one.info == same.info
        assert one.info.fingerprint != different.info.fingerprint
        np.testing.assert_array_equal(np.bincount(one["label"]), np.bincount(different["label"]))


def test_a_split_of_the_training_part_serves_for_validation(digits):
    rest, held = data.split(digits[0], 0.1, key=jax.random.key(0))
    assert rest.size + held.size == 1438
    assert held.info.mean == digits[0].info.mean
