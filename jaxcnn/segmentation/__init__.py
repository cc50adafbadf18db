"""A class for every pixel: losses, and how well masks fit.

net = models.unet(5, width=16, depth=3, batch_norm=True)
training.fit(
    net, train, loss=segmentation.pixel_loss(dice=1.0), metrics={"mean overlap": segmentation.mean_overlap(5)}, ...
)
"""

from jaxcnn.segmentation.balance import class_weights
from jaxcnn.segmentation.loss import PixelLoss, cross_entropy, dice, focal, pixel_loss
from jaxcnn.segmentation.overlap import MeanOverlap, class_overlaps, counts, mean_overlap
from jaxcnn.segmentation.scores import class_margin, class_score, mask_margin

__all__ = [
    "MeanOverlap",
    "PixelLoss",
    "class_margin",
    "class_overlaps",
    "class_score",
    "class_weights",
    "counts",
    "cross_entropy",
    "dice",
    "focal",
    "mask_margin",
    "mean_overlap",
    "pixel_loss",
]
