"""PyTorch's side of the benchmark of an accelerator: that it measures the nets of the same size."""

from experiments.benchmarks.other_python.torch_training import throughput
from tests.torch_nets import torchvision


def test_it_measures_training():
    torchvision()
    import torch

    options = {"batch": 2, "seconds": 0.0, "compiled": False}
    found = throughput("lenet", size=28, channels=1, classes=10, **options)
    assert found["parameters"] == 857_738
    assert found["images_per_second"] > 0
    assert (found["device"] == "cpu") != torch.cuda.is_available()
    assert throughput("resnet18", size=32, channels=3, classes=1000, **options)["parameters"] == 11_689_512
