"""On the oldest Python, where PyTorch is, nets are compared with its nets; all else is of no one version."""

from pathlib import Path

import pytest

WITH_PYTORCH = ("the_same_", "logits_of_timm", "logits_of_torchvision")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent and not any(name in item.name for name in WITH_PYTORCH):
            item.add_marker(pytest.mark.newest)
