"""Fooling images: they show nothing, and a net is sure of what it sees in them; one for each class.

    from jaxcnn.attack import fooling

    found = fooling.ascent(key, logits_fn, train.spec)                          # noise
    found = fooling.evolve(key, logits_fn, train.spec)                          # noise, without gradients
    found = fooling.evolve(key, logits_fn, train.spec, encoding="patterns")     # regular patterns
    found.images, found.confidence, found.above(0.99)

Source: Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled".
"""

from jaxcnn.attack.fooling.ascent import ascent
from jaxcnn.attack.fooling.direct import Direct
from jaxcnn.attack.fooling.evolution import Encoding, evolve
from jaxcnn.attack.fooling.fooled import Fooled
from jaxcnn.attack.fooling.patterns import Pattern, Patterns

__all__ = ["Direct", "Encoding", "Fooled", "Pattern", "Patterns", "ascent", "evolve"]
