"""Words to embeddings: CLIP's tokenizer, prompt templates, synonyms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from acclimate.errors import ConfigError
from acclimate.model.catseg import CATSeg

START, END, CONTEXT = 49406, 49407, 77


@cache
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def tokenize(texts: Sequence[str], known: Tensor | None = None) -> Tensor:
    """Texts -> token ids (N, 77) int64, padded with 0.

    `known` (V,) int64, ascending, lists the CLIP ids a compact table holds; then ids are rows of
    that table, and any other word falls into the last rows before the two marks (see `compact`).
    Raises ConfigError naming every text that is empty or longer than 77 tokens.
    """
    rows = [[START, *_tokenizer().encode(text), END] for text in texts]
    problems = [f"empty text at position {i}" for i, text in enumerate(texts) if not text.strip()]
    problems += [
        f"{text[:40]!r}... has {len(row)} tokens, at most {CONTEXT}: use fewer words"
        for text, row in zip(texts, rows, strict=True)
        if len(row) > CONTEXT
    ]
    if problems:
        raise ConfigError(problems)
    ids = torch.zeros(len(rows), CONTEXT, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids if known is None else compact(ids, known)


def compact(ids: Tensor, known: Tensor) -> Tensor:
    """CLIP ids -> rows of a compact table that holds `known`; others share 64 untrained rows.

    Row 0 is padding, then the known words, 64 rows for strangers, and start and end last, so
    that the end mark keeps the largest id. The table has len(known) + 67 rows.
    """
    row = torch.searchsorted(known, ids).clamp(max=len(known) - 1)
    stranger = 1 + len(known) + ids % 64
    rows = torch.where(known[row] == ids, 1 + row, stranger)
    rows = torch.where(ids == 0, 0, rows)
    marks = torch.where(ids == START, len(known) + 65, len(known) + 66)
    return torch.where(ids >= START, marks, rows)


def embed_strings(
    network: CATSeg, strings: Sequence[str], templates: Sequence[str], known: Tensor | None = None
) -> Tensor:
    """Strings -> text features (T, P, C), L2-normalised, differentiable in the text tower.

    A string "a, b" is the renormalised mean of its synonyms (official class_embeddings).
    """
    planes = []
    for template in templates:
        groups = [string.split(", ") for string in strings]
        texts = [template.format(word) for group in groups for word in group]
        device = next(network.parameters()).device
        features = network.encode_text(tokenize(texts, known).to(device))
        parts = features.split([len(group) for group in groups])
        planes.append(F.normalize(torch.stack([part.mean(0) for part in parts]), dim=-1))
    return torch.stack(planes, 1)
