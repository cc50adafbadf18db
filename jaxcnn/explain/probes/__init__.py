"""Probes: what the layers of a trained net hold, measured.

from jaxcnn.explain import probes

found = probes.linear_probes(net, params, state, train, test, ["stage1", "stage2", "act1"])
{path: float(probe.accuracy) for path, probe in found.items()}      # where do classes become separable?

layers = probes.layer_outputs(net, params, state)
probes.cka_matrix(layers, layers, images).values                    # which layers are alike?
probes.invariance(net, params, state, images, ["stage1", "stage2"], probes.shift_by, [0, 0.1, 0.2]).distance
probes.effective_receptive_field(key, net, params, state, "stage2", images).map
probes.fit_gabor(probes.colour_axis(params["conv1"]["kernel"])[0]).explained
"""

from jaxcnn.explain.probes.effective_receptive_field import EffectiveField, effective_receptive_field
from jaxcnn.explain.probes.features import layer_features, layer_outputs
from jaxcnn.explain.probes.gabor import GaborFit, colour_axis, fit_gabor, gabors
from jaxcnn.explain.probes.invariance import Invariance, invariance
from jaxcnn.explain.probes.linear import Probe, linear_probe, linear_probes
from jaxcnn.explain.probes.similarity import Similarity, cka, cka_matrix
from jaxcnn.explain.probes.transforms import flip_by, rotate_by, scale_by, shift_by

__all__ = [
    "EffectiveField",
    "GaborFit",
    "Invariance",
    "Probe",
    "Similarity",
    "cka",
    "cka_matrix",
    "colour_axis",
    "effective_receptive_field",
    "fit_gabor",
    "flip_by",
    "gabors",
    "invariance",
    "layer_features",
    "layer_outputs",
    "linear_probe",
    "linear_probes",
    "rotate_by",
    "scale_by",
    "shift_by",
]
