"""Many trainings as one compiled program: restarts, folds, widths, hyperparameters.

found = random_restarts(net, train, restarts=16, validation=0.2, key=jax.random.key(0))
logits_fn = training.predictor(net, found.state().params, found.state().model_state)
"""

from jaxcnn.search.cross_validation import CrossValidation, cross_validate
from jaxcnn.search.ensemble import calibration_error, disagreement, ensemble, fit_temperature
from jaxcnn.search.options import Options
from jaxcnn.search.sweep import grid, random_restarts, sweep
from jaxcnn.search.trainings import Trainings

__all__ = [
    "CrossValidation",
    "Options",
    "Trainings",
    "calibration_error",
    "cross_validate",
    "disagreement",
    "ensemble",
    "fit_temperature",
    "grid",
    "random_restarts",
    "sweep",
]
