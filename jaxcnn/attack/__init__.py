"""Breaking a trained net: how small a change fools it, and whether a defence really defends.

    logits_fn = training.predictor(net, params, state)                          # or any function of images
    adversarial = attack.pgd(key, logits_fn, x, y, epsilon=8 / 255)             # in a ball, as adversarial as can be
    nearest = attack.fmn(key, logits_fn, x, y, norm="l2")                       # the smallest change that fools it
    attack.judge(logits_fn, x, adversarial, y)                                  # what became of them, looked at again
    print(attack.robust_accuracy(key, logits_fn, x, y, epsilon=8 / 255))        # the standard evaluation

`epsilon`, `bounds` and pixels share one unit. Attacks in a ball take one epsilon or an array of them, whose axes come
in front of the images'; attacks of minimal size give x itself where they find nothing. With `target` they go for chosen
classes. `fooling` makes images that mean nothing, `corruptions` are what happens to images anyway, `defence` are ways
of training and of certifying.
"""

from jaxcnn.attack import corruptions, defence, fooling
from jaxcnn.attack.apgd import apgd
from jaxcnn.attack.binary import binary
from jaxcnn.attack.boundary import boundary
from jaxcnn.attack.carlini_wagner import carlini_wagner
from jaxcnn.attack.colour import colour_jitter, colour_shift
from jaxcnn.attack.deepfool import deepfool
from jaxcnn.attack.fab import fab
from jaxcnn.attack.fgsm import fgsm, random_fgsm
from jaxcnn.attack.hop_skip_jump import hop_skip_jump
from jaxcnn.attack.invariance import rotation_accuracy, shift_accuracy, shift_consistency
from jaxcnn.attack.judgement import Judgement, judge
from jaxcnn.attack.minimum_norm import ddn, fmn
from jaxcnn.attack.momentum import momentum_iterative
from jaxcnn.attack.nes import nes
from jaxcnn.attack.one_pixel import one_pixel
from jaxcnn.attack.patch import Patch, adversarial_patch, paste
from jaxcnn.attack.pgd import bim, pgd
from jaxcnn.attack.robust_accuracy import RobustReport, robust_accuracy
from jaxcnn.attack.saliency import jacobian_saliency
from jaxcnn.attack.simba import simba
from jaxcnn.attack.spatial import spatial, spatial_random
from jaxcnn.attack.square import square
from jaxcnn.attack.transfer import Transfer, ensemble, transfer
from jaxcnn.attack.universal import apply_universal, universal
from jaxcnn.attack.worst_of_k import worst_of_k

__all__ = [
    "Judgement",
    "Patch",
    "RobustReport",
    "Transfer",
    "adversarial_patch",
    "apgd",
    "apply_universal",
    "bim",
    "binary",
    "boundary",
    "carlini_wagner",
    "colour_jitter",
    "colour_shift",
    "corruptions",
    "ddn",
    "deepfool",
    "defence",
    "ensemble",
    "fab",
    "fgsm",
    "fmn",
    "fooling",
    "hop_skip_jump",
    "jacobian_saliency",
    "judge",
    "momentum_iterative",
    "nes",
    "one_pixel",
    "paste",
    "pgd",
    "random_fgsm",
    "robust_accuracy",
    "rotation_accuracy",
    "shift_accuracy",
    "shift_consistency",
    "simba",
    "spatial",
    "spatial_random",
    "square",
    "transfer",
    "universal",
    "worst_of_k",
]
