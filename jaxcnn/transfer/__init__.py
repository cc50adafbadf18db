"""What one training has learned, for another: new heads, frozen parts, features computed once, partial loading.

net, params, state = swap_head(net, params, state, Dense(2), key=jax.random.key(0), spec=train.spec)
result = training.fit(net, train, start=(params, state), freeze=["stage1", "stage2"], key=jax.random.key(1))
"""

from jaxcnn.transfer.backbone import load_backbone
from jaxcnn.transfer.features import features
from jaxcnn.transfer.freezing import layerwise, scale_updates, trainable_mask, unfreeze_at
from jaxcnn.transfer.head import swap_head
from jaxcnn.transfer.loading import Loaded, load

__all__ = [
    "Loaded",
    "features",
    "layerwise",
    "load",
    "load_backbone",
    "scale_updates",
    "swap_head",
    "trainable_mask",
    "unfreeze_at",
]
