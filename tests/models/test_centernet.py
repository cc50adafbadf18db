"""The detector: what it is made of, that it starts as the paper says, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import detection, models
from jaxcnn.layers import Sequential, from_json, to_json
from jaxcnn.models.vgg import vgg
from tests.models.measures import deviations

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = models.centernet(3, backbone=models.resnet(10, width=4, small_images=True), skips=2, width=8)


def spec(size, batch=1):
    return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)


@pytest.mark.slow
def test_cells_of_4_pixels_as_in_the_paper():
    net = models.centernet()
    params, state = jax.eval_shape(net.init, jax.random.key(0), spec(128))
    outputs = jax.eval_shape(lambda p, s, x: net.apply(p, s, x, train=False)[0], params, state, spec(128))
    assert outputs.shape == (1, 32, 32, 84)
    assert list(net.layers) == ["stem", "stage1", "fuse", "head"]


def test_what_is_enlarged_is_added_to_the_stage_before():
    assert list(SMALL.layers) == ["stem", "stage1", "stage2", "fuse", "head"]
    assert list(SMALL["fuse"].branch.layers) == ["stage3", "fuse", "act", "up", "norm"]
    assert list(SMALL["fuse"].branch["fuse"].branch.layers) == ["stage4", "lateral", "act", "up", "norm"]
    plain = models.centernet(2, backbone=vgg(11, width=4), skips=0, width=8)
    assert list(plain.layers)[-3:] == ["stage5", "lateral", "head"]


@pytest.mark.slow
def test_every_cell_is_a_centre_with_probability_a_tenth_at_the_start():
    params, state = jax.jit(lambda key: SMALL.init(key, spec(32)))(jax.random.key(0))
    outputs, _ = SMALL.apply(params, state, jax.random.uniform(jax.random.key(1), (2, 32, 32, 3)), train=False)
    np.testing.assert_allclose(jax.nn.sigmoid(outputs[..., :3]), 0.1, atol=0.02)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = {path: sd for path, sd in deviations(SMALL, size=32).items() if not path.startswith("head/")}
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


def test_it_is_a_value():
    assert from_json(to_json(SMALL)) == SMALL


@pytest.mark.slow
def test_it_finds_what_it_was_shown():
    """Two images by heart: a bright box in each, of another class."""
    boxes = jnp.array([[[3.0, 9, 20, 24]], [[11, 2, 28, 15]]])  # centres off the grid
    kinds = jnp.array([[0], [2]])
    rows = jnp.arange(32)
    inside = [(rows[:, None] >= b[1]) & (rows[:, None] < b[3]) & (rows >= b[0]) & (rows < b[2]) for b in boxes[:, 0]]
    image = jnp.stack(inside)[..., None] * jnp.array([1.0, 0.5, 0.2])
    batch, loss, optimizer = {"boxes": boxes, "box_class": kinds}, detection.centre_loss(4), optax.adam(1e-2)
    params, state = jax.jit(lambda key: SMALL.init(key, spec(32)))(jax.random.key(0))

    def step(carry, _):
        params, state, slots = carry

        def mean(params):
            outputs, new = SMALL.apply(params, state, image, train=True)
            return loss(outputs, batch).mean(), new

        slope, state = jax.grad(mean, has_aux=True)(params)
        updates, slots = optimizer.update(slope, slots)
        return (optax.apply_updates(params, updates), state, slots), None

    learn = jax.jit(lambda carry: jax.lax.scan(step, carry, length=120)[0])
    params, state, _ = learn((params, state, optimizer.init(params)))
    found = detection.decode(SMALL.apply(params, state, image, train=True)[0], stride=4, limit=1)
    assert found.label[:, 0].tolist() == [0, 2]
    overlaps = jax.vmap(detection.intersection_over_union)(found.boxes, boxes)
    assert overlaps.min() > 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"num_classes as a positive int, got 0\."),
        ({"backbone": "vgg16"}, r"backbone as a Sequential, got 'vgg16'\. Pass"),
        ({"skips": 4}, r"skips, fewer than the 4 stages \['stage1', .*\], got 4\. 3 is the paper's\."),
        ({"backbone": Sequential()}, r'a backbone with parts called "stage1", "stage2", got '),
        ({"width": -1}, r"width as a positive int, got -1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=rf"^centernet: expected {message}"):
        models.centernet(**options)
