"""The served vocabulary on torch's side."""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.configs.vocabulary import Vocabulary
from acclimate.model.load import BaseModel
from acclimate.model.text import embed_strings


class Words:
    """A vocabulary, embedded anew as the text tower moves, and once where it does not.

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
        self._still: dict[tuple[str, ...], Tensor] = {}

    def embed(self, ids: Tensor | None = None) -> Tensor:
        """Features (S, P, C) of every served string, name or concept, or of those in `ids` (S,).

        Differentiable where the text tower learns.
        """
        return self._embed(self.strings, ids)

    def embed_names(self, ids: Tensor | None = None) -> Tensor:
        """The same of the classes' own names (T, P, C)."""
        return self._embed(self.texts, ids)

    def of_classes(self, classes: Tensor) -> Tensor:
        """Ids of the strings that stand for `classes` (K,)."""
        return self.owner[:, classes].sum(1).nonzero().squeeze(1)

    def _embed(self, strings: tuple[str, ...], ids: Tensor | None) -> Tensor:
        tower = self.base.network.clip.text
        if any(parameter.requires_grad for parameter in tower.parameters()):
            some = strings if ids is None else tuple(strings[i] for i in ids.tolist())
            return embed_strings(self.base.network, some, self.templates, self.base.known)
        features = self._without_learning(strings).to(tower.text_projection.device)
        return features if ids is None else features[ids]

    @torch.no_grad()
    def _without_learning(self, strings: tuple[str, ...]) -> Tensor:
        """Embedded the first time only: a tower that does not learn says the same for ever."""
        if strings not in self._still:
            network, known = self.base.network, self.base.known
            self._still[strings] = embed_strings(network, strings, self.templates, known)
        return self._still[strings]
