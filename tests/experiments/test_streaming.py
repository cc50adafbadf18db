"""The benchmark of streams: that both libraries read the same files, and its record."""

import json
import sys

import numpy as np
import pytest

from experiments.benchmarks import streaming
from experiments.benchmarks.torch_loader import Photographs

pytest.importorskip("grain")
pytest.importorskip("PIL")
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.slow
def test_both_read_the_photographs(tmp_path):
    count = streaming.photographs(tmp_path, streaming.Config(photographs=20))
    theirs = Photographs(tmp_path, 16, (0.25, 1.0))
    assert count == len(theirs) == 20
    pytest.importorskip("torch")
    image = np.asarray(theirs[3])
    assert (image.shape, image.dtype) == ((3, 16, 16), np.float32)
    assert 0 <= image.min() < 0.5 < image.max() <= 1


@pytest.mark.slow
def test_quick_measures_and_trains_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = streaming.main(streaming.Config(quick=True))
    figures = json.loads(json.dumps(result.figures))
    assert result.holds
    assert figures["photographs"] == 64
    assert all(row["images_per_second"] > 0 for row in figures["rows"])
    assert 0 <= figures["training"]["data_wait_ms"] < figures["training"]["step_ms"]
    assert "nothing to compare with" in result.verdict
