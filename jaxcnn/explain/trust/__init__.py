"""Can the pictures be trusted? Measures of explanations, and the sanity checks.

    trust = explain.trust
    trust.deletion(logits_fn, x, maps, target).area     # small: the class goes with the pixels that are said to matter
    trust.sanity_checks(key, net, params, state, x, target, {"guided": explain.guided_backprop}).table()

Deletion, insertion, ROAD: what the net says without some pixels. Infidelity, sensitivity-n: does the map foretell that?
Max-sensitivity: does the map hold still? Pointing game, mask IoU, energy inside: does it lie on the object? The sanity
checks: does it depend on what the net has learned?
"""

from jaxcnn.explain.trust.deletion import Curve, deletion, insertion
from jaxcnn.explain.trust.imputation import noisy_linear_imputation
from jaxcnn.explain.trust.infidelity import infidelity
from jaxcnn.explain.trust.max_sensitivity import max_sensitivity
from jaxcnn.explain.trust.perturbations import GaussianNoise, SquareRemoval
from jaxcnn.explain.trust.pointing import energy_inside, mask_iou, pointing_game
from jaxcnn.explain.trust.randomization import cascading_randomization, independent_randomization
from jaxcnn.explain.trust.road import Road, road
from jaxcnn.explain.trust.sanity import sanity_checks
from jaxcnn.explain.trust.sanity_report import SanityReport, Verdict
from jaxcnn.explain.trust.sensitivity_n import sensitivity_n

__all__ = [
    "Curve",
    "GaussianNoise",
    "Road",
    "SanityReport",
    "SquareRemoval",
    "Verdict",
    "cascading_randomization",
    "deletion",
    "energy_inside",
    "independent_randomization",
    "infidelity",
    "insertion",
    "mask_iou",
    "max_sensitivity",
    "noisy_linear_imputation",
    "pointing_game",
    "road",
    "sanity_checks",
    "sensitivity_n",
]
