"""Network dissection: which units of a layer detect which concepts, and what the net loses without them.

    masks, names = dissection.scene_concepts(test)
    found = dissection.dissect(net, params, state, test, masks, names=names, at="stage3")
    found.rows()                                    # every unit with the concept that it detects best
    dissection.ablate(net, "stage3", [17])          # the net without unit 17

Source: Bau et al. 2017, "Network dissection"; 2020, "Understanding the role of individual units in a deep neural
network".
"""

from jaxcnn.explain.dissection.concepts import scene_concepts
from jaxcnn.explain.dissection.dissect import dissect
from jaxcnn.explain.dissection.effects import Effects, class_effects
from jaxcnn.explain.dissection.found import Dissection
from jaxcnn.explain.dissection.intervention import ablate, force
from jaxcnn.explain.dissection.thresholds import unit_thresholds
from jaxcnn.explain.dissection.unit_masks import unit_masks

__all__ = [
    "Dissection",
    "Effects",
    "ablate",
    "class_effects",
    "dissect",
    "force",
    "scene_concepts",
    "unit_masks",
    "unit_thresholds",
]
