"""Looking inside a trained net: what its units see, which images and classes they answer to, what a layer tells apart.

    from jaxcnn.explain import inside

    best = inside.top_images(net, params, state, train, "stage2/act1", count=9)
    field = inside.receptive_field(net, train.spec, "stage2/act1")
    shown = inside.patches(train["image"][best.index], field, best.position)      # (units, 9, height, width, C)

    inside.class_means(net, params, state, test, test["label"], "act1")           # (classes, units)
    inside.unit_statistics(net, params, state, train, "stage2/act1").dead         # (units,)

    features = inside.embedding(net, params, state, test, "act1")
    inside.project(features, "tsne", key=key).points                              # (N, 2)
    inside.nearest(inside.embedding(net, params, state, train, "act1"), features[0], 5).index

Pictures of all of it are in `jaxcnn.report`.
"""

from jaxcnn.explain.inside.class_means import class_means, class_selectivity
from jaxcnn.explain.inside.embedding import embedding
from jaxcnn.explain.inside.neighbours import Neighbours, nearest
from jaxcnn.explain.inside.projection import Projection, project
from jaxcnn.explain.inside.receptive_field import ReceptiveField, patches, receptive_field, receptive_fields
from jaxcnn.explain.inside.top_images import TopImages, top_images
from jaxcnn.explain.inside.unit_statistics import UnitStatistics, unit_statistics

__all__ = [
    "Neighbours",
    "Projection",
    "ReceptiveField",
    "TopImages",
    "UnitStatistics",
    "class_means",
    "class_selectivity",
    "embedding",
    "nearest",
    "patches",
    "project",
    "receptive_field",
    "receptive_fields",
    "top_images",
    "unit_statistics",
]
