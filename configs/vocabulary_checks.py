"""What can be wrong with a vocabulary file: every problem, by class and name."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

CONTEXT = 77
_TOP = {"classes", "templates", "ignore", "note"}
_ROW = {"name", "synonyms", "concepts", "color", "safety", "label", "source_ids"}
_LABEL = "whole numbers from 0 to 65535"


def problems_of(raw: object, where: str) -> list[str]:
    """Every problem of a file's content; [] for a sound one.

    A text is longer than CLIP's 77 tokens for sure if it has more than 75 words; the exact count
    needs CLIP's tokenizer and comes with the engine (`acclimate.model.text.tokenize`).
    """
    rows = raw.get("classes") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(rows, list) or len(rows) < 2:
        return [f"{where}: `classes` must list 2 classes or more"]
    problems = _top(raw, where)
    for i, row in enumerate(rows):
        problems += _class(row, f"{where}: class {i}")
    return problems or [*_words(rows, where), *_lengths(raw, where), *_labels(raw, where)]


def is_template(sentence: object) -> bool:
    """Text with one {} and no other brace: what a class name can be put into."""
    if not isinstance(sentence, str):
        return False
    return sentence.count("{}") == sentence.count("{") == sentence.count("}") == 1


def _top(raw: dict[Any, Any], where: str) -> list[str]:
    problems = _unknown(raw, _TOP, where)
    templates, ignore = raw.get("templates", [""]), raw.get("ignore", [])
    if not (isinstance(templates, list) and templates):
        problems.append(f"{where}: templates must be a list of sentences")
    elif "templates" in raw:
        problems += [
            f"{where}: template {t!r} must be a sentence with one {{}} for the class"
            for t in templates
            if not is_template(t)
        ]
    if not (isinstance(ignore, list) and all(_is_label(i) for i in ignore)):
        problems.append(f"{where}: ignore must list {_LABEL}")
    if not isinstance(raw.get("note", ""), str):
        problems.append(f"{where}: note must be text")
    return problems


def _class(row: Any, where: str) -> list[str]:
    name = row.get("name") if isinstance(row, dict) else None
    if name is None or (isinstance(name, str) and not name.strip()):
        return [f"{where}: needs a name"]
    if not isinstance(name, str):
        return [f"{where}: name {name!r} is no text; quote it"]
    where = f"{where} ({name[:40]})"
    color = row.get("color", [0, 0, 0])
    sound = {
        f"name must be words without {_COMMA}": _is_text(name),
        f"synonyms must be a list of words without {_COMMA}": _all(row, "synonyms", _is_text),
        f"concepts must be a list of words without {_COMMA}": (
            _all(row, "concepts", _is_text) and row.get("concepts", [""]) != []
        ),
        "color must be three numbers from 0 to 255": (
            isinstance(color, list) and len(color) == 3 and all(_is_byte(c) for c in color)
        ),
        "source_ids must be numbers from 0 to 255": _all(row, "source_ids", _is_byte),
        "safety must be true or false": isinstance(row.get("safety", False), bool),
        f"label must be one of the {_LABEL}": _is_label(row.get("label", 0)),
    }
    return [
        *_unknown(row, _ROW, where),
        *(f"{where}: {p}" for p, good in sound.items() if not good),
    ]


def _words(rows: list[dict[str, Any]], where: str) -> list[str]:
    """Each string stands for one class and is listed once; averaged synonyms may be shared."""
    names = Counter(_normal(row["name"]) for row in rows)
    problems = [f"{where}: class name {w!r} is used {n} times" for w, n in _repeated(names)]
    owners: dict[str, set[int]] = {}
    for i, row in enumerate(rows):
        own = [_normal(word) for word in (row["name"], *row.get("synonyms", ()))]
        concepts = [_normal(word) for word in row.get("concepts", ())]
        problems += [
            f"{where}: class {i} ({row['name']}): {word!r} is listed {n} times"
            for words in (own, concepts)
            for word, n in _repeated(Counter(words))
        ]
        for string in (own[0], ", ".join(own), *concepts):
            owners.setdefault(string, set()).add(i)
    for string, claims in owners.items():
        if len(claims) > 1 and names[string] < 2:
            claimed = ", ".join(rows[i]["name"] for i in sorted(claims))
            problems.append(f"{where}: {string!r} stands for {len(claims)} classes: {claimed}")
    return problems


def _lengths(raw: dict[str, Any], where: str) -> list[str]:
    found = []
    for i, row in enumerate(raw["classes"]):
        texts = [row["name"], *row.get("synonyms", []), *row.get("concepts", [])]
        for word in dict.fromkeys(part for text in texts for part in text.split(", ")):
            if max(_least_tokens(t, word) for t in raw.get("templates", ["{}"])) > CONTEXT:
                found.append(
                    f"{where}: class {i} ({row['name'][:40]}): {word[:40]!r}... is longer than "
                    f"CLIP's {CONTEXT} tokens: use fewer words"
                )
    return found


def _labels(raw: dict[str, Any], where: str) -> list[str]:
    rows, problems = raw["classes"], []
    labels = [row["label"] for row in rows if "label" in row]
    if labels and len(labels) < len(rows):
        lacking = next(row["name"] for row in rows if "label" not in row)
        problems.append(f"{where}: all classes have a label or none; {lacking!r} has none")
    problems += [
        f"{where}: label {v} is given to {n} classes" for v, n in _repeated(Counter(labels))
    ]
    ignored = set(raw.get("ignore", ())) & set(labels or range(len(rows)))
    problems += [f"{where}: label {v} is a class's and ignored" for v in sorted(ignored)]
    sources = [i for row in rows for i in row.get("source_ids", [])]
    problems += [
        f"{where}: source id {v} is given {n} times" for v, n in _repeated(Counter(sources))
    ]
    if sources and len(rows) > 255:
        problems.append(f"{where}: source_ids go with 255 classes at most")
    return problems


_COMMA = "empty ones; ', ' stands between synonyms"


def _unknown(raw: dict[Any, Any], known: set[str], where: str) -> list[str]:
    names = sorted(map(str, raw.keys() - known))
    return [f"{where}: unknown keys {names}; known: {sorted(known)}"] if names else []


def _repeated(times: Counter[Any]) -> list[tuple[Any, int]]:
    return [(value, n) for value, n in times.items() if n > 1]


def _least_tokens(template: str, word: str) -> int:
    """A bound from below: a token for each plain word, one for the start and one for the end."""
    return 2 + len(re.findall(r"(?:^| )[A-Za-z0-9]", template.replace("{}", word)))


def _normal(word: str) -> str:
    """As CLIP's tokenizer sees it: lower case, single spaces."""
    return " ".join(word.lower().split())


def _all(row: dict[Any, Any], key: str, check: Any) -> bool:
    values = row.get(key, [])
    return isinstance(values, list) and all(check(value) for value in values)


def _is_text(value: object) -> bool:
    words = value.split(", ") if isinstance(value, str) else [""]
    return all(word.strip() and "," not in word for word in words)


def _is_byte(value: object) -> bool:
    return _is_label(value) and int(str(value)) <= 255


def _is_label(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535
