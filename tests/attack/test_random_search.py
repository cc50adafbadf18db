"""Random search: what it finds is what asking one proposal after the other finds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.goal import Goal
from jaxcnn.attack.objective import negative_margin
from jaxcnn.attack.random_search import asking, first_look, in_rows, random_search

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
PLACES = 9


def logits_fn(x):
    """Two classes, so that the objective is 2 sum x - 4, and the goal is reached above 0."""
    total = x.reshape(*x.shape[:-3], PLACES).sum(-1) - 2
    return jnp.stack([-total, total], -1)


def proposals(steps):
    """Return proposals that do not depend on the key: turn t of an image adds a step of its own, steps[t] * x[0]."""
    return lambda key, x, image, turn: image + (jnp.asarray(steps)[turn] * x[..., 0, 0, 0])[..., None, None, None]


def one_by_one(x, steps, queries, stride):
    """Return the image, its queries and its next turn, in NumPy."""
    image, asked, turn, value = np.array(x), 1, 0, 2 * float(x.sum()) - 4
    while value <= 0 and asked < queries:
        moved = (image + np.float32(steps[turn] * x[0, 0, 0])).astype(np.float32)
        asked += 1
        new = 2 * float(moved.sum()) - 4
        if new > value:
            image, value, turn = moved, new, (turn // stride + 1) * stride
        else:
            turn += 1
    return image, asked, turn


@pytest.mark.parametrize(
    ("lead", "stride"),
    [
        ((1,), 1),
        ((7,), 3),
        ((2, 5), 2),
        *(
            pytest.param(lead, stride, marks=pytest.mark.slow)
            for lead, strides in (((1,), (2, 3)), ((7,), (1, 2)), ((2, 5), (1, 3)))
            for stride in strides
        ),
    ],
)
def test_finds_what_asking_one_by_one_finds(lead, stride):
    draw = np.random.default_rng(stride)
    means = np.linspace(0.04, 0.26, math.prod(lead)).reshape(*lead, 1, 1, 1)  # some reach their goal as they are
    x = (means + draw.uniform(-0.04, 0.04, (*lead, 3, 3, 1))).astype(np.float32)
    steps = np.where(draw.uniform(size=200) < 0.8, -0.05, 0.05).astype(np.float32)
    queries = 60
    goal = Goal(jnp.zeros(lead, jnp.int32))
    given = in_rows(jnp.asarray(x), goal)
    ask = asking(logits_fn, jnp.asarray(x), negative_margin)
    start = first_look(ask, given.x, given.goal)
    found = jax.jit(
        lambda given, start: random_search(KEY, ask, proposals(steps), given, start, queries, stride=stride)
    )(given, start)
    expected = [one_by_one(image, steps, queries, stride) for image in x.reshape(-1, 3, 3, 1)]
    images, asked, turns = (np.stack(each) for each in zip(*expected, strict=True))
    np.testing.assert_allclose(found.image.reshape(images.shape), images, rtol=1e-5)
    np.testing.assert_array_equal(found.queries.reshape(-1), asked)
    np.testing.assert_array_equal(found.turn.reshape(-1), turns)
    np.testing.assert_array_equal(found.reached.reshape(-1), 2 * images.sum((1, 2, 3)) > 4)
    if lead != (1,):
        assert len(set(asked)) > 2  # some fell at once, some soon, some never


@pytest.mark.slow
def test_the_last_image_is_asked_a_whole_batch_at_once():
    steps, calls = jnp.zeros(1000), []  # nothing ever helps

    def counting(x):
        jax.debug.callback(lambda: calls.append(1))
        return logits_fn(x)

    x = jnp.full((8, 3, 3, 1), 0.3).at[3].set(0.1)
    given = in_rows(x, Goal(jnp.zeros(8, jnp.int32)))
    ask = asking(counting, x, negative_margin)
    start = first_look(ask, given.x, given.goal)
    found = random_search(KEY, ask, proposals(steps), given, start, 81)
    jax.block_until_ready(found)
    np.testing.assert_array_equal(found.queries[0], [1, 1, 1, 81, 1, 1, 1, 1])
    assert len(calls) == 1 + 80 // 8


def test_nan_is_never_better():
    x = jnp.full((1, 3, 3, 1), 0.1)
    given = in_rows(x, Goal(jnp.zeros(1, jnp.int32)))
    broken = lambda x: logits_fn(jnp.where(x > 0.115, jnp.nan, x))  # noqa: E731
    ask = asking(broken, x, negative_margin)
    start = first_look(ask, given.x, given.goal)
    steps = jnp.tile(jnp.asarray([0.1, 0.5]), 20)
    found = random_search(KEY, ask, proposals(steps), given, start, 10)
    assert not found.reached.any()
    np.testing.assert_allclose(found.image, 0.11 * jnp.ones((1, 1, 3, 3, 1)), rtol=1e-5)


@pytest.mark.parametrize("name", ["square", "simba"])
def test_counts_are_int32_whatever_the_default(name):
    """What a loop carries keeps its type: a cumulative sum of bools is int64 where that is the default."""
    x = np.linspace(0.1, 0.4, 3 * PLACES, dtype=np.float32).reshape(3, 3, 3, 1)
    options = {"epsilon": 0.2, "queries": 6, "norm": "linf", "return_queries": True}
    options |= {"basis": "pixel"} if name == "simba" else {}
    run = getattr(attack, name)
    images, asked = run(KEY, logits_fn, x, 0, **options)
    with jax.enable_x64(True):
        found, wide_asked = run(jax.random.key(0), logits_fn, jnp.asarray(x), 0, **options)
        assert (found.dtype, wide_asked.dtype) == (jnp.float32, jnp.int32)
    assert (np.abs(found - x).max((1, 2, 3)) <= 0.2 + 1e-6).all()
    assert images.shape == found.shape
    assert asked.shape == wide_asked.shape
