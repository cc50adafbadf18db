"""Common corruptions: what weather, cameras and compression do to an image, in 15 kinds of 5 severities each.

    from jaxcnn.attack import corruptions

    foggy = corruptions.corrupt(key, images, "fog", 3)
    found = corruptions.corruption_errors(key, logits_fn, images, labels)
    found.accuracy, found.mean_error, found.mce(of_a_baseline)

Each kind is a pure function of one image, `(key, image, severity) -> image`, in `CORRUPTIONS` by its name: they may be
composed with those of `jaxcnn.augment`. To be tested on a net that was not trained with them.
"""

from jaxcnn.attack.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from jaxcnn.attack.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from jaxcnn.attack.corruptions.errors import CorruptionReport, corruption_errors
from jaxcnn.attack.corruptions.frost import frost
from jaxcnn.attack.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from jaxcnn.attack.corruptions.severity import SEVERITIES
from jaxcnn.attack.corruptions.table import CORRUPTIONS, FAMILIES, corrupt
from jaxcnn.attack.corruptions.weather import brightness, fog, snow

__all__ = [
    "CORRUPTIONS",
    "FAMILIES",
    "SEVERITIES",
    "CorruptionReport",
    "brightness",
    "contrast",
    "corrupt",
    "corruption_errors",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "shot_noise",
    "snow",
    "zoom_blur",
]
