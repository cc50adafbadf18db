"""Erasing: where the holes are, and how they are distributed."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxcnn import augment

pytestmark = pytest.mark.usefixtures("quick_compilation")
IMAGE = np.asarray(0.1 + 0.8 * jax.random.uniform(jax.random.key(0), (12, 9, 3)))
KEY = jax.random.key(1)
KEYS = jax.random.split(KEY, 500)


def holes(fn, image=IMAGE, fill=0.0) -> np.ndarray:
    """Return which pixels (n, H, W) `fn` fills for KEYS, having seen that it leaves the others."""
    out = np.asarray(jax.jit(jax.vmap(fn, (0, None)))(KEYS, image))
    hole = (out == np.float32(fill)).all(-1)
    assert (out[~hole] == np.broadcast_to(image, out.shape)[~hole]).all()
    return hole


def rectangle(hole) -> tuple[int, int, int, int]:
    """Return top, bottom, left, right of a hole, having seen that it is a full rectangle."""
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    assert hole.sum() == len(rows) * len(columns)
    assert np.ptp(rows) + 1 == len(rows)
    assert np.ptp(columns) + 1 == len(columns)
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cutout_fills_a_square_around_any_pixel(size):
    found = holes(partial(augment.cutout, size=size, fill=0.25), fill=0.25)
    tops, lefts = [], []
    for hole in found:
        top, bottom, left, right = rectangle(hole)
        tops.append(bottom - size if top == 0 else top)
        lefts.append(right - size if left == 0 else left)
        assert bottom == min(tops[-1] + size, 12)
        assert right == min(lefts[-1] + size, 9)
    for starts, side in ((tops, 12), (lefts, 9)):
        counts = np.bincount(np.array(starts) + size // 2, minlength=side)
        assert len(counts) == side
        assert np.abs(counts / 500 - 1 / side).max() < 0.05


def test_a_count_of_numpy_is_a_count():
    ours = augment.cutout(KEY, IMAGE, size=np.int64(3))
    np.testing.assert_array_equal(ours, augment.cutout(KEY, IMAGE, size=3))


def test_cutout_may_cover_everything():
    assert holes(partial(augment.cutout, size=40)).all()


def test_random_erasing_has_torchvisions_distribution():
    """Compare with its definition, drawn by NumPy."""
    image = np.full((40, 50, 1), 0.5, np.float32)
    found = holes(partial(augment.random_erasing, p=0.6, area=(0.05, 0.4), aspect=(0.5, 3.0)), image)
    erased = found.any((1, 2))
    assert abs(erased.mean() - 0.6) < 0.06
    ours = np.array([rectangle(hole) for hole in found[erased]])
    height, width = ours[:, 1] - ours[:, 0], ours[:, 3] - ours[:, 2]
    draw = np.random.default_rng(0)
    area, aspect = draw.uniform(0.05, 0.4, 10**5) * 2000, np.exp(draw.uniform(np.log(0.5), np.log(3), 10**5))
    tall, wide = np.round(np.sqrt(area * aspect)), np.round(np.sqrt(area / aspect))
    fits = (tall < 40) & (wide < 50)
    for found, expected in ((height, tall[fits]), (width, wide[fits]), (height / width, (tall / wide)[fits])):
        assert abs(found.mean() / expected.mean() - 1) < 0.06
        assert abs(found.std() / expected.std() - 1) < 0.12
    for place in (ours[:, 0] / (40 - height), ours[:, 2] / (50 - width)):
        assert place.min() == 0
        assert place.max() == 1
        assert abs(place.mean() - 0.5) < 0.06


def test_random_erasing_takes_none_that_does_not_fit():
    assert not holes(partial(augment.random_erasing, p=1, area=(0.5, 0.9), aspect=(9, 10))).any()
    # A third of these rectangles fit, so that of ten one nearly always does.
    erased = holes(partial(augment.random_erasing, p=1, area=(0.6, 0.6), aspect=(0.2, 2))).any((1, 2)).mean()
    assert 0.95 < erased < 1


def test_random_erasing_fills_with_noise():
    fn = partial(augment.random_erasing, p=1, area=(0.3, 0.3), aspect=(1, 1), fill="random")
    out = np.asarray(jax.jit(jax.vmap(fn, (0, None)))(KEYS, IMAGE))
    changed = out != IMAGE
    values = out[changed.all(-1)] * 255
    np.testing.assert_allclose(values, np.round(values), atol=1e-4)
    assert abs(values.mean() - 127.5) < 3
    assert abs(values.std() - 73.9) < 2
    assert len(np.unique(np.round(values))) == 256
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize(("period", "ratio", "kept"), [(4, 0.5, 2), (5, 0.6, 3), (6, 0.01, 1), (3, 0.99, 2)])
def test_grid_mask_is_a_grid(period, ratio, kept):
    found = holes(partial(augment.grid_mask, period=(period, period), ratio=ratio))
    for hole in found[:40]:
        rows, columns = hole.any(1), hole.any(0)
        assert (hole == rows[:, None] & columns).all()
        for line in (rows, columns):
            assert (line[period:] == line[:-period]).all()
            assert line[:period].sum() == period - kept
            assert np.abs(np.diff(np.r_[line, line][: period + 1].astype(int))).sum() == 2
    for line in (found.any(2), found.any(1)):
        assert np.abs(line.mean(0) - (period - kept) / period).max() < 0.08


def test_grid_mask_draws_all_periods():
    image = np.full((30, 30, 1), 0.5, np.float32)
    line = holes(partial(augment.grid_mask, period=(4, 7), ratio=0.5), image).any(2)
    periods = [min(p for p in range(2, 15) if (row[p:] == row[:-p]).all()) for row in line]
    counts = np.bincount(periods, minlength=8)
    assert (np.flatnonzero(counts) == [4, 5, 6, 7]).all()
    assert np.abs(counts[4:] / 500 - 0.25).max() < 0.07


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(augment.cutout, size=0), r"^cutout: expected size as a positive int, got 0\. Pass"),
        (partial(augment.cutout, size=2.5), r"^cutout: expected size as a positive int, got 2\.5\."),
        (partial(augment.cutout, size=2, fill=2), r"^cutout: expected fill in \[0, 1\], got 2\. Images"),
        (partial(augment.random_erasing, p=2), r"^random_erasing: expected p in \[0, 1\], got 2\."),
        (
            partial(augment.random_erasing, area=(0.5, 1.5)),
            r"^random_erasing: expected area within \[0, 1\], got \(0\.5, 1\.5\)\.",
        ),
        (
            partial(augment.random_erasing, area=(0.5, 0.1)),
            r"^random_erasing: expected area \(low, high\) .*, got \(0\.5, 0\.1\)\.",
        ),
        (
            partial(augment.random_erasing, aspect=(0, 1)),
            r"^random_erasing: expected aspect above 0, got \(0, 1\)\.",
        ),
        (
            partial(augment.random_erasing, fill="noise"),
            r"^random_erasing: expected fill in \[0, 1\], got 'noise'\.",
        ),
        (
            partial(augment.grid_mask, period=(1, 4)),
            r"^grid_mask: expected period in whole pixels, at least 2, got \(1, 4\)\.",
        ),
        (
            partial(augment.grid_mask, period=(2.5, 4)),
            r"^grid_mask: expected period in whole pixels, at least 2, got \(2\.5, 4\)\.",
        ),
        (
            partial(augment.grid_mask, period=(4, 2)),
            r"^grid_mask: expected period \(low, high\) .*, got \(4, 2\)\.",
        ),
        (
            partial(augment.grid_mask, period=(2, 4), ratio=1),
            r"^grid_mask: expected ratio in \(0, 1\), got 1\.",
        ),
        (
            partial(augment.grid_mask, period=(2, 4), fill=-1),
            r"^grid_mask: expected fill in \[0, 1\], got -1\.",
        ),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEY, IMAGE)
