"""YAML that somebody wrote, or something else in its place."""

from __future__ import annotations

from typing import Any

import yaml

MOST_VALUES, MOST_BITS = 200_000, 1024  # of a whole file; of one number


def parse_yaml(text: str) -> Any:
    """Plain values; raises ValueError that says why the text is none, or would unfold to more than
    anybody writes: aliases of aliases make gigabytes of a few lines."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except (LookupError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"a value is not what its tag (!!...) says: {error!r}") from error
    _check(value)
    return value


def _check(value: object) -> None:
    rest, seen = [value], 0
    while rest:
        one = rest.pop()
        if isinstance(one, int) and one.bit_length() > MOST_BITS:
            raise ValueError(f"it holds a number of {one.bit_length()} bits")
        more = [*one.keys(), *one.values()] if isinstance(one, dict) else one
        if isinstance(more, list | tuple | set):
            seen += len(more)
            if seen > MOST_VALUES:
                raise ValueError(f"its aliases unfold to more than {MOST_VALUES:,} values")
            rest += more
