"""Words to embeddings: CLIP's tokenizer, prompt templates, synonyms."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from acclimate.errors import CheckpointError, ConfigError
from acclimate.model.catseg import CATSeg

START, END, CONTEXT = 49406, 49407, 77
TEXTS_AT_ONCE = 256


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


def unlearned(texts: Sequence[str], known: Tensor | None) -> list[str]:
    """Those texts with a word that a compact table does not hold; [] for the full one."""
    if known is None:
        return []
    held = set(known.tolist())
    return [text for text in texts if not held.issuperset(_tokenizer().encode(text))]


def token_ids(network: CATSeg, texts: Sequence[str], known: Tensor | None = None) -> Tensor:
    """`tokenize` for this network; raises CheckpointError where its table lacks those ids."""
    ids = tokenize(texts, known)
    if int(ids.max()) >= (rows := network.config.vocab_size):
        raise CheckpointError(f"a token table of {rows} rows needs `known_tokens` beside it")
    return ids


def embed_strings(
    network: CATSeg, strings: Sequence[str], templates: Sequence[str], known: Tensor | None = None
) -> Tensor:
    """Strings -> text features (S, P, C), L2-normalised, differentiable in the text tower.

    A string "a, b" is the renormalised mean of its synonyms (official class_embeddings); of such
    a string v2's own evaluation uses the first alone. Raises ConfigError and CheckpointError.
    """
    groups = [string.split(", ") for string in strings]
    texts = [t.format(word) for group in groups for word in group for t in templates]
    ids = token_ids(network, texts, known).to(next(network.parameters()).device)
    features = torch.cat([network.encode_text(part) for part in ids.split(TEXTS_AT_ONCE)])
    parts = features.unflatten(0, (-1, len(templates))).split([len(group) for group in groups])
    return F.normalize(torch.stack([part.mean(0) for part in parts]), dim=-1)


def text_digest(network: CATSeg) -> str:
    """sha256 over every tensor of the text tower: it changes whenever its features do."""
    digest = hashlib.sha256()
    for name, value in network.clip.text.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


class TextCache:
    """Text features on disk, one file for each text tower, strings and templates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @torch.no_grad()
    def embed(
        self,
        network: CATSeg,
        strings: Sequence[str],
        templates: Sequence[str],
        known: Tensor | None = None,
    ) -> Tensor:
        """As `embed_strings`, without gradients; a file that cannot be read is made again."""
        words = [list(strings), list(templates), None if known is None else known.tolist()]
        key = f"{text_digest(network)} {json.dumps(words)}"
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
        shape = (len(strings), len(templates), network.config.embed_dim)
        with contextlib.suppress(OSError, SafetensorError, KeyError):
            stored = load_file(path)
            if stored["text"].shape == shape and stored["sha256"].equal(_digest(stored["text"])):
                return stored["text"]
        features = embed_strings(network, strings, templates, known).cpu()
        with contextlib.suppress(OSError, SafetensorError):  # a full disk costs only time
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}.tmp")
            save_file({"text": features.contiguous(), "sha256": _digest(features)}, fresh)
            fresh.replace(path)
        return features


def _digest(features: Tensor) -> Tensor:
    """sha256 of a tensor's bytes (32,) uint8: what rotted on disk is made again."""
    content = features.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return torch.frombuffer(bytearray(hashlib.sha256(content).digest()), dtype=torch.uint8)
