"""Gabor fits: planted functions are found again, noise is not explained, colours are separated."""

import math

import numpy as np
import pytest

from jaxcnn import filters
from jaxcnn.explain import probes

close = np.testing.assert_allclose

# amplitude, row, column, orientation, frequency, phase, sigma_along, sigma_across
PLANTED = np.array(
    [
        [1.0, 0.0, 0.0, 0.1, 0.20, 0.0, 1.8, 2.4],
        [0.3, 0.7, -0.9, 0.6, 0.15, 1.2, 2.2, 1.7],
        [2.0, -1.1, 0.4, 1.9, 0.28, -0.8, 1.5, 2.6],
        [0.05, 0.3, 0.8, 2.9, 0.22, 2.7, 2.0, 2.0],
        [7.0, -0.5, -0.5, 1.3, 0.12, math.pi / 2, 2.5, 1.4],
        [1.0, 0.2, 0.1, 2.2, 0.35, -1.9, 1.6, 2.2],
    ]
)


def planted(size=(11, 11)):
    fit = probes.GaborFit(*PLANTED.T, np.zeros(len(PLANTED)))
    return fit, probes.gabors(fit, size)


@pytest.fixture(scope="module")
def found():
    return probes.fit_gabor(planted()[1])


def test_planted_functions_are_found_again(found):
    expected, _ = planted()
    for name in probes.GaborFit._fields[:-1]:
        close(getattr(found, name), getattr(expected, name), rtol=1e-3, atol=1e-3, err_msg=name)
    close(found.explained, 1, atol=1e-6)
    close(found.nx, PLANTED[:, 6] * PLANTED[:, 4], rtol=2e-3)
    close(found.ny, PLANTED[:, 7] * PLANTED[:, 4], rtol=2e-3)


def test_they_are_drawn_as_written():
    _, kernels = planted((5, 7))
    amplitude, row, column, turn, frequency, phase, along, across = PLANTED[1]
    for i, j in ((0, 0), (4, 6), (1, 5)):
        u, v = i - 2 - row, j - 3 - column
        a, b = v * math.cos(turn) + u * math.sin(turn), u * math.cos(turn) - v * math.sin(turn)
        envelope = math.exp(-((a / along) ** 2 + (b / across) ** 2) / 2)
        close(kernels[i, j, 1], amplitude * envelope * math.cos(2 * math.pi * frequency * a + phase), rtol=1e-10)


def test_the_bank_of_filters_has_the_same_convention():
    bank = filters.Gabor(11, orientations=4, wavelength=4.0, sigma=1.8, aspect=0.8, phases=(math.pi / 2,))
    found = probes.fit_gabor(np.asarray(bank()))
    close(np.sin(found.orientation - np.pi * np.arange(4) / 4), 0, atol=2e-3)
    close(found.frequency, 0.25, atol=1e-3)
    close(found.sigma_along, 1.8, rtol=2e-3)
    close(found.sigma_across, 1.8 / 0.8, rtol=2e-3)
    close(np.abs(found.phase), math.pi / 2, atol=2e-3)
    close(found.explained, 1, atol=1e-4)


def test_noise_is_explained_less_than_noisy_functions():
    _, kernels = planted()
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(11, 11, 5))
    unit = kernels / kernels.std(axis=(0, 1))
    noisy = probes.fit_gabor(unit + 0.4 * draw.normal(size=unit.shape), starts=2).explained
    alone = probes.fit_gabor(noise, starts=2).explained
    assert alone.max() < 0.45
    assert noisy.min() > 0.7
    close(probes.fit_gabor(noise[..., :1], starts=6).explained, alone[:1], atol=0.15)


def test_what_is_explained_is_the_share_of_variance():
    draw = np.random.default_rng(1)
    kernel = planted()[1][..., 0] + 0.1 * draw.normal(size=(11, 11))
    found = probes.fit_gabor(kernel, starts=1)
    left = kernel - probes.gabors(found, (11, 11))[..., 0]
    close(found.explained, [1 - np.sum(left**2) / np.sum((kernel - kernel.mean()) ** 2)], rtol=1e-6)


def test_flat_kernels_have_nothing_to_explain():
    flat = np.stack([np.zeros((7, 7)), np.full((7, 7), 0.3)], axis=-1)
    found = probes.fit_gabor(flat)
    assert found.amplitude.tolist() == found.explained.tolist() == [0, 0]
    close(probes.gabors(found, (7, 7)), 0)


def test_the_scale_of_a_kernel_does_not_matter():
    kernel = planted()[1][..., 1] + 0.01 * np.random.default_rng(2).normal(size=(11, 11))
    one, other = probes.fit_gabor(kernel, starts=1), probes.fit_gabor(-1e-6 * kernel, starts=1)
    close(other.amplitude, 1e-6 * one.amplitude, rtol=1e-4)
    close(other.explained, one.explained, rtol=1e-5)
    close(np.cos(other.phase), -np.cos(one.phase), atol=1e-4)


def test_colours_and_patterns_are_separated():
    _, patterns = planted()
    draw = np.random.default_rng(3)
    colours = draw.uniform(0.1, 1, (3, len(PLANTED)))
    colours /= np.linalg.norm(colours, axis=0)
    kernels = np.einsum("uvn,cn->uvcn", patterns, colours)
    found, colour, share = probes.colour_axis(kernels)
    close(found, patterns, atol=1e-9)
    close(colour, colours, atol=1e-9)
    close(share, 1)
    other = np.concatenate([kernels[..., :1], kernels[::-1, :, ::-1, :1]], axis=2)
    assert 0.5 < probes.colour_axis(other)[2][0] < 1
    assert probes.colour_axis(np.zeros((3, 3, 3, 1)))[2].tolist() == [0]


@pytest.mark.parametrize(
    ("kernels", "options", "error", "message"),
    [
        (np.ones((7, 7, 3, 4)), {}, ValueError, r"^fit_gabor: expected kernels .*got \(7, 7, 3, 4\)\. Bring"),
        (np.ones((2, 7, 3)), {}, ValueError, r"^fit_gabor: expected kernels \(kh, kw, n\) of 3 pixels a side or more"),
        (np.full((7, 7), np.nan), {}, ValueError, "^fit_gabor: expected finite kernels, got others"),
        (np.ones((7, 7)), {"starts": 0}, ValueError, "^fit_gabor: expected starts as a positive int, got 0"),
    ],
)
def test_refuses(kernels, options, error, message):
    with pytest.raises(error, match=message):
        probes.fit_gabor(kernels, **options)
    with pytest.raises(ValueError, match=r"^colour_axis: expected kernels \(kh, kw, C, n\), got \(7, 7, 3\)"):
        probes.colour_axis(np.ones((7, 7, 3)))
