"""Random numbers of few bits: those of the words they are cut from, and their distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcnn.functional.primitives.random_bits import random_bits, random_halves

KEY = jax.random.key(3)


@pytest.mark.parametrize(("dtype", "words"), [(jnp.uint8, 4), (jnp.uint16, 8)])
def test_bits_are_those_of_the_words_one_after_another(dtype, words):
    found = random_bits(KEY, dtype, (3, 5))
    drawn = np.asarray(jax.random.bits(KEY, (words,)))
    np.testing.assert_array_equal(found, drawn.view(dtype)[:15].reshape(3, 5))
    assert found.dtype == dtype


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("draw", [random_bits, lambda key, dtype, shape: random_halves(key, shape)])
def test_words_have_32_bits_in_double_precision_too(impl, draw):
    key = jax.random.key(3, impl=impl)
    expected = draw(key, jnp.uint16, (3, 5))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(draw(key, jnp.uint16, (3, 5)), expected)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_halves_are_those_of_as_few_words_as_hold_them(impl):
    key = jax.random.key(3, impl=impl)
    found = np.asarray(random_halves(key, (3, 5)))
    if impl == "rbg":
        drawn = np.asarray(jax.random.bits(key, (8,)))
    else:  # blocks of two words
        drawn = np.asarray(jax.random.key_data(jax.random.split(key, 4)))
        assert drawn.shape == (4, 2)
    np.testing.assert_array_equal(found, drawn.view(np.uint16).ravel()[:15].reshape(3, 5))


def test_no_more_is_drawn_than_holds_them():
    bits = jax.make_jaxpr(lambda key: random_bits(key, jnp.uint16, (3, 5)))(KEY)
    assert [eqn.params["shape"] for eqn in bits.eqns if eqn.primitive.name == "random_bits"] == [(8,)]
    halves = jax.make_jaxpr(lambda key: random_halves(key, (3, 5)))(KEY)
    assert [eqn.params["shape"] for eqn in halves.eqns if eqn.primitive.name == "random_split"] == [(4,)]


@pytest.mark.parametrize("draw", [random_halves, lambda key, shape: random_bits(key, jnp.uint16, shape)])
def test_halves_are_uniform_and_none_is_like_its_neighbour(draw):
    found = np.asarray(draw(KEY, (2**16 + 1,)), np.float64) / 65536
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.02
    assert abs(np.corrcoef(found[2:], found[:-2])[0, 1]) < 0.02


def test_no_numbers_are_no_numbers():
    assert random_bits(KEY, jnp.uint8, (0, 3)).shape == random_halves(KEY, (3, 0)).T.shape == (0, 3)
