"""AlexNet in one tower."""

from jaxcnn.interop.torch.names.rules import rules

__all__ = ["TORCHVISION"]

TORCHVISION = rules(
    {
        "stem/conv": "features.0",
        "stage1/conv": "features.3",
        "stage2/conv1": "features.6",
        "stage2/conv2": "features.8",
        "stage2/conv3": "features.10",
        "hidden1/dense": "classifier.1",
        "hidden2/dense": "classifier.4",
        "head": "classifier.6",
    }
)
