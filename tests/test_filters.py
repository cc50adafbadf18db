"""Banks of fixed filters against SciPy, their equations and closed forms, and the layer that applies them."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import filters, summarize
from jaxcnn import functional as F
from jaxcnn.filters import Box, Gabor, Gaussian, Laplacian, Sobel
from jaxcnn.layers import Conv, MovingSum, Sequential, from_json, to_json

pytestmark = pytest.mark.usefixtures("quick_compilation")
# Every bank, the number of its kernels, and their size.
BANKS = [
    (Box(), 1, (3, 3)), (Box((2, 5)), 1, (2, 5)), (Gaussian(), 1, (5, 5)), (Gaussian((3, 4), 0.7), 1, (3, 4)),
    (Sobel(), 2, (3, 3)), (Laplacian(), 1, (3, 3)), (Laplacian(8), 1, (3, 3)), (Gabor(), 8, (7, 7)),
    (Gabor((5, 6), 3, 3.0, 2.0, 1.0, (0.5,)), 3, (5, 6)),
]  # fmt: skip
banks = pytest.mark.parametrize(("bank", "count", "size"), BANKS, ids=[repr(bank) for bank, *_ in BANKS])
IMAGE = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)


def filtered(bank, image, padding="SAME"):
    return np.asarray(F.moving_sum(jnp.asarray(image, jnp.float32)[..., None], bank(), padding=padding))


def grid(height=7, width=6):
    return np.mgrid[0.0:height, 0.0:width]


@banks
def test_shape_dtype_and_being_a_value(bank, count, size):
    kernels = bank()
    assert (kernels.shape, kernels.dtype) == ((*size, count), jnp.float32)
    assert np.isfinite(kernels).all()
    assert eval(repr(bank), vars(filters)) == bank
    assert len({bank, *(b for b, *_ in BANKS)}) == len(BANKS)
    with pytest.raises(AttributeError):
        bank.size = 3
    np.testing.assert_array_equal(jax.jit(bank)(), kernels)
    with jax.enable_x64(True):
        assert bank().dtype == jnp.float32


@banks
def test_a_net_with_the_bank_is_saved_and_rebuilt(bank, count, size):
    net = Sequential(fixed=MovingSum(bank, stride=2), conv=Conv(3))
    assert from_json(to_json(net)) == net
    assert json.loads(to_json(net))["net"]["children"][0][1]["bank"]["type"] == type(bank).__name__


@pytest.mark.parametrize(
    ("bank", "theirs"),
    [
        (Box((3, 5)), lambda x: scipy.ndimage.uniform_filter(x, (3, 5), mode="constant")),
        (Gaussian(7, 1.3), lambda x: scipy.ndimage.gaussian_filter(x, 1.3, radius=3, mode="constant")),
        (Gaussian((3, 5), 0.8), lambda x: scipy.ndimage.gaussian_filter(x, 0.8, radius=(1, 2), mode="constant")),
        (Laplacian(), lambda x: scipy.ndimage.laplace(x, mode="constant")),
        (Sobel(), lambda x: np.stack([scipy.ndimage.sobel(x, axis, mode="constant") for axis in (1, 0)], axis=-1)),
    ],
    ids=["Box", "Gaussian", "Gaussian of two sizes", "Laplacian", "Sobel"],
)
def test_agrees_with_scipy(bank, theirs):
    expected = theirs(IMAGE)
    np.testing.assert_allclose(filtered(bank, IMAGE), expected.reshape(*IMAGE.shape, -1), atol=1e-5)


@pytest.mark.parametrize("bank", [Box((3, 2)), Gaussian(5, 0.9), Gaussian(4, 50.0)], ids=repr)
def test_averages_give_a_constant_back(bank):
    np.testing.assert_allclose(np.sum(bank()), 1, rtol=1e-6)
    np.testing.assert_allclose(filtered(bank, np.full((7, 6), 3.5), "VALID"), 3.5, rtol=1e-6)


def test_a_gaussian_at_its_limits():
    np.testing.assert_allclose(Gaussian(3, 1e6)(), np.full((3, 3, 1), 1 / 9), rtol=1e-6)
    delta = np.zeros((3, 3, 1))
    delta[1, 1] = 1
    np.testing.assert_array_equal(Gaussian(3, 1e-3)(), delta)
    np.testing.assert_allclose(Gaussian(2, 1e-3)(), np.full((2, 2, 1), 1 / 4))  # four pixels around the centre


def test_sobel_of_a_ramp_and_its_signs():
    down, right = grid()
    np.testing.assert_array_equal(filtered(Sobel(), right, "VALID"), np.full((5, 4, 2), (8, 0)))
    np.testing.assert_array_equal(filtered(Sobel(), 3 * down - right, "VALID"), np.full((5, 4, 2), (-8, 24)))


def test_laplacian_of_a_quadratic():
    down, right = grid()
    for neighbours, factor in ((4, 1), (8, 3)):
        y = filtered(Laplacian(neighbours), down**2 + right**2, "VALID")
        np.testing.assert_allclose(y, 4 * factor, atol=1e-4)
        ramp = filtered(Laplacian(neighbours), 5 + 2 * down - right, "VALID")
        np.testing.assert_allclose(ramp, 0, atol=1e-4)
        assert Laplacian(neighbours)()[1, 1, 0] == -neighbours


gabors = st.builds(
    Gabor,
    st.tuples(st.integers(3, 9), st.integers(3, 9)),
    st.integers(1, 5),
    st.floats(2.5, 8),
    st.none() | st.floats(0.8, 4),
    st.floats(0.3, 2),
    st.lists(st.floats(-3, 3), min_size=1, max_size=3).map(tuple),
)


@given(gabors)
def test_gabor_follows_its_equation(bank):
    kernels = np.asarray(bank(), np.float64)
    sigma = bank.sigma
    for k in range(kernels.shape[-1]):
        turn = math.pi * (k // len(bank.phases)) / bank.orientations
        phase = bank.phases[k % len(bank.phases)]
        window, wave = np.zeros(bank.size), np.zeros(bank.size)
        for row, column in np.ndindex(*bank.size):
            u, v = row - (bank.size[0] - 1) / 2, column - (bank.size[1] - 1) / 2
            a, b = v * math.cos(turn) + u * math.sin(turn), u * math.cos(turn) - v * math.sin(turn)
            window[row, column] = math.exp(-(a**2 + bank.aspect**2 * b**2) / (2 * sigma**2))
            wave[row, column] = math.cos(2 * math.pi * a / bank.wavelength + phase)
        expected = window * (wave - (window * wave).sum() / window.sum())
        np.testing.assert_allclose(kernels[..., k], expected / np.linalg.norm(expected), atol=1e-4)
    np.testing.assert_allclose(kernels.sum((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose((kernels**2).sum((0, 1)), 1, rtol=1e-5)


def test_gabor_finds_the_direction_of_a_wave_whatever_its_phase():
    bank = Gabor(11, orientations=6, wavelength=4.0)
    u, v = np.mgrid[-10.0:11, -10.0:11]
    energies = []
    for turn in np.pi * np.arange(6) / 6:
        for phase in (0.0, 1.0, 2.0):
            wave = np.cos(2 * np.pi * (v * np.cos(turn) + u * np.sin(turn)) / 4 + phase)
            y = filtered(bank, wave, "VALID")[5, 5].reshape(6, 2)
            energies.append((y**2).sum(axis=-1))
    energies = np.reshape(energies, (6, 3, 6))
    np.testing.assert_array_equal(energies.argmax(-1), np.repeat(np.arange(6)[:, None], 3, axis=1))
    # A bar and an edge together do not see the phase.
    np.testing.assert_allclose(energies.max(-1), energies.max(-1).mean(), rtol=0.15)


def test_gabor_defaults():
    assert Gabor(7).sigma == 0.56 * 4.0
    assert Gabor(7) == Gabor((7, 7), sigma=2.24, phases=[0, np.pi / 2])
    assert Gabor(7, phases=0.5).phases == (0.5,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(0), r"^Box: expected size as a positive int or two of them, got 0\. "),
        (lambda: Gaussian((3,)), r"^Gaussian: expected size as a positive int or two of them, got \(3,\)\. "),
        (lambda: Gaussian(3, 0.0), r"^Gaussian: expected sigma as a number > 0, got 0\.0\. Pass sigma=2\.0"),
        (lambda: Gaussian(3, float("nan")), r"^Gaussian: expected sigma as a number > 0, got nan\. "),
        (lambda: Gaussian(3, "wide"), r"^Gaussian: expected sigma as a number > 0, got 'wide'\. "),
        (lambda: Laplacian(5), r"^Laplacian: expected 4 or 8 neighbours, got 5\. Choose"),
        (lambda: Gabor(2.5), r"^Gabor: expected size as a positive int or two of them, got 2\.5\. "),
        (lambda: Gabor(7, 0), r"^Gabor: expected orientations as a positive int, got 0\. "),
        (lambda: Gabor(7, 2.0), r"^Gabor: expected orientations as a positive int, got 2\.0\. "),
        (lambda: Gabor(7, wavelength=1.5), r"^Gabor: expected a wavelength of at least 2 pixels, got 1\.5\. "),
        (lambda: Gabor(7, wavelength=math.inf), r"^Gabor: expected wavelength as a number > 0, got inf\. "),
        (lambda: Gabor(7, sigma=-1), r"^Gabor: expected sigma as a number > 0, got -1\. "),
        (lambda: Gabor(7, aspect=0), r"^Gabor: expected aspect as a number > 0, got 0\. "),
        (lambda: Gabor(7, phases=()), r"^Gabor: expected phases, got \(\)\. 0 is a bar"),
        (lambda: Gabor(7, phases=(math.nan,)), r"^Gabor: expected phases, got \(nan,\)\. 0 is a bar"),
        (lambda: Gabor(1), r"^Gabor: expected options that leave every kernel something to see, got Gabor\(size=\(1"),
        (lambda: Gabor(4, sigma=1e-3), r"^Gabor: expected options that leave every kernel something to see, got Gabor"),
        (lambda: Gabor((1, 7)), r"^Gabor: expected options that leave every kernel something to see, got .*\. Use a"),
        (lambda: Gabor(3, 1, 2.0), r"^Gabor: expected options that leave every kernel something to see, got .*\. Use"),
    ],
)  # fmt: skip
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# The layer


def test_the_layer_is_the_function():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 6, 5, 3)), jnp.float32)
    layer = MovingSum(Sobel(), stride=(2, 1), padding=1)
    y, state = layer.apply({}, {}, x, train=True)
    np.testing.assert_array_equal(y, F.moving_sum(x, Sobel()(), stride=(2, 1), padding=1))
    assert (layer.init(jax.random.key(0), x), state) == (({}, {}), {})
    assert repr(MovingSum(Sobel())) == "MovingSum(bank=Sobel())"
    assert MovingSum(Box(3), padding=1, stride=2) == MovingSum(Box((3, 3)), padding=((1, 1), (1, 1)), stride=(2, 2))


def test_a_bank_of_ones_own():
    def second_differences():
        return jnp.array([1.0, -2.0, 1.0])[:, None, None]

    layer = MovingSum(second_differences, padding="VALID")
    down, _ = grid()
    y, _ = layer.apply({}, {}, jnp.asarray(down[..., None] ** 2, jnp.float32), train=False)
    np.testing.assert_allclose(y, 2, atol=1e-4)
    assert layer.kernel_size == (3, 1)
    with pytest.raises(ValueError, match=r"^to_json: expected layers and functions that jaxcnn knows"):
        to_json(layer)


def test_the_summary_knows_what_it_sees():
    net = Sequential(blur=MovingSum(Box((3, 5)), stride=2), edges=MovingSum(Sobel()))
    rows = summarize(net, jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)).rows
    assert [row.receptive_field for row in rows] == [(3, 5), (7, 9)]
    assert [row.parameters for row in rows] == [0, 0]
    assert [row.output for row in rows] == [(1, 4, 4, 3), (1, 4, 4, 6)]


def test_the_layer_rejects_what_is_no_bank():
    for bank, got in ((3, "3"), (np.ones((3, 3, 1)), "an array .*"), (Sobel, "Sobel")):
        message = rf"^MovingSum: expected a bank of jaxcnn\.filters, got {got}\. Pass an instance"
        with pytest.raises(TypeError, match=message):
            MovingSum(bank)
    for options in ({"stride": 0}, {"padding": "FULL"}):
        with pytest.raises(ValueError, match=r"^MovingSum: expected (stride|padding)"):
            MovingSum(Sobel(), **options)
