"""Units switched off and held, and what classes lose without them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import training
from jaxcnn.explain import dissection
from jaxcnn.explain.dissection import ablate, class_effects, force
from jaxcnn.explain.dissection.effects import _sums
from jaxcnn.layers import Auxiliary, Conv, Dense, GlobalAvgPool, Sequential
from jaxcnn.surgery import activations
from tests.small_nets import CASES, CLASSES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
AT = {"plain": "act2", "batchnorm": "act2", "residual": "block1/branch/act"}
LABELS = np.array([3, 0, 4, 3])


def outputs(net, case, images):
    return net.apply(case.params, case.state, images, train=False)[0]


def test_ablated_units_give_0_and_the_others_what_they_did(case, images):
    at = AT[case.name]
    _, before = activations(case.net, case.params, case.state, images, [at])
    net = ablate(case.net, at, [2, 0])
    _, after = activations(net, case.params, case.state, images, [at])
    expected = np.array(before[at])
    assert expected[..., [0, 2]].max() > 0
    expected[..., [0, 2]] = 0
    close(after[at], expected)
    assert jax.tree.structure(net.init(jax.random.key(0), images)) == jax.tree.structure((case.params, case.state))


def test_units_are_held_at_a_value(case, images):
    at = AT[case.name]
    _, found = activations(force(case.net, at, 1, 2.5), case.params, case.state, images, [at])
    assert (found[at][..., 1] == 2.5).all()
    assert (found[at][..., 0] != 2.5).any()


def test_one_program_for_all_units_and_values(case, images):
    traces = []

    @jax.jit
    def run(units, value):
        traces.append(None)
        return outputs(force(case.net, AT[case.name], units, value), case, images)

    for units, value in (([1, 3], 0.0), ([0, 5], 1.5)):
        close(
            run(jnp.array(units), value), outputs(force(case.net, AT[case.name], units, value), case, images),
            rtol=1e-4, atol=1e-5,
        )  # fmt: skip
    assert len(traces) == 1
    units = jnp.arange(3)
    found = jax.vmap(lambda unit: outputs(ablate(case.net, AT[case.name], unit), case, images))(units)
    for unit in range(3):
        close(found[unit], outputs(ablate(case.net, AT[case.name], unit), case, images), rtol=1e-4, atol=1e-5)


def test_equal_ablations_are_equal_nets():
    net = CASES["plain"].net
    assert ablate(net, "act1", [1, 2]) == ablate(net, "act1", np.array([1, 2]))
    assert hash(ablate(net, "act1", 1)) == hash(ablate(net, "act1", jnp.array([1])))
    assert ablate(net, "act1", 1) != ablate(net, "act1", 2)
    assert ablate(net, "act1", 1) == force(net, "act1", 1, jnp.float32(0))


def test_effects_are_those_of_each_ablated_net(case, images):
    at = AT[case.name]
    net = (case.net, case.params, case.state)
    data = {"image": np.asarray(images), "label": LABELS}
    found = class_effects(*net, images, LABELS, at=at, batch_size=3)
    logits = np.asarray(case.logits_fn(images))
    right = logits.argmax(1) == LABELS
    assert found.images.tolist() == [1, 0, 0, 2, 1]
    for k in range(CLASSES):
        mine = k == LABELS
        if not mine.any():
            assert np.isnan(found.accuracy[k]) and np.isnan(found.logit_change[:, k]).all()
            continue
        assert found.accuracy[k] == right[mine].mean()
        assert found.logit[k] == pytest.approx(logits[mine, k].mean(), rel=1e-5)
    for unit in range(0, len(found.units), 3):
        without = training.predict(ablate(case.net, at, unit), *net[1:], data)
        own = without[np.arange(4), LABELS]
        for k in (0, 3, 4):
            assert found.logit_without[unit, k] == pytest.approx(own[k == LABELS].mean(), rel=1e-4, abs=1e-5)
            assert found.accuracy_without[unit, k] == (without.argmax(1) == LABELS)[k == LABELS].mean()
        assert found.total[unit] == (without.argmax(1) == LABELS).mean()


def test_units_by_hand_and_sets_of_them():
    net = Sequential(units=lambda x: x, pool=GlobalAvgPool(), head=Dense(2))
    kernel = jnp.array([[1.0, 0], [0, 1], [0, 0]])
    params = {"head": {"kernel": kernel, "bias": jnp.array([0.05, 0.0])}}
    images = np.zeros((4, 2, 2, 3), np.float32)
    images[0] = 0.6, 0.1, 0.0
    images[1] = 0.2, 0.3, 0.0
    images[2:, ..., 1] = 0.5
    labels = np.array([0, 0, 1, 1])
    found = class_effects(net, params, {}, images, labels, at="units")
    close(found.accuracy, [0.5, 1])
    close(found.logit, [0.45, 0.5], rtol=1e-6)
    close(found.accuracy_change, [[-0.5, 0], [0.5, -1], [0, 0]])
    close(found.logit_change, [[-0.4, 0], [0, -0.5], [0, 0]], atol=1e-6)
    close(found.total, [0.5, 0.5, 0.75])
    sets = class_effects(net, params, {}, images, labels, at="units", units=[[0, 1], [2, -1], [-1, -1]])
    close(sets.logit_change, [[-0.4, -0.5], [0, 0], [0, 0]], atol=1e-6)
    held = class_effects(net, params, {}, images, labels, at="units", units=[0], value=1.0)
    close(held.logit_change, [[0.6, 0]], atol=1e-6)
    close(held.accuracy_without, [[1, 0]])


@pytest.mark.slow
def test_units_of_a_layer_without_a_map_and_of_a_net_with_further_heads():
    case = CASES["plain"]
    images = np.asarray(jax.random.uniform(jax.random.key(3), (4, 12, 12, 3)))
    assert class_effects(case.net, case.params, case.state, images, LABELS, at="act3").logit_without.shape == (16, 5)
    net = Auxiliary(
        {"aux": "conv"}, conv=Conv(3), pool=GlobalAvgPool(), head=Dense(CLASSES),
        aux=Sequential(pool=GlobalAvgPool(), head=Dense(CLASSES)),
    )  # fmt: skip
    params, state = net.init(jax.random.key(0), images)
    found = class_effects(net, params, state, images, LABELS, at="conv")
    logits = net.apply(params, state, images, train=False)[0]["logits"]
    assert found.logit[0] == pytest.approx(float(logits[1, 0]), rel=1e-5)


def test_one_trace_for_other_weights_images_and_units():
    net = Sequential(conv=Conv(3), act=F.relu, pool=GlobalAvgPool(), head=Dense(CLASSES))
    before = _sums._cache_size()
    for seed in range(3):
        images = np.asarray(jax.random.uniform(jax.random.key(seed), (4, 8, 8, 3)))
        params, state = net.init(jax.random.key(seed), images)
        class_effects(net, params, state, images, LABELS, at="act", units=[seed, 0], value=float(seed))
    assert _sums._cache_size() == before + 1
    lost = jax.tree.map(lambda p: p * jnp.nan, params)
    with pytest.raises(ValueError, match=r"^class_effects: expected finite logits, got others\. Look at the weights"):
        class_effects(net, lost, state, images, LABELS, at="act", units=[0])


@pytest.mark.parametrize(
    ("units", "error", "message"),
    [
        ([-1], ValueError, r"^ablate: expected units from 0 on, got \[-1\]"),
        ([0.5], TypeError, r"^ablate: expected units as integers, got \[0.5\]"),
        ("act", TypeError, "^ablate: expected units as integers, got 'act'"),
        (None, TypeError, "^ablate: expected units as integers, got None"),
    ],
)
def test_ablate_refuses(units, error, message):
    with pytest.raises(error, match=message):
        ablate(CASES["plain"].net, "act1", units)


def test_ablate_refuses_what_the_layer_has_not(images):
    case = CASES["plain"]
    with pytest.raises(ValueError, match=r"ablate: expected units of a layer with 8, got 8\. They count from 0\."):
        outputs(ablate(case.net, "act1", [8]), case, images)
    with pytest.raises(ValueError, match=r"force: expected units of a layer with 8, got 9\."):
        outputs(force(case.net, "act1", [9], 1.0), case, images)
    with pytest.raises(ValueError, match="expected the path of a layer, got 'act9'"):
        ablate(case.net, "act9", 0)
    with pytest.raises(ValueError, match=r"^force: expected value as a number, got nan"):
        force(case.net, "act1", 0, float("nan"))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": [0, 1, 2, 5]}, ValueError, r"expected labels in 0\.\.4, got 0\.\.5"),
        ({"labels": [0, 1]}, ValueError, r"expected labels of shape \(4,\), got \(2,\)"),
        ({"labels": [0.0, 1, 2, 3]}, TypeError, "expected labels of an integer dtype, got float"),
        ({"units": [8]}, ValueError, r"expected units in 0\.\.7, got 8\.\.8\. -1 is none"),
        ({"units": []}, TypeError, "expected units of an integer dtype"),
        ({"units": np.zeros((0,), int)}, ValueError, r"expected units \(sets,\) or \(sets, n\), got \(0,\)"),
        ({"value": np.inf}, ValueError, "expected value as a number, got inf"),
        ({"at": 3}, TypeError, "expected at as the path of one layer, got 3"),
        ({"images": np.full((4, 12, 12, 3), 2.0)}, ValueError, r"expected images in \[0, 1\]"),
        ({"batch_size": 0}, ValueError, "expected batch_size as a positive int, got 0"),
    ],
)
def test_effects_refuse(changes, error, message):
    case = CASES["plain"]
    options = {"images": np.zeros((4, 12, 12, 3), np.float32), "labels": LABELS, "at": "act1"} | changes
    with pytest.raises(error, match=f"^class_effects: {message}"):
        class_effects(case.net, case.params, case.state, **options)


def test_effects_are_of_classifiers():
    net = Sequential(conv=Conv(3, padding=1))
    images = np.zeros((2, 4, 4, 3), np.float32)
    params, state = net.init(jax.random.key(0), images)
    with pytest.raises(ValueError, match=r"^class_effects: expected a net that gives logits \(N, classes\), got "):
        class_effects(net, params, state, images, [0, 1], at="conv")
    with pytest.raises(ValueError, match="expected the path of a layer, got 'cov'"):
        dissection.class_effects(net, params, state, images, [0, 1], at="cov")
