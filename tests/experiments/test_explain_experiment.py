"""One image explained: what is chosen, what is said of it, and what is refused before any work."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from experiments import explain
from experiments.apparatus import explanation
from experiments.apparatus.trained import trained
from experiments.explain import Config, chosen
from jaxcnn import data
from jaxcnn import functional as F
from jaxcnn.layers import Conv, Dense, Flatten, Normalize, Sequential

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file with a small net."""
    train, _ = data.load("digits")
    net = Sequential(
        normalize=Normalize(train.info.mean, train.info.std), conv=Conv(4, 3), act=F.relu,
        flatten=Flatten(), head=Dense(10),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    params, state = net.init(jax.random.key(5), train.spec)
    jaxcnn.save(path, net, params, state, spec=train.spec, class_names=train.info.class_names)
    return str(path)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(explanation, "CHECKED", 3)
    monkeypatch.setattr(explanation, "SEARCHED", 50)


@pytest.mark.slow
def test_the_page_says_what_the_net_says(source):
    result = explain.main(Config(source=source, index=7))
    json.dumps(result.figures)
    found = trained("test", Config(source=source))
    logits = found.model(found.test["image"][7])
    shares = np.asarray(jax.nn.softmax(logits))
    answers = result.figures["answers"]
    assert list(answers) == [found.class_names[k] for k in np.argsort(-shares, kind="stable")]
    np.testing.assert_allclose(list(answers.values()), np.sort(shares)[::-1], rtol=1e-4)
    assert result.figures["target"] == next(iter(answers))
    assert result.figures["layer"] == "act"
    assert list(result.figures["verdicts"]) == [*explanation.SHOWN]
    titles = [section.title for section in result.pictures]
    assert titles == ["What the net says", "Which pixels decide", "What it resembles", "Layer by layer"]
    assert f"test image 7, a '{found.class_names[found.test['label'][7]]}'" in result.verdict


@pytest.mark.slow
def test_another_target_has_other_maps_and_the_same_answers(source, monkeypatch):
    seen = []
    monkeypatch.setattr(explanation.report, "attributions", lambda image, maps, **_: seen.append(maps))
    monkeypatch.setattr(explanation.report, "Picture", lambda *args: args)
    one, other = (explain.main(Config(source=source, index=7, target=name)).figures for name in ("1", "2"))
    assert (one["target"], other["target"]) == ("1", "2")
    assert one["answers"] == other["answers"]
    assert np.abs(seen[0]["gradient"] - seen[1]["gradient"]).max() > 1e-3


def test_a_file_is_seen_as_the_net_sees_images(source, tmp_path):
    found = trained("test", Config(source=source))
    Image.fromarray(found.test["image"][7][..., 0]).save(tmp_path / "seven.png")
    image, title = chosen(Config(source=source, image=str(tmp_path / "seven.png")), found)
    assert title == "seven.png"
    np.testing.assert_array_equal(image, found.test["image"][7])


def test_without_a_choice_it_is_the_surest_mistake(source):
    found = trained("test", Config(source=source))
    logits, labels = np.asarray(found.model(found.test["image"])), np.asarray(found.test["label"])
    image, title = chosen(Config(source=source), found)
    surplus = [row.max() - row[label] for row, label in zip(logits, labels, strict=True)]
    assert title.startswith(f"test image {int(np.argmax(surplus))}, ")
    np.testing.assert_array_equal(image, found.test["image"][int(np.argmax(surplus))])


def test_the_nearest_are_those_of_the_same_direction(source):
    found = trained("test", Config(source=source))
    near, distance = explanation.nearest(found.model, found.train, found.train["image"][13], "act")
    np.testing.assert_array_equal(near["image"][0], found.train["image"][13])
    assert distance[0] == pytest.approx(0, abs=1e-3)
    assert (np.diff(distance) >= 0).all()


@pytest.mark.slow
def test_a_net_without_maps_is_explained_by_the_other_methods(tmp_path):
    train, _ = data.load("digits")
    net = Sequential(flatten=Flatten(), fc=Dense(8), act=F.relu, head=Dense(10))
    params, state = net.init(jax.random.key(5), train.spec)
    path = tmp_path / "net.safetensors"
    jaxcnn.save(path, net, params, state, spec=train.spec, class_names=train.info.class_names)
    result = explain.main(Config(source=str(path), index=0))
    assert "Grad-CAM" not in result.figures["verdicts"]
    assert "gradient" in result.figures["verdicts"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "nope.png"}, r"^explain: expected an image file, got nope\.png\. Look at its path\."),
        ({"image": "a.png", "index": 3}, r"^explain: expected an image or an index, got a\.png and 3\. Leave one"),
        ({"index": 9999}, r"^explain: expected index of at most \d+, got 9999\."),
        ({"target": "cat"}, r"^explain: expected a target among \['0', .*\], got cat\. Choose one of them\."),
    ],
)
def test_bad_input_is_refused(source, options, message):
    with pytest.raises(ValueError, match=message):
        explain.main(dataclasses.replace(Config(source=source), **options))


def test_a_source_that_is_none_is_refused(tmp_path):
    with pytest.raises(OSError, match=r"^load: expected a file, got .*none \(No such file or directory\)\. "):
        trained("explain", Config(source=str(tmp_path / "none")))
    with pytest.raises(ValueError, match=r"^explain: expected the folder of a run, got "):
        trained("explain", Config(source=str(tmp_path)))


def test_a_data_set_that_does_not_fit_the_net_is_refused(tmp_path):
    net, spec = Sequential(flatten=Flatten(), head=Dense(2)), jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32)
    params, state = net.init(jax.random.key(0), spec)
    jaxcnn.save(tmp_path / "net.safetensors", net, params, state, spec=spec, class_names=["a", "b"])
    with pytest.raises(ValueError, match=r"^explain: expected images of shape \(4, 4, 1\), which the net takes, got"):
        trained("explain", Config(source=str(tmp_path / "net.safetensors")))
