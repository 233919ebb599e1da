"""The score of one row by the official evaluation; its counts are kept, so that it can go on.

VocAlign's: the adapted student, class names alone, windows of the network's size side by side,
logits averaged, the best class at the label map's own size (mmsegmentation's slide mode). CAT-Seg
v2 is seen as its own authors do: four windows and an overview.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.adapt.reproduce.pictures import Picture, fitted
from acclimate.adapt.words import Words
from acclimate.configs.reproduction import Recipe
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import AdaptError, SourceError
from acclimate.model.inference import label_map, shortest_edge
from acclimate.runtime.datasets import Found
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.evaluate import confusion, read_image
from acclimate.runtime.progress import Progress
from acclimate.runtime.truth import read_truth

SCORES, PAUSE = "scores.json", 60.0
Look = Callable[[Picture, tuple[int, int]], NDArray[np.uint16]]
Table = NDArray[np.float64]


@torch.no_grad()
def look_with(words: Words, recipe: Recipe, concepts: bool, device: torch.device) -> Look:
    """What the network of `words` says of a picture, at a size (H,W)."""
    network = words.base.network.to(device)
    text = (words.embed() if concepts else words.embed_names()).to(device)
    owner = words.owner.to(device) if concepts else None
    v2 = network.config.variant == "v2"

    @torch.no_grad()
    def look(picture: Picture, size: tuple[int, int]) -> NDArray[np.uint16]:
        shown = picture if v2 else fitted(picture, recipe)
        pixels = torch.from_numpy(shown).permute(2, 0, 1)[None]
        pixels = (shortest_edge(pixels) if v2 else pixels).to(device).float()
        labels, _ = label_map(network, pixels, text, size, sliding=v2, string_to_class=owner)
        return labels.cpu().numpy().astype(np.uint16)

    return look


def score(
    look: Look, found: Found, vocabulary: Vocabulary, folder: Path, title: str, limit: int = 0
) -> Table:
    """Counts (T,T), rows are truth, over all pictures or the first `limit`.

    Goes on from the counts in `folder`. Raises SourceError, AdaptError.
    """
    pairs, file = found.pairs[: limit or None], folder / SCORES
    classes = len(vocabulary.classes)
    done, table = _kept(file, classes)
    progress = Progress(f"pictures of {title}", len(pairs), done)
    written = time.monotonic()
    for number, pair in enumerate(pairs[done:], done + 1):
        truth = read_truth(pair.label, found.values, vocabulary)
        seen = look(read_image(pair.image), (truth.shape[0], truth.shape[1]))
        table += confusion(truth, seen, classes)
        progress.step()
        if time.monotonic() - written >= PAUSE or number == len(pairs):
            _keep(file, number, table)
            written = time.monotonic()
    if not table.sum():
        raise SourceError(f"{pairs[0].label.parent} holds no pixel of the {classes} classes")
    return table


def _keep(file: Path, done: int, table: Table) -> None:
    content = {"pictures": done, "confusion": table.astype(int).tolist()}
    write_atomic(file, (json.dumps(content) + "\n").encode())


def _kept(file: Path, classes: int) -> tuple[int, Table]:
    """How many pictures were scored before, and their counts."""
    if not file.exists():
        return 0, np.zeros((classes, classes))
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        table = np.array(content["confusion"], np.float64).reshape(classes, classes)
        return int(content["pictures"]), table
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdaptError(f"cannot go on from {file}: {error!r}; delete it") from error
