"""The best of several images: what reaches the goal goes before what does not."""

import jax.numpy as jnp
import pytest

from jaxcnn.attack.best import Best, best_of, better


def best(*rows):
    value, reached = zip(*rows, strict=True)
    image = jnp.arange(len(rows), dtype=jnp.float32)[:, None, None, None, None]
    return Best(image, jnp.array(value)[:, None], jnp.array(reached)[:, None], jnp.array([True] * len(rows)))


@pytest.mark.parametrize(
    ("rows", "at"),
    [
        ([(1.0, False), (0.0, True)], 1),
        ([(1.0, False), (2.0, False)], 1),
        ([(1.0, True), (2.0, True), (9.0, False)], 1),
        ([(5.0, False), (-jnp.inf, True)], 1),  # an objective that is not finite, as `met` leaves it
    ],
)
def test_the_best_of_several(rows, at):
    several = best(*rows)
    found = best_of(several)
    assert found.image.ravel().tolist() == [at]
    assert found.reached.tolist() == [any(reached for _, reached in rows)]
    first, *others = (Best(*(leaf[n] for leaf in several)) for n in range(len(rows)))
    for other in others:
        first = better(first, other)
    assert first.image.ravel().tolist() == [at]
