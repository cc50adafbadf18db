"""The page of a trained classifier, of a net that answers the brightest of three colours."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data, report, summarize, training
from jaxcnn.layers import Conv, GlobalAvgPool, Sequential
from tests.report.figures import drawn, words

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_the_page_tells_the_mistakes_and_shows_the_first_filters():
    net = Sequential(stem=Conv(4, 1, use_bias=False), body=Conv(3, 1, use_bias=False), mean=GlobalAvgPool())
    params = {"stem": {"kernel": jnp.eye(3, 4)[None, None]}, "body": {"kernel": 4 * jnp.eye(4, 3)[None, None]}}
    colours = 51 * np.array([[1, 0, 0], [0, 1, 0], [0, 5, 0], [0, 0, 1]], np.uint8)
    image = colours[:, None, None].repeat(2, 1).repeat(2, 2)
    test = data.from_arrays(image, np.array([0, 0, 2, 1]), class_names=["red", "green", "blue"])
    history = [{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0}]
    result = training.FitResult(SimpleNamespace(params=params, model_state={}), history, 2, None, test, None)
    learning, wrong, inside, layers = report.classifier_sections(net, result, test)
    titles = [section.title for section in (learning, wrong, inside, layers)]
    assert titles == ["Training", "Mistakes", "What it learned", "The net"]

    assert learning.blocks[0].caption.endswith("the result is the state after epoch 2.")
    assert learning.blocks[1].caption == "Images of each class: 4 train, 4 test."

    matrix, worst = wrong.blocks
    assert matrix.caption.startswith("3 of 4 test images are wrong.")
    ones = {text.get_position() for text in matrix.figure.axes[0].texts if text.get_text() == "1"}
    assert ones == {(0, 0), (1, 0), (2, 1), (1, 2)}  # column and row
    np.testing.assert_array_equal(drawn(worst.figure)[0], image[2])
    assert words(worst.figure)[:3] == ["green", "96% sure", "is blue"]  # logits 0, 4, 0

    filters, maps = inside.blocks
    assert filters.caption == "The 4 filters of the first convolution; there are 2 convolutions."
    assert words(filters.figure) == ["grey 0, full colour ±1"]
    np.testing.assert_array_equal(np.squeeze(drawn(filters.figure)), 128 + 127 * np.eye(4, 3))
    assert maps.caption == "The first test image, a 'red', layer by layer."
    assert words(maps.figure)[::2] == ["image", "stem", "body"]
    assert layers.blocks[0].text == str(summarize(net, test.spec))
