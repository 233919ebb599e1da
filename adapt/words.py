"""The served vocabulary on torch's side."""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.configs.vocabulary import Vocabulary
from acclimate.model.load import BaseModel
from acclimate.model.text import embed_strings


class Words:
    """A vocabulary, embedded anew as the text tower moves.

    `owner` (S, T) one-hot says which class a served string counts for, `safety` the classes that
    Top-K keeps; `temperature` divides logits before any softmax over them.
    """

    def __init__(self, base: BaseModel, vocabulary: Vocabulary, temperature: float = 1.0) -> None:
        self.base, self.strings, self.digest = base, vocabulary.strings, vocabulary.digest
        self.names, self.texts = vocabulary.names, tuple(c.text for c in vocabulary.classes)
        self.templates = vocabulary.templates_for(base.templates)
        self.owner = torch.from_numpy(vocabulary.string_to_class())
        self.safety = [i for i, c in enumerate(vocabulary.classes) if c.safety]
        self.temperature = temperature

    def embed(self) -> Tensor:
        """Features (S, P, C) of every served string (names or concepts), differentiable."""
        return self._embed(self.strings)

    def embed_names(self) -> Tensor:
        """Features (T, P, C) of the classes' own names, differentiable."""
        return self._embed(self.texts)

    def of_classes(self, classes: Tensor) -> Tensor:
        """Ids of the strings that stand for `classes` (K,)."""
        return self.owner[:, classes].sum(1).nonzero().squeeze(1)

    def _embed(self, strings: tuple[str, ...]) -> Tensor:
        return embed_strings(self.base.network, strings, self.templates, self.base.known)
