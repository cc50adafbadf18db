"""PyTorch's side of `experiments.benchmarks.gpu`, of whose Python torch and torchvision suffice: no package of ours.

It is given a file to write and options as JSON: net, batch, size, channels, classes, seconds, compiled. It writes the
images a second of training the net of torchvision in bfloat16 (autocast), channels last, compiled or eager.
"""

import json
import sys
import time
from typing import Any

TURN = 10  # steps before it looks at the clock


def throughput(
    net: str, *, batch: int, size: int, channels: int, classes: int, seconds: float, compiled: bool
) -> dict[str, Any]:
    """Return images a second, parameters, the most memory in GB (on a GPU), seconds to compile, and versions."""
    import torch  # pyrefly: ignore
    import torchvision  # pyrefly: ignore
    from torch.nn import functional  # pyrefly: ignore

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    nothing_dropped = {"vgg16": {"dropout": 0.0}, "convnext_tiny": {"stochastic_depth_prob": 0.0}}.get(net, {})
    model: Any = lenet() if net == "lenet" else getattr(torchvision.models, net)(num_classes=classes, **nothing_dropped)
    model = model.to(device=device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    image = torch.rand(batch, channels, size, size, device=device).contiguous(memory_format=torch.channels_last)
    label = torch.randint(classes, (batch,), device=device)
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            loss = functional.cross_entropy(forward(image), label)
        loss.backward()
        optimizer.step()

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    began = time.perf_counter()
    for _ in range(3):
        step()
    wait()
    compiling = time.perf_counter() - began
    rates, began = [], time.perf_counter()
    while not rates or time.perf_counter() - began < seconds:
        turn = time.perf_counter()
        for _ in range(TURN if seconds else 1):
            step()
        wait()
        rates.append((TURN if seconds else 1) * batch / (time.perf_counter() - turn))
    return {
        "net": net,
        "batch": batch,
        "size": size,
        "images_per_second": sorted(rates)[len(rates) // 2],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "peak_gigabytes": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None,
        "compiling_seconds": compiling,
        "compiled": compiled,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }


def lenet() -> Any:
    """Return the LeNet of the other benchmarks."""
    from torch import nn  # pyrefly: ignore

    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    with open(sys.argv[1], "w") as file:
        json.dump(throughput(**options), file)
