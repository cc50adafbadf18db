"""Defences: trainings after which a net withstands attacks, and a classifier whose robustness is certain.

    result = training.fit(net, train, **defence.pgd_training(epsilon=0.1), epochs=10, key=key)
    logits_fn = training.predictor(net, result.state.params, result.state.model_state)
    attack.robust_accuracy(key, logits_fn, x, y, epsilon=0.1)

A training is what it changes of an ordinary one: options of `training.fit`. Whether it defends, only attacks can say:
`attack.robust_accuracy`.
"""

from jaxcnn.attack.defence.adversarial import fast_training, pgd_training
from jaxcnn.attack.defence.free import free_training
from jaxcnn.attack.defence.smoothing import ABSTAINS, Certificate, certify, noise_training, smoothed
from jaxcnn.attack.defence.trades import trades

__all__ = [
    "ABSTAINS",
    "Certificate",
    "certify",
    "fast_training",
    "free_training",
    "noise_training",
    "pgd_training",
    "smoothed",
    "trades",
]
