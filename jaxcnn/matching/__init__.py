"""Images as points, near each other where they show the same: losses that make them so, and what is found by them.

    net = layers.Sequential(**trunk.layers, embed=layers.Dense(32), unit=matching.unit_length)
    training.fit(net, train, loss=matching.pair_loss(), ...)                          # same class, other class
    training.fit(net, train, loss=matching.view_loss(), augment=matching.two_views(one), ...)      # without labels
    found = matching.retrieve(embeddings, labels, at=(1, 5))
    jnp.nanmean(found.recall, 0), jnp.nanmean(found.average_precision)

These losses look at all images of a batch together, and say so by `loss.whole_batch`: with `accumulate` each part
would have its own pairs and negatives alone. So the validation loss, though not what `retrieve` says, depends on how
many images `training.evaluate` compares at once.
"""

from jaxcnn.matching.pairs import PairLoss, TripletLoss, contrastive, pair_loss, triplet_loss
from jaxcnn.matching.retrieval import Retrieved, average_precision, recall_at, retrieve
from jaxcnn.matching.similarity import cosine_similarity, unit_length
from jaxcnn.matching.views import ViewLoss, nt_xent, two_views, view_loss

__all__ = [
    "PairLoss",
    "Retrieved",
    "TripletLoss",
    "ViewLoss",
    "average_precision",
    "contrastive",
    "cosine_similarity",
    "nt_xent",
    "pair_loss",
    "recall_at",
    "retrieve",
    "triplet_loss",
    "two_views",
    "unit_length",
    "view_loss",
]
