"""A class for every pixel: losses, and how well masks fit.

net = models.unet(5, width=16, depth=3, batch_norm=True)
training.fit(
    net, train, loss=segmentation.pixel_loss(dice=1.0), metrics={"mean overlap": segmentation.mean_overlap(5)}, ...
)
"""

from jaxcnn.segmentation.loss import PixelLoss, cross_entropy, dice, focal, pixel_loss
from jaxcnn.segmentation.overlap import MeanOverlap, class_overlaps, counts, mean_overlap

__all__ = [
    "MeanOverlap",
    "PixelLoss",
    "class_overlaps",
    "counts",
    "cross_entropy",
    "dice",
    "focal",
    "mean_overlap",
    "pixel_loss",
]
