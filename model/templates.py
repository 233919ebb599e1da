"""The sentences a class name is put into, by the official names of their lists."""

from __future__ import annotations

from open_clip import OPENAI_IMAGENET_TEMPLATES

SINGLE = ("A photo of a {} in the scene",)
IMAGENET = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
IMAGENET_SELECT = (
    "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.",
    "a {} in a video game.", "art of the {}.", "a photo of the small {}.", *SINGLE,
)  # fmt: skip
IMAGENET_SELECT_CLIP = (
    "a cropped photo of a {}.", "This is a photo of a {}", "This is a masked photo of a {}",
    "This is a cropped photo of a {}", *SINGLE, "a bad photo of the {} in the scene",
    "a cropped photo of a {} in the scene", "There is a {} in the scene",
    "This is a masked {} in the scene", "This is one masked {} in the scene",
)  # fmt: skip

# v2 is released with "single"; v1 (VocAlign) with "imagenet_select_clip", ten of them.
TEMPLATES = {
    "single": SINGLE, "imagenet": IMAGENET, "imagenet_select": IMAGENET_SELECT,
    "imagenet_select_clip": IMAGENET_SELECT_CLIP,
}  # fmt: skip
