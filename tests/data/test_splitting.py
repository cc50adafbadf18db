"""Splitting: complete, disjoint, in proportion, and decided by the key."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn import data

KEY = jax.random.key(0)


def numbered(label):
    """A data set whose examples carry their number."""
    label = None if label is None else np.asarray(label)
    size = 40 if label is None else len(label)
    return data.from_arrays(
        np.zeros((size, 1, 1, 1), np.uint8), label, class_names=list("abcdef"), number=np.arange(size)
    )


# Few sizes, as each is a compilation; many classes, fractions and seeds.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from([2, 7, 31]), st.floats(0.01, 0.99), st.integers(0, 9))
def test_parts_are_complete_disjoint_and_in_proportion(draw, size, fraction, seed):
    label = np.asarray(draw.draw(st.lists(st.integers(0, 5), min_size=size, max_size=size)))
    dataset = numbered(label)
    held = np.array([np.floor(fraction * np.sum(label == c) + 0.5) for c in range(6)])
    if held.sum() in (0, size):
        with pytest.raises(ValueError, match=r"^split: expected a fraction that leaves examples on both sides"):
            data.split(dataset, fraction, key=jax.random.key(seed))
        return
    rest, part = data.split(dataset, fraction, key=jax.random.key(seed))
    assert sorted([*rest["number"], *part["number"]]) == list(range(size))
    np.testing.assert_array_equal(np.bincount(part["label"], minlength=6), held)
    for side in (rest, part):
        assert (np.diff(side["number"]) > 0).all()  # the original order
        np.testing.assert_array_equal(side["label"], label[side["number"]])


def test_the_key_decides():
    dataset = numbered(np.arange(40) % 4)
    parts = [data.split(dataset, 0.25, key=jax.random.key(seed))[1]["number"].tolist() for seed in (0, 0, 1, 2)]
    assert parts[0] == parts[1]
    assert len({tuple(part) for part in parts}) == 3


def test_every_example_is_held_out_equally_often():
    dataset = numbered(np.arange(40) % 4)
    held = np.concatenate([data.split(dataset, 0.25, key=jax.random.key(seed))[1]["number"] for seed in range(200)])
    # 50 of 200 expected, standard deviation 6.1.
    counts = np.bincount(held, minlength=40)
    assert counts.min() > 25 and counts.max() < 75


def test_without_labels():
    rest, part = data.split(numbered(None), 0.3, key=KEY)
    assert (rest.size, part.size) == (28, 12)
    assert not set(rest["number"]) & set(part["number"])


def test_what_is_known_is_carried_along():
    dataset = numbered(np.arange(12) % 3)
    rest, part = data.split(dataset, 0.5, key=KEY)
    for side in (rest, part):
        assert side.info.class_names == tuple("abcdef")
        assert side.info.fingerprint != dataset.info.fingerprint


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions_out_of_range(fraction):
    with pytest.raises(ValueError, match=rf"^split: expected a fraction in \(0, 1\), got {fraction}\. 0\.2"):
        data.split(numbered([0, 1, 0, 1]), fraction, key=KEY)


@pytest.mark.parametrize(("label", "fraction"), [([0], 0.5), ([0, 1, 2], 0.1), ([0, 1, 2], 0.9)])
def test_fractions_that_leave_a_side_empty(label, fraction):
    with pytest.raises(
        ValueError, match=r"^split: expected a fraction that leaves .*, got .* of \d examples\. Use more"
    ):
        data.split(numbered(label), fraction, key=KEY)


# --- folds


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from([5, 12, 31]), st.integers(2, 5), st.integers(0, 9))
def test_folds_are_complete_disjoint_and_in_proportion(draw, size, k, seed):
    label = np.asarray(draw.draw(st.lists(st.integers(0, 5), min_size=size, max_size=size)))
    pairs = data.folds(numbered(label), k, key=jax.random.key(seed))
    assert len(pairs) == k
    assert sorted(number for _, fold in pairs for number in fold["number"]) == list(range(size))
    for rest, fold in pairs:
        assert sorted([*rest["number"], *fold["number"]]) == list(range(size))
        for side in (rest, fold):
            assert (np.diff(side["number"]) > 0).all()
            np.testing.assert_array_equal(side["label"], label[side["number"]])
    counts = np.stack([np.bincount(fold["label"], minlength=6) for _, fold in pairs])
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(1)) <= 1


def test_the_key_decides_the_folds():
    dataset = numbered(np.arange(40) % 4)
    first = [data.folds(dataset, 5, key=jax.random.key(seed))[0][1]["number"].tolist() for seed in (0, 0, 1, 2)]
    assert first[0] == first[1]
    assert len({tuple(fold) for fold in first}) == 3


def test_folds_without_labels():
    assert [fold.size for _, fold in data.folds(numbered(None), 3, key=KEY)] == [14, 13, 13]


@pytest.mark.parametrize("k", [1, 0, -2, 13, 2.0, True, "5"])
def test_numbers_of_folds_out_of_range(k):
    with pytest.raises(ValueError, match=rf"^folds: expected k in 2\.\.12, got {k!r}\. 5 or 10"):
        data.folds(numbered(np.arange(12) % 3), k, key=KEY)


# --- per_class


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 3), st.integers(0, 9))
def test_so_many_of_each_class(draw, n, seed):
    extra = draw.draw(st.lists(st.integers(0, 5), min_size=6, max_size=6))
    label = np.asarray(draw.draw(st.permutations([*range(6)] * 3 + extra)))
    some = data.per_class(numbered(label), n, key=jax.random.key(seed))
    np.testing.assert_array_equal(np.bincount(some["label"], minlength=6), [n] * 6)
    assert (np.diff(some["number"]) > 0).all()
    np.testing.assert_array_equal(some["label"], label[some["number"]])
    if n > 1:
        fewer = data.per_class(numbered(label), n - 1, key=jax.random.key(seed))
        assert set(fewer["number"]) < set(some["number"])


def test_every_example_is_chosen_equally_often():
    dataset = numbered(np.arange(30) % 6)
    chosen = np.concatenate([data.per_class(dataset, 2, key=jax.random.key(seed))["number"] for seed in range(200)])
    # 80 of 200 expected, standard deviation 6.9.
    counts = np.bincount(chosen, minlength=30)
    assert counts.min() > 50 and counts.max() < 110


@pytest.mark.parametrize("n", [0, -1, 3, 1.0, True])
def test_numbers_per_class_out_of_range(n):
    label = [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    message = rf"^per_class: expected n in 1\.\.2, got {n}\. Choose another: the fewest examples are of 'b'\."
    with pytest.raises(ValueError, match=message):
        data.per_class(numbered(label), n, key=KEY)


def test_per_class_of_a_class_without_examples():
    with pytest.raises(ValueError, match=r"n in 1\.\.0, got 1\. .* of 'f'"):
        data.per_class(numbered([0, 1, 2, 3, 4]), 1, key=KEY)


def test_per_class_needs_labels():
    with pytest.raises(
        ValueError, match=r"^per_class: expected a data set with labels, got Dataset\('arrays', .*\)\. Pass"
    ):
        data.per_class(numbered(None), 1, key=KEY)
