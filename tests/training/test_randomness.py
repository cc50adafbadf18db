"""What is random in a training: every draw is its own, and the seed and the step decide it, nothing else.

JAX's check of key reuse does not see two `fold_in`s of one key and one number: these tests compare what was drawn.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import fingerprint
from jaxcnn import functional as F
from jaxcnn.layers import (
    BatchNorm,
    Concat,
    Dense,
    DropBlock,
    Dropout,
    DropPath,
    GlobalAvgPool,
    Layer,
    Residual,
    Sequential,
    SpatialDropout,
)
from jaxcnn.training import TrainState, fit, make_train_step, sgd

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 50
SHAPE = (64, 4, 4, 64)  # 64 images and 64 maps: of each kind of layer, a mask has at least 64 draws
KEY = jax.random.key(0)


@dataclass(frozen=True)
class Seen(Layer):
    """The identity, with what came by as its state, as many examples as `init` saw: so the training hands it out."""

    def init(self, key, spec):
        return {}, {"x": jnp.zeros(spec.shape, jnp.float32)}

    def apply(self, params, state, x, *, train, key=None):
        return x, {"x": x[: len(state["x"])]}


def steps_of(net, *, shape=SHAPE, key=KEY, augment=None, count=STEPS):
    """Return the model state after each step of a training on images of ones, stacked."""
    optimizer = sgd(0.1)
    step = make_train_step(net, optimizer, lambda y, _: y.mean((1, 2, 3)), augment=augment)
    state = TrainState.create(net, optimizer, key, jax.ShapeDtypeStruct(shape, jnp.float32))
    batch = {"image": jnp.ones(shape)}

    def one(state, _):
        state, _ = step(state, batch)
        return state, state.model_state

    return jax.jit(lambda state: jax.lax.scan(one, state, None, length=count))(state)[1]


def seen(layer):
    return Sequential(layer=layer, seen=Seen())


def largest_correlation(rows):
    """Return that of any two of the rows, each of which is the draws of one mask."""
    rows = np.asarray(rows, np.float64)
    rows = rows - rows.mean(1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    assert (norms > 0).all()
    between = (rows / norms) @ (rows / norms).T
    return np.abs(between - np.diag(np.diag(between))).max()


def chance(rows):
    """Return a correlation that as many independent rows of as many draws have with odds of one in a million."""
    count, draws = rows.shape
    return np.sqrt(2 * np.log(count * count * 1e6) / draws)


KINDS = {  # the layer, and which of its mask's entries are draws of their own
    "Dropout": (Dropout(0.5), lambda mask: mask),
    "SpatialDropout": (SpatialDropout(0.5), lambda mask: mask[..., :1, :1, :]),
    "DropPath": (DropPath(0.5), lambda mask: mask[..., :1, :1, :1]),
    "DropBlock": (DropBlock(0.5, block_size=1), lambda mask: mask),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_all_layers_and_steps_are_independent(kind):
    """Side by side, one after another, in parts of equal names, and in a residual branch: 5 layers, 50 steps."""
    layer, draws = KINDS[kind]
    net = Concat(
        one=seen(layer),
        two=seen(layer),
        left=Sequential(part=seen(layer)),
        right=Sequential(part=seen(layer)),
        around=Residual(seen(layer)),
    )
    state = steps_of(net)
    masks = np.stack([np.asarray(leaf) != 0 for leaf in jax.tree.leaves(state)])
    assert masks.shape == (5, STEPS, *SHAPE)
    rows = draws(masks).reshape(5 * STEPS, -1)
    assert abs(rows.mean() - 0.5) < 0.02
    assert len(np.unique(rows, axis=0)) == len(rows)
    if rows.shape[1] > 64:  # of so few draws, some of 31,125 pairs are alike
        assert largest_correlation(rows) < chance(rows)
        images = draws(masks)[:2].reshape(2 * STEPS * SHAPE[0], -1)  # the images of a batch have masks of their own
        assert len(np.unique(images, axis=0)) == len(images)


def test_masks_of_different_kinds_are_independent():
    net = Concat(dropout=seen(Dropout(0.5)), block=seen(DropBlock(0.5, block_size=1)))
    rows = np.concatenate([np.asarray(leaf).reshape(STEPS, -1) != 0 for leaf in jax.tree.leaves(steps_of(net))])
    assert largest_correlation(rows) < chance(rows)


def test_layers_one_after_another_are_independent():
    """What the second layer drops is independent of what the first one drops."""
    net = Sequential(drop1=Dropout(0.5), seen1=Seen(), drop2=Dropout(0.5), seen2=Seen())
    first, second = (np.asarray(leaf) != 0 for leaf in jax.tree.leaves(steps_of(net)))
    assert abs(second[first].mean() - 0.5) < 0.01  # were they alike, 1; the opposite, 0
    assert not second[~first].any()


@pytest.mark.slow
def test_names_decide_and_nothing_else():
    """Nets whose layers have other names draw differently; a layer inserted before leaves a named layer's draws."""
    alone = Sequential(first=seen(Dropout(0.5)))
    other = Sequential(second=seen(Dropout(0.5)))
    longer = Sequential(before=seen(Dropout(0.0)), first=seen(Dropout(0.5)))
    one, two, three = (jax.tree.leaves(steps_of(net, count=3))[-1] for net in (alone, other, longer))
    rows = np.concatenate([np.asarray(part).reshape(3, -1) != 0 for part in (one, two)])
    assert largest_correlation(rows) < chance(rows)
    np.testing.assert_array_equal(one, three)


@dataclass(frozen=True)
class Drawing(Layer):
    """Dropout with the very key that the net is given: no name is folded in that could tell two keys apart."""

    def init(self, key, spec):
        return {}, {"image": jnp.zeros(spec.shape, jnp.float32), "mask": jnp.zeros(spec.shape, jnp.float32)}

    def apply(self, params, state, x, *, train, key=None):
        return x, {"image": x, "mask": F.dropout(key, jnp.ones_like(x), 0.5)}


@pytest.mark.slow
def test_augmentation_and_dropout_are_independent():
    """Of the same step and of all others, drawn by one function from the keys that the step hands out."""
    shape = (16, 4, 4, 16)
    state = steps_of(Drawing(), shape=shape, augment=lambda key, batch: {"image": F.dropout(key, batch["image"], 0.5)})
    rows = np.concatenate([np.asarray(state[name]).reshape(STEPS, -1) != 0 for name in ("image", "mask")])
    assert largest_correlation(rows) < chance(rows)
    first, last = (steps_of(Drawing(), shape=shape, key=jax.random.key(seed), count=2)["mask"] for seed in (0, 1))
    assert (np.asarray(first) != np.asarray(last)).mean() > 0.4  # of another seed


# --- fit: (seed, step) alone

NET = Sequential(
    seen0=Seen(),
    drop1=Dropout(0.5),
    seen1=Seen(),
    drop2=Dropout(0.5),
    pool=GlobalAvgPool(),
    norm=BatchNorm(),
    head=Dense(3),
)
EPOCHS = 4


@pytest.fixture(scope="module")
def trained(easy):
    """Return `trained(**options)`: the hash of the state at each epoch, and what the net saw in its last step."""

    def noisy(key, batch):
        return dict(batch, image=batch["image"] + jax.random.uniform(key, batch["image"].shape))

    def run(**options):
        states, inputs = [], []

        def keep(event):
            if event.kind == "epoch":
                states.append(fingerprint(event.state))
                inputs.append(np.asarray(event.state.model_state["seen1"]["x"]))

        defaults = {"epochs": EPOCHS, "batch_size": 12, "optimizer": sgd(0.1), "augment": noisy, "key": KEY}
        callbacks = [*options.pop("callbacks", ()), keep]
        fit(NET, easy, callbacks=callbacks, **(defaults | options))
        return states, inputs

    return run


@pytest.fixture(scope="module")
def plain(trained):
    return trained()


def others_draw(event):
    """A callback that draws random numbers of its own, and reads what it is given."""
    np.random.default_rng().random()
    jax.random.uniform(jax.random.fold_in(KEY, event.step))
    jax.block_until_ready(dict(event.metrics))


VARIANTS = {
    "callbacks": {"callbacks": [others_draw]},
    "validation": {"validation": True},
    "patience": {"validation": True, "patience": EPOCHS + 1, "monitor": "accuracy"},
    "a folder": {"run_dir": True},
    "checkpoint interval of 1": {"run_dir": True, "save_every": 1, "keep": 1},
    "checkpoint interval of 7": {"run_dir": True, "save_every": 7, "keep": 5},
    "fewer epochs": {"epochs": EPOCHS - 2},
    "more epochs": {"epochs": EPOCHS + 1},
    "skip limit": {"skip_limit": 1},
}
QUICK = ("checkpoint interval of 1", "validation", "callbacks", "skip limit")


@pytest.mark.parametrize("variant", [v if v in QUICK else pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS])
def test_options_that_only_watch_change_nothing(variant, trained, plain, easy, tmp_path):
    options = dict(VARIANTS[variant])
    if "validation" in options:
        options["validation"] = easy.take(range(7))
    if "run_dir" in options:
        options["run_dir"] = tmp_path / "run"
    states, _ = trained(**options)
    common = min(len(states), EPOCHS)
    assert common >= EPOCHS - 2
    assert states[:common] == plain[0][:common]


@pytest.mark.slow
def test_metrics_change_no_draw(trained, plain):
    """They change the program, and so the last bit of a sum perhaps, but not what is drawn."""
    _, inputs = trained(metrics={"largest": lambda y, batch: y.max(-1), "least": lambda y, batch: y.min(-1)})
    for one, other in zip(plain[1], inputs, strict=True):
        np.testing.assert_array_equal(one == 0, other == 0)
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.slow
def test_the_seed_changes_everything(trained, plain):
    states, inputs = trained(key=jax.random.key(1))
    assert not set(states) & set(plain[0])
    assert all((one != other).mean() > 0.4 for one, other in zip(plain[1], inputs, strict=True))
    assert len(set(plain[0])) == EPOCHS
