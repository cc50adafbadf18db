"""Images as functions of parameters: what numpy says they are, where they begin, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain.maximization import Fourier, Pixels, Robustness, colour_basis
from jaxcnn.explain.maximization.parameterization import Spectrum
from jaxcnn.explain.maximization.robustness import expect_transforms, moved

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(0)
EVERY = [
    Pixels(), Pixels(level=0.2), Pixels(bounds="clip"), Fourier(), Fourier(decay=1.5, level=0.1),
    Fourier(colours=colour_basis()), Pixels(colours=colour_basis(), bounds="clip"),
]  # fmt: skip


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 5), (1, 4), (4, 1)])
def test_fourier_is_numpys_irfft_of_the_scaled_spectrum(height, width):
    one = Fourier(decay=1.5, level=0.3)
    spectrum = one.init(KEY, (2, height, width, 3))
    assert spectrum.real.shape == spectrum.imaginary.shape == (2, height, width // 2 + 1, 3)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width)) ** 1.5
    amplitude /= np.sqrt((amplitude**2).mean())
    values = (np.asarray(spectrum.real) + 1j * np.asarray(spectrum.imaginary)) * amplitude[:, : width // 2 + 1, None]
    z = np.fft.irfft2(values, (height, width), axes=(1, 2), norm="ortho")
    close(one(spectrum), sigmoid(z + np.log(0.3 / 0.7)), atol=1e-6)


def test_a_wave_is_one_number_of_the_spectrum():
    real = jnp.zeros((8, 5, 1)).at[0, 2, 0].set(1.0)
    found = np.asarray(Fourier(bounds="clip")(Spectrum(real, jnp.zeros_like(real), 8)))[..., 0]
    wave = np.cos(2 * np.pi * 2 * np.arange(8) / 8)
    assert np.ptp(found, axis=0).max() < 1e-6
    slope = (found[0, 0] - 0.5) / wave[0]
    assert slope > 0
    close(found[0], 0.5 + slope * wave, atol=1e-6)


def test_waves_are_the_smaller_the_faster():
    slow, *_, fast = Fourier(decay=2.0).amplitudes(32, 32)[0]
    assert slow / fast == pytest.approx(16**2)
    assert np.ptp(Fourier(decay=0.0).amplitudes(7, 9)) == 0


@pytest.mark.parametrize("one", [Pixels(deviation=0.1), Fourier(deviation=0.1)])
def test_pixels_begin_near_the_level_with_the_deviation(one):
    images = one(one.init(KEY, (200, 16, 12, 1)))
    z = np.log(images) - np.log1p(-images)
    assert z.mean() == pytest.approx(0, abs=0.02)
    assert z.std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("one", EVERY)
def test_parameters_of_images_give_them_back(one):
    images = jax.random.uniform(KEY, (2, 5, 6, 3), minval=0.01, maxval=0.99)
    close(one(one.parameters_of(images)), images, atol=1e-4)
    parameters = one.init(KEY, (2, 5, 6, 3))
    again = one.parameters_of(one(parameters))
    assert jax.tree.structure(again) == jax.tree.structure(parameters)
    assert [a.shape for a in jax.tree.leaves(again)] == [p.shape for p in jax.tree.leaves(parameters)]


@pytest.mark.parametrize("one", EVERY)
def test_images_stay_between_black_and_white(one):
    wild = jax.tree.map(lambda leaf: 1e4 * leaf, one.init(KEY, (2, 5, 6, 3)))
    images = one(wild)
    assert images.min() >= 0 and images.max() <= 1
    black = one(one.parameters_of(jnp.zeros((4, 4, 3))))
    assert black.max() < 2e-3


def test_the_colour_basis_squared_is_the_covariance():
    images = np.asarray(jax.random.uniform(KEY, (20, 6, 6, 3))) * [1.0, 0.5, 0.2]
    images[..., 1] = 0.5 * images[..., 0] + 0.5 * images[..., 1]
    basis = np.array(colour_basis(images.astype(np.float32)))
    close(basis @ basis.T, np.cov(images.reshape(-1, 3).T, bias=True), rtol=1e-4, atol=1e-6)
    imagenet = np.array(colour_basis())
    values, vectors = np.linalg.eigh(imagenet @ imagenet.T)
    close(values[::-1], [0.2175, 0.0188, 0.0045], rtol=0.02)
    assert np.ptp(vectors[:, 2]) < 0.05  # brightness varies most


def test_decorrelated_colours_are_correlated_as_the_images_are():
    images = np.asarray(jax.random.uniform(KEY, (20, 6, 6, 3))) * [1.0, 0.5, 0.2]
    images[..., 1] += images[..., 0] / 2
    basis = colour_basis(images.astype(np.float32))
    one = Pixels(deviation=1e-3, colours=basis, bounds="clip")
    drawn = np.asarray(one(one.init(KEY, (100, 16, 16, 3)))).reshape(-1, 3)
    close(np.corrcoef(drawn.T), np.corrcoef(images.reshape(-1, 3).T), atol=0.02)


@pytest.mark.slow
def test_images_move_and_each_by_itself():
    images = jnp.tile(jax.random.uniform(KEY, (12, 12, 1)), (2, 2, 1, 1, 1))
    out = moved((Robustness(),), KEY, images)
    assert out.shape == images.shape
    assert jnp.abs(out[0, 0] - images[0, 0]).max() > 0.01
    assert jnp.abs(out[0, 0] - out[0, 1]).max() > 0.01
    np.testing.assert_array_equal(moved((), KEY, images), images)
    still = Robustness(jitter=0.0, rotate=0.0, scale=0.0)
    close(moved((still,), KEY, images), images, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "side"), [({"jitter": 0.25}, "jitter"), ({"rotate": 45.0}, "rotate"), ({"scale": 0.5}, "scale")]
)
def test_each_option_moves_as_it_says(options, side):
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 16)[:, None, None], (16, 16, 1))
    still = {"jitter": 0.0, "rotate": 0.0, "scale": 0.0}
    keys = jax.random.split(jax.random.key(0), 20)
    out = np.asarray(jax.vmap(lambda key: Robustness(**still | options)(key, ramp)[..., 0])(keys))
    inner = out[:, 5:11, 5:11] - np.asarray(ramp)[None, 5:11, 5:11, 0]
    if side == "jitter":  # all of the ramp by one number, by at most 4 of 15 steps
        assert np.ptp(inner, axis=(1, 2)).max() < 1e-5
        assert 0.15 < np.abs(inner).max() <= 4 / 15 + 1e-5
    elif side == "rotate":  # it varies along its level lines, as the sine says
        slope = np.abs(np.diff(out, axis=2)[:, 6:10, 6:10]).max(axis=(1, 2))
        assert 0.5 * np.sin(np.pi / 4) / 15 < slope.max() <= np.sin(np.pi / 4) / 15 + 1e-5
    else:  # its slope is that of a zoom from 0.5 to 1.5
        slope = np.diff(out, axis=1)[:, 7, 8] * 15
        assert 1 / 1.5 - 1e-4 <= slope.min() < 0.75 and 1.2 < slope.max() <= 2 + 1e-4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Pixels(deviation=-1), ValueError, r"^Pixels: expected deviation of at least 0, got -1"),
        (lambda: Fourier(level=1), ValueError, r"^Fourier: expected level in \(0, 1\), got 1"),
        (lambda: Fourier(decay=-1), ValueError, r"^Fourier: expected decay of at least 0, got -1"),
        (lambda: Pixels(bounds="wrap"), ValueError, r"^Pixels: expected bounds to be one of \('sigmoid', 'clip'\)"),
        (lambda: Pixels(colours=((1.0, 0.0),)), ValueError, r"^Pixels: expected colours as a square matrix"),
        (lambda: Pixels(colours=((0.0,),)), ValueError, r"^Pixels: expected colours as a square matrix"),
        (lambda: Pixels().init(KEY, (3, 4)), ValueError, r"^Pixels: expected the shape of images \(\.\.\., H, W, C\)"),
        (lambda: Pixels(colours=colour_basis()).init(KEY, (3, 4, 1)), ValueError, r"^Pixels: expected colours of 1 ch"),
        (lambda: Robustness(scale=1.0), ValueError, r"^Robustness: expected scale in \[0, 1\), got 1"),
        (lambda: Robustness(jitter=-0.1), ValueError, r"^Robustness: expected jitter of at least 0"),
        (lambda: Robustness(rotate=-1.0), ValueError, r"^Robustness: expected rotate of at least 0 degrees"),
        (lambda: Robustness(padding_mode="wrap"), ValueError, r"^Robustness: expected padding_mode to be one of"),
        (lambda: expect_transforms("f", 3), TypeError, r"^f: expected transforms as a sequence of functions"),
        (lambda: colour_basis(np.zeros((3, 3), np.uint8)), ValueError, r"expected images \(N, H, W, C\), got \(3, 3\)"),
    ],
)
def test_refuses(make, error, message):
    with pytest.raises(error, match=message):
        make()
