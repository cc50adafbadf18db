"""A narrow net inside of the widest is exactly the narrow net; the choice of the width is the rule's."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, initializers, matching
from jaxcnn import functional as F
from jaxcnn.data.splitting import fold_of
from jaxcnn.layers import (
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    MaxPool,
    Residual,
    Sequential,
)
from jaxcnn.layers.layer import named_leaves
from jaxcnn.search import cross_validate
from jaxcnn.search.cross_validation import _errors, _narrowest, _shortened
from jaxcnn.search.lane import _only
from jaxcnn.search.width import inside_the_widest
from jaxcnn.training import TrainState, evaluate, fit, make_train_step, predictor, sgd, warmup_cosine
from tests.search.test_restarts import small_set

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)
X = jax.random.uniform(KEY, (4, 6, 6, 2))
SPEC = jax.ShapeDtypeStruct(X.shape, X.dtype)
LABEL = jnp.arange(4) % 3


def sigmoids(width):
    return Sequential(
        flatten=Flatten(), one=Dense(width), a=F.sigmoid, two=Dense(2 * width), b=F.sigmoid, head=Dense(3)
    )


def flattened(width):
    """The inputs of `hidden` are the maps of all pixels, one pixel after another; `norm` has statistics."""
    return Sequential(
        conv=Conv(width), norm=BatchNorm(), act=F.relu, pool=MaxPool(2), flat=Flatten(), hidden=Dense(4), head=Dense(3)
    )


def both(width):
    front = Sequential(conv=Conv(width), pool=MaxPool(3), flat=Flatten())
    return Sequential(front=front, hidden=Dense(2 * width), act=F.tanh, head=Dense(3))


def residual(width):
    branch = Sequential(a=DepthwiseConv(), b=Conv(width), act=F.relu, c=Conv(width, 1))
    return Sequential(stem=Conv(width), block=Residual(branch), pool=GlobalAvgPool(), head=Dense(3))


@pytest.mark.slow
@pytest.mark.parametrize("make", [sigmoids, flattened, residual, both])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_a_masked_net_is_exactly_the_narrow_net(make, width):
    narrow = inside_the_widest("cross_validate", make, (width, 8), SPEC)[0]
    params, state = narrow.net.init(KEY, SPEC)
    optimizer = sgd(0.1, weight_decay=0.01)
    batch = {"image": X, "label": LABEL}

    def three_steps(net, start, optimizer):
        begun = TrainState.create(net, optimizer, KEY, SPEC, start=start)
        step = jax.jit(make_train_step(net, optimizer))
        for _ in range(3):
            begun, measured = step(begun, batch)
        return begun, measured["loss"]

    live = narrow.live()
    wide, wide_loss = three_steps(narrow.wider, narrow.put(params, state), optax.chain(_only(live), optimizer))
    alone, loss = three_steps(narrow.net, (params, state), optimizer)
    np.testing.assert_allclose(wide_loss, loss, rtol=1e-5)
    inside = narrow.put(alone.params, alone.model_state)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path((wide.params, wide.model_state)), jax.tree.leaves(inside), strict=True
    ):
        if "mean" not in str(path) and "var" not in str(path):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6, err_msg=str(path))
    own = named_leaves(alone.model_state)
    for name, leaf in named_leaves(wide.model_state).items():  # of what is masked they are what zeros give
        np.testing.assert_allclose(leaf[np.ix_(*narrow.places[name])], own[name], rtol=2e-4, atol=2e-6, err_msg=name)
    for leaf, there in zip(jax.tree.leaves(wide.params), jax.tree.leaves(live), strict=True):
        assert not leaf[~there].any()  # what is masked never moves
    there = sum(int(leaf.sum()) for leaf in jax.tree.leaves(live))
    assert there == sum(leaf.size for leaf in jax.tree.leaves(params))


def mlp(width):
    return Sequential(flatten=Flatten(), hidden=Dense(width), act=F.tanh, head=Dense(3))


@pytest.fixture(scope="module")
def found():
    return cross_validate(
        mlp, small_set(37), widths=(1, 4, 2), folds=3, restarts=2, epochs=4, batch_size=6, monitor="accuracy", key=KEY
    )


def test_each_lane_is_the_training_of_its_net_on_its_fold(found):
    train = small_set(37)  # folds of 12 and 13: of the smaller ones the validation part is padded
    fold = fold_of("cross_validate", train, 3, key=jax.random.split(KEY, 3)[0])
    assert sorted(np.bincount(fold).tolist()) == [12, 12, 13]
    held, lane = 1, (2 * 3 + 1) * 2 + 1  # of width 2, which is the third, the second fold and the second restart
    assert np.bincount(fold)[held] == 12
    alone = fit(
        mlp(2),
        train.take(np.flatnonzero(fold != held)[:24]),
        validation=train.take(fold == held),
        epochs=4,
        batch_size=6,
        key=found.lanes.keys[lane],
        optimizer=sgd(warmup_cosine(0.05, 16)),
    )
    for name in ("validation_loss", "train_loss"):
        np.testing.assert_allclose(found.lanes.history[-1][name][lane], alone.history[-1][name], rtol=1e-4)
    net, params, state = found.trained(2, held, restart=1)  # cut to its width, it is a net like any other
    assert net == mlp(2)
    x = train["image"][:5] / np.float32(255)
    narrow = predictor(net, params, state)(x)
    wide = found.lanes.state(lane)
    np.testing.assert_allclose(narrow, predictor(mlp(4), wide.params, wide.model_state)(x), rtol=1e-5, atol=1e-6)


def test_a_training_that_is_given_back_is_the_one_that_was_judged(found):
    """Not that of its best epoch: what is held out does not choose."""
    train = small_set(37)
    fold = fold_of("cross_validate", train, 3, key=jax.random.split(KEY, 3)[0])
    for lane, (at, held, restart) in enumerate(np.ndindex(3, 3, 2)):
        net = found.trained(found.widths[at], held, restart)
        own = evaluate(*net, train.take(fold == held))["loss"]
        np.testing.assert_allclose(found.lanes.history[-1]["validation_loss"][lane], own, rtol=1e-4)


def test_folds_that_are_compared_within_are_not_padded():
    train, loss, options = small_set(13), matching.pair_loss(), {"epochs": 1, "batch_size": 4, "refit": False}
    found = cross_validate(mlp, train, widths=(2,), folds=3, loss=loss, key=KEY, **options)
    fold = fold_of("cross_validate", train, 3, key=jax.random.split(KEY, 3)[0])
    assert sorted(np.bincount(fold).tolist()) == [4, 4, 5]
    for held in range(3):
        four = train.take(np.flatnonzero(fold == held)[:4])
        expected = evaluate(*found.trained(2, held), four, loss=loss)["loss"]
        np.testing.assert_allclose(found.errors[0, held], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 0), r"width in \(1, 4, 2\), got 3"),
        ((2, 3), r"fold in 0\.\.2, got 3"),
        ((2, 0, 2), r"restart in 0\.\.1, got 2"),
    ],
)
def test_a_training_that_is_not_there(found, arguments, message):
    with pytest.raises(ValueError, match=rf"^trained: expected {message}\."):
        found.trained(*arguments)


def test_as_a_text_it_is_its_table(found):
    head, *rows = str(found).splitlines()
    assert head.strip() == "width  1 - accuracy, mean of 3 folds ± standard error"
    for row, width, mean, error in zip(rows, (1, 4, 2), found.means, found.standard_errors, strict=True):
        assert row.split()[:4] == [str(width), f"{mean:.4f}", "±", f"{error:.4f}"]
        assert row.endswith(f"chosen: the narrowest up to {found.bound:.4f}") == (width == found.width)


def test_the_error_is_that_of_the_restart_with_the_lowest_training_loss(found):
    last = found.lanes.history[-1]
    loss = last["train_loss"].reshape(3, 3, 2)
    error = 1 - last["validation_accuracy"].reshape(3, 3, 2)
    expected = [[error[w, f, loss[w, f].argmin()] for f in range(3)] for w in range(3)]
    np.testing.assert_allclose(found.errors, expected)
    np.testing.assert_allclose(found.means, np.mean(expected, axis=1))
    np.testing.assert_allclose(found.standard_errors, np.std(expected, axis=1, ddof=1) / np.sqrt(3))
    rows = found.table()
    assert [row["width"] for row in rows] == [1, 4, 2]
    assert [row["width"] for row in rows if row["chosen"]] == [found.width]


def test_what_is_said_of_a_lane_is_of_the_state_that_it_gives(found):
    np.testing.assert_allclose(found.lanes.values, -found.lanes.history[-1]["validation_accuracy"])
    assert (found.lanes.best_epochs == 4).all()


def test_the_choice_is_trained_again_on_all_data(found):
    assert found.refit.net() == mlp(found.width)
    assert found.refit.train.size == 37
    assert int(found.refit.state(0).step) == 4 * (37 // 6)
    # As `random_restarts` draws them.
    expected = jax.random.split(jax.random.split(jax.random.split(KEY, 3)[2])[1], 2)
    np.testing.assert_array_equal(*map(jax.random.key_data, (found.refit.keys, expected)))


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ([[0.5, 0.5, 0.5], [0.2, 0.2, 0.2], [0.1, 0.1, 0.1]], 4),  # no spread: the lowest mean
        ([[0.3, 0.3, 0.3], [0.2, 0.1, 0.3], [0.0, 0.1, 0.4]], 2),  # 0.2 is within 0.17 + 0.12, 0.3 is not
        ([[0.28, 0.28, 0.28], [0.2, 0.1, 0.3], [0.0, 0.1, 0.4]], 1),
        ([[0.1, 0.1, np.nan], [0.3, 0.3, 0.3], [0.2, 0.2, 0.2]], 4),  # a fold that diverged
    ],
)
def test_the_rule_of_one_standard_error(errors, chosen):
    assert _narrowest((1, 2, 4), np.asarray(errors)) == chosen


def test_widths_that_all_diverge():
    with pytest.raises(FloatingPointError, match=r"^cross_validate: expected a width whose lanes train"):
        _narrowest((1, 2), np.full((2, 3), np.nan))


def differing(width):
    return Sequential(conv=Conv(4), **{f"more{number}": Conv(4) for number in range(width)}, head=Dense(3))


def grouped(width):
    return Sequential(conv=Conv(2 * width), norm=GroupNorm(2), pool=GlobalAvgPool(), head=Dense(3))


MISTAKES = {
    r"widths as positive ints, got \(0, 4\)\.": {"widths": (0, 4)},
    r"widths as positive ints, got \(\)\.": {"widths": ()},
    r"folds in 2\.\.36, got 37\.": {"folds": 37},
    r"folds in 2\.\.36, got 1\.": {"folds": 1},
    r"restarts as a positive int, got 0\.": {"restarts": 0},
    r"no validation and no patience, got \['patience'\]\.": {"patience": 3},
    r"a batch_size of at most the 24 training examples, got 30\.": {"batch_size": 30},
    r"net as a function of width, got Sequential": {"net": mlp(3)},
    r"the layers \['conv', .*'head'\] at every width, got ": {"net": differing},
    r"a net that is the same function inside of the widest, width 1, got other outputs\.": {"net": grouped},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_bad_input(message):
    options = {"net": mlp, "widths": (1, 2), "folds": 3, "epochs": 1, "batch_size": 6, "key": KEY} | MISTAKES[message]
    with pytest.raises((ValueError, TypeError), match=f"^cross_validate: expected {message}"):
        cross_validate(options.pop("net"), small_set(36), **options)


def test_zeros_do_not_hide_that_a_narrow_net_is_another_function():
    def net(width):
        head = Dense(3, kernel_init=initializers.zeros)
        return Sequential(conv=Conv(2 * width), norm=GroupNorm(2), pool=GlobalAvgPool(), head=head)

    with pytest.raises(ValueError, match=r"the same function inside of the widest, width 1, got other outputs\."):
        cross_validate(net, small_set(36), widths=(1, 3), folds=3, epochs=1, batch_size=6, key=KEY)


@pytest.mark.slow
def test_a_norm_takes_the_units_that_it_is_given_flattened_ones_too():
    def net(width):
        return Sequential(conv=Conv(width), flatten=Flatten(), norm=BatchNorm(), act=F.relu, head=Dense(3))

    narrow = inside_the_widest("cross_validate", net, (2, 5), SPEC)[0]
    assert len(narrow.places["norm/scale"][0]) == 2 * SPEC.shape[1] * SPEC.shape[2]


def test_a_restart_without_a_training_loss_does_not_count(found):
    last = {name: value.copy() for name, value in found.lanes.history[-1].items()}
    last["train_loss"][::2] = np.nan
    changed = replace(found.lanes, history=[last])
    errors = _errors(changed, "accuracy", (3, 3, 2))
    np.testing.assert_allclose(errors, 1 - last["validation_accuracy"].reshape(3, 3, 2)[..., 1])


def test_a_class_that_a_fold_would_lack():
    lonely = data.from_arrays(np.zeros((7, 4, 4, 1), np.uint8), np.array([0, 0, 0, 1, 1, 1, 2]))
    message = (
        r"^cross_validate: expected every class in the training part of every fold, got none of \['2'\] in that of "
    )
    with pytest.raises(ValueError, match=message + r"fold \d\. Leave out classes with a single example\.$"):
        cross_validate(mlp, lonely, widths=(1, 2), folds=3, batch_size=2, key=KEY)


def test_a_training_part_is_shortened_by_what_its_class_has_more_of():
    label = np.array([0, 0, 0, 1, 2, 1, 2])
    assert _shortened(np.array([0, 1, 3, 4, 5]), label, 3).tolist() == [0, 3, 4]  # never by the only 2
    assert _shortened(np.array([0, 1, 3]), label, 3).tolist() == [0, 1, 3]
