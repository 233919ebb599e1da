"""The student's words, embedded once a step however many images they meet."""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.adapt.words import Words


class StudentTexts:
    """Text features of the classes `kept` (B,K), of their names or (`concepts`) of all strings.

    Images add gradients to `features` one by one; `backward` then takes their sum through the
    text tower, once. Nothing of it runs where that tower does not learn.
    """

    def __init__(self, words: Words, kept: Tensor, concepts: bool) -> None:
        self.words, self.concepts = words, concepts
        classes = kept.unique()
        self._ids = words.of_classes(classes) if concepts else classes
        self._whole = words.embed(self._ids) if concepts else words.embed_names(self._ids)
        self.features = self._whole.detach().requires_grad_(self._whole.requires_grad)

    def of(self, kept: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (S,P,C) of the classes `kept` (K,); one-hot (S,K) where strings are told apart.

        Without concepts S = K, each class its name.
        """
        if not self.concepts:
            return self.features[self._rows(kept)], None
        strings = self.words.of_classes(kept)
        return self.features[self._rows(strings)], self.words.owner[strings][:, kept]

    def backward(self) -> None:
        """On to the text tower's adapter."""
        if self.features.grad is not None:
            self._whole.backward(self.features.grad)

    def _rows(self, ids: Tensor) -> Tensor:
        return torch.searchsorted(self._ids, ids.contiguous())
