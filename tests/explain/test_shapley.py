"""Shapley values of patches: games whose values are known, efficiency, and beside captum."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import attribution
from jaxcnn.explain.attribution.shapley import _numbers, _places
from tests.explain.peers import captum
from tests.small_nets import CASES
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(3)
ONES = jnp.ones((1, 4, 1))  # four players


def game(value):
    """Return the logits of a game: value of who is there, (..., 4) -> (...)."""
    return lambda x: value(x[..., 0, :, 0])[..., None]


def shapley_values(value, players):
    """Return what everyone brings on average over all orders."""
    phi = np.zeros(players)
    orders = list(itertools.permutations(range(players)))
    for order in orders:
        there = np.zeros(players)
        before = float(value(there))
        for player in order:
            there[player] = 1
            phi[player] += float(value(there)) - before
            before = float(value(there))
    return phi / len(orders)


def found(value, **options):
    return attribution.shapley_sampling(KEY, game(value), ONES, 0, patch=1, **options)[0, :, 0]


@pytest.mark.slow
def test_games_without_and_with_pairs():
    weights = jnp.array([1.0, -2.0, 3.0, 0.5])
    close(found(lambda there: (weights * there).sum(-1), permutations=1), weights, rtol=1e-6)
    pairs = lambda there: 4 * there[..., 0] * there[..., 1] - 6 * there[..., 2] * there[..., 3]  # noqa: E731
    close(found(pairs, permutations=2), [2, 2, -3, -3], rtol=1e-6)


def test_a_game_of_three():
    trio = lambda there: there[..., :3].prod(-1) + there[..., 3]  # noqa: E731
    expected = shapley_values(trio, 4)
    close(expected, [1 / 3, 1 / 3, 1 / 3, 1])
    close(found(trio, permutations=3000), expected, atol=0.02)
    values = found(trio, permutations=4)
    close(values.sum(), 2, rtol=1e-6)  # whatever the orders


def test_every_second_order_is_backwards():
    places = _places(KEY, 6, 5)
    assert places.shape == (5, 6)
    assert (np.sort(places, 1) == np.arange(6)).all()
    close(places[0] + places[1], 5)
    close(places[2] + places[3], 5)
    assert len({tuple(row.tolist()) for row in places}) == 5


def test_patches_at_the_end_may_be_smaller():
    assert _numbers((3, 5), (2, 3)).tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [2, 2, 2, 3, 3]]
    x = jnp.arange(1.0, 31.0).reshape(3, 5, 2)
    maps = attribution.shapley_sampling(KEY, lambda x: x.sum((-3, -2, -1))[..., None], x, 0, patch=(2, 3))
    mean = lambda part: np.broadcast_to(part.mean(), part.shape)  # noqa: E731
    for rows in (slice(2), slice(2, 3)):
        for columns in (slice(3), slice(3, 5)):
            close(maps[rows, columns], mean(x[rows, columns]), rtol=1e-5)


@pytest.mark.slow
def test_nets_values_sum_to_the_difference(images, targets):
    case = CASES["residual"]
    base = 0.3
    maps = attribution.shapley_sampling(KEY, case.logits_fn, images, targets, patch=5, baseline=base, permutations=3)
    assert attribution.completeness_error(case.logits_fn, images, targets, maps, baseline=base).max() < 1e-3


def test_one_patch_has_it_all(images):
    case = CASES["plain"]
    maps = attribution.shapley_sampling(KEY, case.logits_fn, images, 1, patch=12, permutations=2)
    difference = case.logits_fn(images)[:, 1] - case.logits_fn(jnp.zeros_like(images))[:, 1]
    close(maps.sum((1, 2, 3)), difference, rtol=1e-4, atol=1e-6)


def test_refuses(images):
    case = CASES["plain"]
    with pytest.raises(ValueError, match=r"^shapley_sampling: expected patch as an int .* \(12, 12\), got 13\."):
        attribution.shapley_sampling(KEY, case.logits_fn, images, 1, patch=13)
    with pytest.raises(ValueError, match=r"^shapley_sampling: expected permutations as a positive int, got 0\."):
        attribution.shapley_sampling(KEY, case.logits_fn, images, 1, permutations=0)


def test_like_captum_with_the_same_orders(case, images, targets):
    attr, net = captum().attr, twin(case.name)
    import torch

    patch, permutations = 5, 3
    numbers = _numbers((12, 12), (patch, patch))
    orders = np.argsort(_places(KEY, numbers.max() + 1, permutations), axis=1)
    sampling = attr.ShapleyValueSampling(net)
    sampling.permutation_generator = lambda *_: iter(orders.tolist())
    theirs = sampling.attribute(
        tensor(images),
        baselines=0.3,
        target=torch.tensor(np.asarray(targets)).long(),
        feature_mask=torch.tensor(numbers)[None, None],
        n_samples=permutations,
        perturbations_per_eval=2,
    )
    theirs = array(theirs) / np.bincount(numbers.ravel())[numbers][..., None] / 3
    ours = attribution.shapley_sampling(
        KEY, case.logits_fn, images, targets, patch=patch, baseline=0.3, permutations=permutations
    )
    close(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
