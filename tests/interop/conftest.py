"""Files and formats are of no one version of Python: their longer tests run on the newest alone."""

import pytest

LONG = {"test_onnx_export", "test_onnx_hostile", "test_onnx_load", "test_onnx_models"}
LONG |= {"test_hostile_checkpoints", "test_checkpoint_fuzz"}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in LONG and "pytorch" not in item.name:
            item.add_marker(pytest.mark.newest)
