"""Scenes: coloured, textured shapes on a textured ground, drawn from a key, in which everything is known.

scenes = Scenes(size=64)
batch = scenes.batch(key, range(128))
batch["image"], batch["label"], batch["object_mask"], batch["boxes"]

Whatever names a truth is a number into `CLASSES` (or the classes that were chosen), `PARTS`, `TEXTURES` or `COLOURS`.
"""

from jaxcnn.data.scenes.generator import Scenes, load_scenes
from jaxcnn.data.scenes.landmarks import LANDMARKS, landmarks
from jaxcnn.data.scenes.palette import COLOURS
from jaxcnn.data.scenes.shapes import CLASSES, PARTS, PARTS_OF
from jaxcnn.data.scenes.textures import TEXTURES

__all__ = ["CLASSES", "COLOURS", "LANDMARKS", "PARTS", "PARTS_OF", "TEXTURES", "Scenes", "landmarks", "load_scenes"]
