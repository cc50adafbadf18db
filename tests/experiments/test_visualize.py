"""The experiment that looks into a net: which layers and units it shows, how it measures, and what it says."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from experiments import visualize
from experiments.apparatus.layer_views import PIXELS, behind_activations, one_a_class, selective, space
from experiments.apparatus.trained import Trained
from experiments.visualize import Config, of_different_classes
from jaxcnn import data, models
from jaxcnn import functional as F
from jaxcnn.explain import inside
from jaxcnn.layers import Conv, Dense, Flatten, MaxPool, Normalize, Sequential

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
KEY = jax.random.key(0)
NET = Sequential(
    normalize=Normalize((0.3,), (0.4,)), conv1=Conv(6), act1=F.relu, pool=MaxPool(2), conv2=Conv(8), act2=F.tanh,
    flatten=Flatten(), fc=Dense(12), act3=F.relu, head=Dense(10),
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A net for digits that was not trained."""
    spec = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
    params, state = NET.init(KEY, spec)
    path = tmp_path_factory.mktemp("model") / "net.safetensors"
    jaxcnn.save(path, NET, params, state, spec=spec)
    return str(path)


@pytest.fixture(scope="module")
def measured():
    """What a quick run measures, kept for the tests of what it makes of it."""
    return {}


@pytest.fixture(scope="module")
def result(file, measured):
    with pytest.MonkeyPatch.context() as patch:

        def kept(name, measure, *given):
            measured[name], measured["sets"] = measure(*given), given[1:3]
            return measured[name]

        for name in ("units_of", "spaces_of"):
            patch.setattr(visualize, name, functools.partial(kept, name, getattr(visualize, name)))
        return visualize.main(Config(source=file, quick=True))


@pytest.mark.slow  # CI runs it in the course
def test_a_quick_run_and_its_record(result):
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["layers"]) == [PIXELS, "act1", "act2", "act3"]
    assert figures["layers"]["act1"]["receptive_field"] == [3, 3]
    assert figures["layers"]["act2"] | {"units": 8, "height": 4, "width": 4} == figures["layers"]["act2"]
    assert figures["layers"]["act3"]["receptive_field"] is None
    assert all(0 <= row["accuracy"] <= 1 and -1 <= row["silhouette"] <= 1 for row in figures["layers"].values())
    assert result.holds
    assert result.verdict.startswith("not judged: classes lie ")
    titles = [section.title for section in result.pictures]
    assert titles == [
        "From pixels to classes",
        "Filters and activations",
        "act1",
        "act2",
        "act3",
        "Nearest training images",
    ]
    table = result.pictures[0].blocks[1].rows
    assert [row["layer"] for row in table] == [PIXELS, "act1", "act2", "act3"]
    assert table[1] | {"map": "8×8", "units": 6, "sees": "3×3", "apart": 1.0} == table[1]
    assert table[3]["sees"] == "all"


@pytest.mark.slow
def test_patches_and_neighbours_are_of_the_images_that_are_named(result, measured):
    shown = result.pictures[2].blocks[0].figure.axes[0].images
    assert len(shown) in (5, 10, 15)  # 3 units of 5 patches, but for dead ones
    (train, test), top = measured["sets"], measured["units_of"]["act1"].top
    unit = (top.value > 0).any(axis=1).argmax()
    row, column = top.position[unit, 0]
    seen = np.pad(train["image"][top.index[unit, 0], ..., 0], 1)[row : row + 3, column : column + 3]
    np.testing.assert_array_equal(shown[0].get_array(), np.stack(3 * [seen], -1))
    rows = result.pictures[-1].blocks[0].figure.axes[0].images
    assert len(rows) == 3 * 2 * (1 + 5)
    number = of_different_classes(test["label"])[0]
    nearest = measured["spaces_of"][PIXELS].nearest[number]
    images = np.concatenate([test["image"][[number]], train["image"][nearest]])
    np.testing.assert_array_equal([tile.get_array()[..., :1] for tile in rows[:6]], images)


def test_unknown_layers_are_named(file):
    with pytest.raises(ValueError, match="conv9"):
        visualize.main(Config(source=file, quick=True, layers=("conv9",)))


@pytest.mark.slow
def test_layers_may_be_chosen(file):
    found = visualize.main(Config(source=file, quick=True, layers=("conv1", "head")))
    assert list(found.figures["layers"]) == [PIXELS, "conv1", "head"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deep", "holds", "words"), [(0.5, True, "classes lie farther apart in act3"), (0.0, False, "NOT as promised: ")]
)
def test_it_holds_where_the_last_layer_is_farther_apart(file, result, measured, monkeypatch, deep, holds, words):
    apart = {"act3": deep}
    spaces = {n: each._replace(silhouette=apart.get(n, 0.1)) for n, each in measured["spaces_of"].items()}
    monkeypatch.setattr(visualize, "spaces_of", lambda *_: spaces)
    monkeypatch.setattr(visualize, "units_of", lambda *_: measured["units_of"])
    for section in ("overview", "filters_and_activations"):
        monkeypatch.setattr(visualize, section, lambda *_: result.pictures[0])
    found = visualize.main(Config(source=file, **visualize.QUICK))
    assert found.holds == holds
    assert found.verdict.startswith(words)
    assert f"silhouette {deep:.2f} against 0.10" in found.verdict


def test_layers_behind_activations_are_spread_from_first_to_last():
    digits = data.load("digits")

    def chosen(net, most):
        params, state = jax.eval_shape(lambda key: net.init(key, digits[0].spec), KEY)
        return behind_activations(Trained(net, params, state, *digits), most)

    net = models.create("lenet5")
    assert chosen(net, 6) == ["stage1/act1", "stage1/act2", "stage2/act1", "stage2/act2", "act1"]
    assert chosen(net, 3) == ["stage1/act1", "stage2/act1", "act1"]
    assert chosen(Sequential(a=Conv(2), f=Flatten(), d=Dense(3)), 6) == ["a", "f", "d"]


def test_neighbours_vote_and_of_equal_votes_the_nearest_counts():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    features = np.array([[0.0], [0.3], [1.0], [1.2], [5.0], [5.1]], np.float32)
    labels = np.array([0, 1, 1, 0, 2, 2])
    others = np.array([[-0.1], [0.9], [5.0], [0.4]], np.float32)
    true = np.array([0, 1, 2, 0])
    found = space(features, labels, others, true, 2)
    # Neighbours: (0, 1): the nearer one's, 0; (1, 0): 1; (2, 2); (1, 0): 1, which is wrong.
    assert found.accuracy == 0.75
    assert found.nearest.tolist() == [[0, 1], [2, 3], [4, 5], [1, 0]]


def test_the_silhouette_is_that_of_groups_apart():
    labels = np.repeat([0, 1], 10)
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32) + 100 * labels[:, None]
    assert space(rows, labels, rows, labels, 3).silhouette > 0.95


def test_units_are_the_most_selective_of_each_class_first():
    means = np.array([[3.0, 2.0, 0.0, 5.0], [0.0, 0.0, 1.0, 0.0]])
    assert one_a_class(means, np.array([0.5, 0.9, 0.2, 0.7]), 4) == [1, 2, 3, 0]
    assert one_a_class(means, np.array([0.5, 0.9, 0.2, 0.7]), 2) == [1, 2]


def test_selectivity_of_units_below_zero_is_a_lead_in_standard_deviations():
    means = np.array([[1.0, -1.0], [-1.0, -1.0], [np.nan, np.nan]])
    zeros = np.zeros(2)
    statistics = inside.UnitStatistics(zeros, np.array([0.5, 1.0]), zeros, zeros, zeros, zeros, zeros)
    np.testing.assert_allclose(selective(means, statistics), [4.0, 0.0])
    np.testing.assert_allclose(selective(np.abs(means), statistics), [0.0, 0.0])


def test_examples_of_different_classes():
    assert of_different_classes(np.array([2, 2, 0, 2, 1, 0, 3])) == [0, 2, 4]


def test_bad_options(file):
    with pytest.raises(ValueError, match=r"^visualize: expected patches of at least 1, got 0\. "):
        visualize.main(dataclasses.replace(Config(source=file), patches=0))
