"""The experiment of sanity checks: the methods it knows, what it promises, and a small run."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from experiments import sanity_checks
from experiments.apparatus import attributions as table
from experiments.apparatus import located
from experiments.apparatus import sanity_pictures as pictures
from experiments.apparatus import trust_measures as measures
from experiments.sanity_checks import Config
from jaxcnn import data
from jaxcnn import functional as F
from jaxcnn.explain import trust
from jaxcnn.layers import Auxiliary, Conv, Dense, GlobalAvgPool, MaxPool, Normalize, Sequential

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
SMALL = Config(
    methods=("guided backprop", "gradient"), images=4, draws=2, label_images=40, label_epochs=2, scenes=64,
    scene_epochs=1, scene_images=8,
)  # fmt: skip


def small_net(classes=10):
    return Sequential(
        normalize=Normalize((0.3,), (0.4,)), conv1=Conv(4), act1=F.relu, pool=MaxPool(2), conv2=Conv(6), act2=F.relu,
        mean=GlobalAvgPool(), head=Dense(classes),
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file with a small net."""
    train, _ = data.load("digits")
    net, path = small_net(), tmp_path_factory.mktemp("net") / "net.safetensors"
    params, state = net.init(jax.random.key(5), train.spec)
    jaxcnn.save(path, net, params, state, spec=train.spec, class_names=train.info.class_names)
    return str(path)


def test_heads_for_training_are_left_out():
    head = Sequential(conv=Conv(2), act=F.relu, pool=GlobalAvgPool(), dense=Dense(3))
    net = Auxiliary({"aux": "act1"}, conv1=Conv(2), act1=F.relu, pool=GlobalAvgPool(), head=Dense(3), aux=head)
    assert table.trunk_paths(net) == ["conv1", "act1", "pool", "head"]
    assert table.trunk_paths(Sequential(whole=net))[-2:] == ["whole/pool", "whole/head"]
    x = jnp.ones((2, 8, 8, 1))
    assert table.map_layer(net, *net.init(jax.random.key(0), x), x) == "act1"


@pytest.mark.slow
def test_every_method_gives_a_map():
    net, x = small_net(), jnp.ones((2, 8, 8, 1))
    params, state = net.init(jax.random.key(0), x)
    assert table.map_layer(net, params, state, x) == "act2"  # 4 x 4
    assert table.map_layer(net, params, state, jnp.ones((2, 6, 6, 1))) == "act1"
    methods = table.attributions(net, params, state, x) | table.edges()
    assert "CAM" in methods
    assert len(methods) >= 20
    for name, method in methods.items():
        found = jax.eval_shape(lambda p, s, x, fn=method.fn: fn(net, p, s, x, jnp.array([1, 2])), params, state, x)
        assert found.shape in (x.shape, x.shape[:-1]), name
    other = Sequential(conv=Conv(2), head=Dense(3), mean=GlobalAvgPool())
    params, state = other.init(jax.random.key(0), x)
    assert "CAM" not in table.attributions(other, params, state, x)


def test_edges_are_those_of_the_image():
    x = jnp.zeros((1, 4, 6, 1)).at[:, :, 3:].set(1.0)
    found = table.edges()["edges of the image"].fn(None, None, None, x, 0)
    assert found.shape == (1, 4, 6)
    assert (found[0, 1] > 0).tolist() == [False, False, True, True, False, True]  # the last: the image's own end


@pytest.mark.slow  # `make course` runs it small
def test_a_small_run_and_its_record(source, tmp_path, monkeypatch):
    monkeypatch.setattr(located, "three_stages", lambda info, width: small_net(len(info.class_names)))
    result = sanity_checks.main(dataclasses.replace(SMALL, source=source, run=str(tmp_path)))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    names = ["gradient", "guided backprop", "edges of the image"]
    assert list(figures["verdicts"]) == names
    edges = figures["verdicts"]["edges of the image"]
    assert (edges["passes"], edges["similarity"], edges["images"]) == (False, pytest.approx(1), 4)
    assert list(figures["cascading"]["gradient"]["rank"]) == ["head", "conv2", "conv1"]
    assert list(figures["measures"]) == [*names, "random numbers"]
    for measured in figures["measures"].values():
        assert list(measured) == [
            "deletion", "insertion", "ROAD", "infidelity", "max sensitivity", "sensitivity-n",
        ]  # fmt: skip
        assert all(found["n"] == 4 for found in measured.values())
        assert 0 <= measured["infidelity"]["mean"] <= 1 + 1e-5
    assert list(figures["scenes"]["methods"]) == [*names[:2], "middle of the image", "random numbers"]
    assert 0 <= figures["random_labels_accuracy"] <= 1
    titles = [section.title for section in result.pictures]
    assert titles[:4] == ["Who passes", "Maps along the cascade", "Layer by layer", "Measures of trust"]
    assert titles[4:] == ["Is the map where the object is?"]
    panels = result.pictures[2].blocks[0].figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == names
    rows = [row for picture in result.pictures[1].blocks for row in picture.figure.axes[0].images]
    assert len(rows) == 3 * 5  # trained, three layers, random labels


@pytest.mark.slow
def test_random_labels_are_learned_by_the_same_net(source, tmp_path):
    found = sanity_checks.trained("test", dataclasses.replace(SMALL, source=source, run=str(tmp_path)))
    config = dataclasses.replace(SMALL, label_images=12, label_epochs=300)
    (params, state), accuracy = sanity_checks.learned_by_heart(config, found, jax.random.key(0))
    assert jax.tree.structure((params, state)) == jax.tree.structure((found.params, found.state))
    assert accuracy >= 0.4  # of ten classes


@pytest.mark.slow
def test_an_edge_detector_fails_where_the_gradient_changes():
    net, x = small_net(), jax.random.uniform(jax.random.key(1), (6, 8, 8, 1))
    params, state = net.init(jax.random.key(0), x)
    methods = {"gradient": table.attributions(net, params, state, x)["gradient"], **table.edges()}
    plain = {name: method.fn for name, method in methods.items()}
    key, target = jax.random.key(0), jnp.zeros(6, int)
    found = trust.sanity_checks(key, net, params, state, x, target, plain, at=(), draws=2).verdicts
    assert found["edges of the image"].passes is False
    assert found["gradient"].similarity < 0.9


def test_the_image_of_which_the_fewest_maps_are_blank_is_shown():
    maps = {"a": np.zeros((2, 3, 2, 2)), "b": np.zeros((2, 3, 2, 2, 1))}
    maps["a"][0, 1:] = maps["b"][0, 2] = 1
    maps["b"][1, 0] = 1  # another net's
    assert sanity_checks.most_drawn(maps) == 2


def report_of(**similarity: float) -> trust.SanityReport:
    """Return a report in which the methods have these similarities."""
    verdicts = {
        name.replace("_", " "): trust.Verdict(None if np.isnan(v) else v < 0.5, v, 0.1, 0.2, 0.1, 0.0)
        for name, v in similarity.items()
    }
    empty: dict[str, Any] = {}
    return trust.SanityReport("criterion", (), empty, empty, empty, empty, empty, verdicts)


def test_what_it_promises():
    good = {"gradient": 0.2, "guided_backprop": 0.7, "edges_of_the_image": 1.0}
    report = report_of(**good, blank=np.nan)
    assert all(sanity_checks.promised(report).values())
    assert sanity_checks.sentence(report) == (
        "Similarity to maps of random weights or labels: these pass: gradient 0.20; these fail: guided backprop 0.70, "
        "edges of the image 1.00. Blank maps: blank 0.10."
    )
    for wrong in ({"gradient": 0.6}, {"guided_backprop": 0.4}, {"edges_of_the_image": np.nan}):
        promises = sanity_checks.promised(report_of(**{**good, **wrong}))
        (missed,) = [promise for promise, kept in promises.items() if not kept]
        assert missed.startswith(next(iter(wrong)).replace("_", " "))


def test_figures_are_for_json():
    found = sanity_checks.finite({"b": [1], "a": {"d": np.nan, "c": 2.5}})
    assert found == {"b": [1], "a": {"d": None, "c": 2.5}}
    assert list(found["a"]) == ["d", "c"]  # as they came


def test_pixels_of_slopes_and_of_shares():
    x, maps = jnp.ones((1, 2, 2, 2)), jnp.array([[[[1.0, -3.0], [0.0, 2.0]], [[0.0, 0.0], [-1.0, -1.0]]]])
    slopes, shares = (table.Attribution(lambda *_: maps, adds_up=adds_up) for adds_up in (False, True))
    assert measures.per_pixel(slopes, maps, x).tolist() == [[[4, 2], [0, 2]]]
    assert measures.per_pixel(shares, maps, x).tolist() == [[[-2, 2], [0, -2]]]
    assert measures.per_pixel(slopes, -maps[..., 0], x).tolist() == (-maps[..., 0]).tolist()


def test_colours():
    found = pictures.painted([np.array([[0.0, 1.0]]), np.array([[[1.0, 1.0], [0.0, 0.0]]])])
    assert found.shape == (2, 1, 2, 3)
    np.testing.assert_array_equal(found[0, 0], found[1, 0, ::-1])  # each on a scale of its own
    signed = pictures.painted([np.array([[0.0, -2.0]]), np.zeros((1, 2))])
    np.testing.assert_array_equal(signed[0, 0, 0], signed[1, 0, 0])
    assert signed[0, 0, 1, 2] > signed[0, 0, 1, 0]  # blue


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 1}, r"^sanity_checks: expected at least 2 images, got 1\. "),
        ({"methods": ("gradients",)}, r"^attributions: expected methods among \['gradient', 'SmoothGrad'"),
        ({"source": "nothing.safetensors"}, r"^load: expected a file, got nothing\.safetensors "),
    ],
)
def test_bad_options(options, message, source, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        sanity_checks.main(dataclasses.replace(SMALL, **{"source": source, "run": str(tmp_path), **options}))
