"""From images to class scores and label maps, the official ways.

Sources: KU-CVLAB/CAT-Seg @6d3a188, cat_seg/cat_seg_model.py (v2: one view, or four windows and an
overview); mmsegmentation's slide mode (v1: windows side by side). Full-size planes are made a few
classes at a time, so that memory does not grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.model.catseg import CATSeg

CANVAS, KERNEL = 640, 384
CORNERS = ((0, 0), (0, 256), (256, 0), (256, 256))
SHORTEST, LONGEST = 640, 2560
CHUNK = 32
Size = tuple[int, int]
Planes = Callable[[Tensor], Tensor]


def shortest_edge(image: Tensor) -> Tensor:
    """image (1,3,H,W) uint8 -> the same with 640 pixels on its shorter side, 2560 at most.

    What detectron2's test transform (ResizeShortestEdge, PIL's antialiased bilinear) hands to v2 in
    its official evaluation, to one grey level.
    """
    height, width = image.shape[-2:]
    scale = min(SHORTEST / min(height, width), LONGEST / max(height, width))
    size = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def predict(
    network: CATSeg, image: Tensor, text: Tensor, size: Size, *, sliding: bool = False,
    string_to_class: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """image (1,3,H,W) RGB 0..255, text (S,P,C) -> scores (T, *size).

    Without `string_to_class` every string is a class: sigmoid probabilities in v2, logits in v1.
    With it (S,T, one-hot) softmax over all strings, summed per class (VocAlign Eq. 7). v1 always
    slides; `sliding` is the official evaluation of v2.
    """
    return torch.cat(list(_scores(network, image, text, size, sliding, string_to_class)))


def label_map(
    network: CATSeg, image: Tensor, text: Tensor, size: Size, *, sliding: bool = False,
    string_to_class: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As `predict`, but only the best class (*size) int64 and its score (*size)."""
    best, labels, first = torch.tensor(-torch.inf), torch.tensor(0), 0
    for scores in _scores(network, image, text, size, sliding, string_to_class):
        top, index = scores.max(0)
        labels = torch.where(top > best, index + first, labels)
        best, first = torch.maximum(top, best), first + len(scores)
    return labels, best


def _scores(
    network: CATSeg, image: Tensor, text: Tensor, size: Size, sliding: bool, owner: Tensor | None
) -> Iterator[Tensor]:
    """Scores of consecutive classes (t, *size)."""
    if network.config.variant == "v1":
        windows = _tiles(network, image)
        logits = _logits(network, windows.views, text)

        def grow(x: Tensor) -> Tensor:
            return _resize(windows.stitch(x), size)

        return (part[0] for part in class_scores(logits, owner, grow, activate=lambda x: x))
    if sliding:
        logits = _logits(network, sliding_views(network, image), text)
        parts = class_scores(logits, owner, lambda x: _resize(x, (KERNEL, KERNEL)))
        return (merge_windows(part, size) for part in parts)
    logits = network(image, text)
    if owner is None:
        parts = class_scores(logits, None, lambda x: x)
        return (_resize(part, size)[0] for part in parts)
    return (part[0] for part in class_scores(logits, owner, lambda x: _resize(x, size)))


def class_scores(
    logits: Tensor, owner: Tensor | None, grow: Planes, activate: Planes = torch.sigmoid
) -> Iterator[Tensor]:
    """logits (V,S,h,w) -> scores (V,t,H,W) of consecutive classes, at most CHUNK at a time.

    `grow` enlarges planes one by one. Without `owner`: `activate`; with it (S,T): softmax over
    all strings and the sum of each class's.
    """
    if owner is None:
        for part in logits.split(CHUNK, 1):
            yield activate(grow(part))
        return
    total = torch.stack([grow(p).logsumexp(1) for p in logits.split(CHUNK, 1)]).logsumexp(0)
    for classes in owner.to(logits).split(CHUNK, 1):
        mine = classes.any(1)
        strings = (grow(logits[:, mine]) - total[:, None]).exp()
        yield torch.einsum("bshw,st->bthw", strings, classes[mine])


def class_probabilities(logits: Tensor, string_to_class: Tensor, size: Size) -> Tensor:
    """logits (B,S,h,w) -> (B,T,*size): upsample, softmax over strings, sum per class (Eq. 7).

    All classes at once, differentiable and exportable. The sum comes before the division: a matrix
    product and whole planes, where a softmax across planes is slow on a processor.
    """
    full = F.interpolate(logits, size, mode="bilinear", align_corners=False).flatten(2)
    likely = (full - full.amax(1, keepdim=True)).exp()
    return (string_to_class.T @ likely / likely.sum(1, keepdim=True)).unflatten(-1, size)


def sliding_views(network: CATSeg, image: Tensor) -> Tensor:
    """image (1,3,H,W) -> normalised windows of a 640 canvas (row-major), overview (5,3,h,w)."""
    canvas = _resize(image, (CANVAS, CANVAS))
    windows = [canvas[..., y : y + KERNEL, x : x + KERNEL] for y, x in CORNERS]
    views = torch.cat([*windows, _resize(image, (KERNEL, KERNEL))])
    return _resize((views - network.mean) / network.std, network.config.image_size)


def merge_windows(scores: Tensor, size: Size) -> Tensor:
    """Scores of `sliding_views` (5,t,384,384) -> (t, *size): mean of windows and overview."""
    tiles = [_on_canvas(tile, corner) for tile, corner in zip(scores, CORNERS, strict=False)]
    ones = scores.new_ones(1, KERNEL, KERNEL)
    count = torch.stack([_on_canvas(ones, corner) for corner in CORNERS]).sum(0)
    overview = _resize(scores[4:], (CANVAS, CANVAS))
    return _resize((torch.stack(tiles).sum(0) / count + overview) / 2, size)[0]


def _on_canvas(tile: Tensor, corner: Size) -> Tensor:
    """(t,384,384) -> (t,640,640), zero around it."""
    (y, x), rest = corner, CANVAS - KERNEL
    return F.pad(tile, (x, rest - x, y, rest - y))


class _Tiles:
    """Windows side by side, the last ones moved inside; what overlaps is averaged."""

    def __init__(self, image: Tensor, window: Size) -> None:
        self.size, self.window = (image.shape[-2], image.shape[-1]), window
        rows, columns = (_starts(n, w) for n, w in zip(self.size, window, strict=True))
        self.corners = [(y, x) for y in rows for x in columns]
        h, w = window
        self.views = torch.cat([image[..., y : y + h, x : x + w] for y, x in self.corners])

    def stitch(self, planes: Tensor) -> Tensor:
        """(V,s,h,w) -> (1,s,H,W)."""
        planes = _resize(planes, self.window)
        total = planes.new_zeros(1, planes.shape[1], *self.size)
        count = planes.new_zeros(self.size)
        h, w = self.window
        for plane, (y, x) in zip(planes, self.corners, strict=True):
            total[..., y : y + h, x : x + w] += plane
            count[y : y + h, x : x + w] += 1
        return total / count


def _tiles(network: CATSeg, image: Tensor) -> _Tiles:
    """An image smaller than a window is enlarged, its aspect kept: the port would fail there."""
    window = network.config.image_size
    scale = max(1.0, *(w / n for w, n in zip(window, image.shape[-2:], strict=True)))
    if scale > 1:
        height, width = (round(n * scale) for n in image.shape[-2:])
        image = _resize(image, (height, width))
    return _Tiles(image, window)


def _starts(length: int, window: int) -> list[int]:
    """First pixel of each window along one side."""
    return [min(start, length - window) for start in range(0, length, window)]


def _logits(network: CATSeg, views: Tensor, text: Tensor) -> Tensor:
    """Views as `features` takes them, one after the other -> logits (V,S,h,w)."""
    return torch.cat([network.decode(network.features(view[None]), text) for view in views])


def _resize(x: Tensor, size: Size) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
