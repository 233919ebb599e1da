"""Words that a small text tower never learned: it sees in them whatever its untrained rows say."""

from __future__ import annotations

from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import ConfigError
from acclimate.model.load import BaseModel
from acclimate.model.text import unlearned

NAMED = 8


def strangers(base: BaseModel, words: Vocabulary) -> str:
    """What to say of strings with such words, "" where there are none."""
    templates = words.templates_for(base.templates)
    strange = [
        string
        for string in words.strings
        if unlearned([t.format(w) for w in string.split(", ") for t in templates], base.known)
    ]
    if not strange:
        return ""
    named = ", ".join(map(repr, strange[:NAMED]))
    more = f" and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
    return (
        f"the base's text tower never learned {named}{more}: name them otherwise, or serve weights "
        "with all of CLIP's words"
    )


def check_learned(base: BaseModel, words: Vocabulary) -> None:
    """Raises ConfigError naming those strings."""
    if told := strangers(base, words):
        raise ConfigError([told])
