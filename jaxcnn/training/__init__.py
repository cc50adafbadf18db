"""Training: one pure step, and the loop around it.

result = fit(net, train, validation=0.1, epochs=20, key=jax.random.key(0))
logits_fn = predictor(net, result.state.params, result.state.model_state)
"""

from jaxcnn.training.checkpoint import load_checkpoint, save_checkpoint
from jaxcnn.training.early_stopping import EarlyStopping, early_stopping
from jaxcnn.training.environment import environment
from jaxcnn.training.evaluation import evaluate, predict, predictor
from jaxcnn.training.files import read_metrics
from jaxcnn.training.fit import fit
from jaxcnn.training.interruption import RESUME, Preempted
from jaxcnn.training.learning_rate import LearningRates, find_learning_rate
from jaxcnn.training.mesh import device_mesh
from jaxcnn.training.muon import muon, orthogonalize
from jaxcnn.training.optimizer import sgd, warmup_cosine
from jaxcnn.training.run import Event, FitResult
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import make_train_step

__all__ = [
    "EarlyStopping",
    "Event",
    "FitResult",
    "LearningRates",
    "Preempted",
    "RESUME",
    "TrainState",
    "device_mesh",
    "early_stopping",
    "environment",
    "evaluate",
    "find_learning_rate",
    "fit",
    "load_checkpoint",
    "make_train_step",
    "muon",
    "orthogonalize",
    "predict",
    "predictor",
    "read_metrics",
    "save_checkpoint",
    "sgd",
    "warmup_cosine",
]
