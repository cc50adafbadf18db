"""Finding objects: the loss of a net that marks their centres, the boxes that it stands for, and how good they are.

    net = models.centernet(3, backbone=models.resnet(18, width=16, small_images=True), skips=2)
    training.fit(net, train, loss=detection.centre_loss(stride=2), ...)      # "boxes" (N, K, 4), "box_class" (N, K)
    found = detection.decode(logits_fn(images), stride=2)
    detection.average_precision(found, test, classes=3).at(0.5)

Boxes are x0, y0, x1, y1 in pixels, pixel (i, j) covering [j, j + 1] x [i, i + 1]; a class of -1 says that a row is no
box, so that every image has as many rows. `sliding_windows` finds boxes with a classifier; `point_loss` is for nets
that give places themselves, `keypoint_accuracy` the metric beside it. Average precision ranks the boxes of all images,
so it is no metric of `fit`: compute it of `predict`'s outputs.
"""

from jaxcnn.detection.average_precision import AveragePrecision, average_precision
from jaxcnn.detection.boxes import area, intersection_over_union, non_maximum_suppression
from jaxcnn.detection.centres import CentreLoss, centre_loss
from jaxcnn.detection.decoding import decode
from jaxcnn.detection.found import Found
from jaxcnn.detection.heat_map import heat_map
from jaxcnn.detection.keypoint_accuracy import KeypointAccuracy, correct_keypoints, keypoint_accuracy
from jaxcnn.detection.keypoints import PointLoss, SoftArgmax, point_loss, soft_argmax
from jaxcnn.detection.scores import object_score
from jaxcnn.detection.windows import sliding_windows

__all__ = [
    "AveragePrecision",
    "CentreLoss",
    "Found",
    "KeypointAccuracy",
    "PointLoss",
    "SoftArgmax",
    "area",
    "average_precision",
    "centre_loss",
    "correct_keypoints",
    "decode",
    "heat_map",
    "intersection_over_union",
    "keypoint_accuracy",
    "non_maximum_suppression",
    "object_score",
    "point_loss",
    "sliding_windows",
    "soft_argmax",
]
