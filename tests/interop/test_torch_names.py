"""Names of PyTorch's layers, from paths."""

from jaxcnn.interop.torch.names.rules import dotted, joined, numbered, rules
from jaxcnn.models import lenet5
from jaxcnn.surgery import paths

NAMES = rules({"stage{i}/block{j}/conv{k}": "layer{i}.{j-1}.conv{k}", "head": "fc", "stage{i}/down": "down{i+10}.0"})


def test_numbers_go_over_and_may_be_shifted():
    found = NAMES(["stage1/block2/conv3", "stage12/block10/conv1", "head", "stage2/down"])
    assert found == {
        "stage1/block2/conv3": "layer1.1.conv3",
        "stage12/block10/conv1": "layer12.9.conv1",
        "head": "fc",
        "stage2/down": "down12.0",
    }


def test_what_no_pattern_knows_has_no_name():
    assert NAMES(["stage1/block2", "stage1/block2/conv3/more", "headless", "stagex/down", "stage1.down"]) == {}


def test_the_first_pattern_that_fits_counts():
    assert rules({"a{i}": "first.{i}", "a1": "second"})(["a1"]) == {"a1": "first.1"}


def test_layers_are_numbered_in_order_whether_they_have_weights_or_not():
    known = paths(lenet5(classic=True))
    assert numbered("features", "(conv|act|pool)[12]")(known) == {
        "conv1": "features.0",
        "act1": "features.1",
        "pool1": "features.2",
        "conv2": "features.3",
        "act2": "features.4",
        "pool2": "features.5",
    }
    assert numbered("")(["stage1", "stage1/conv", "stage1/act", "head"]) == {
        "stage1/conv": "0",
        "stage1/act": "1",
        "head": "2",
    }


def test_layouts_are_joined_the_first_before_the_others():
    both = joined(rules({"head": "fc"}), dotted)
    assert both(["head", "stage1/conv"]) == {"head": "fc", "stage1/conv": "stage1.conv"}
