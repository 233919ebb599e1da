"""What every exporting process says and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from acclimate.errors import AcclimateError, CheckpointError, ConfigError


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def exit_code(
    work: Callable[[], object], tell: Callable[[str], object] = say, name: str = "export"
) -> int:
    """Do it and tell what went wrong: 0, 78 where no restart would help, else 1."""
    try:
        work()
    except ConfigError as error:
        for problem in error.problems:
            tell(f"error: {problem}")
        return os.EX_CONFIG
    except CheckpointError as error:
        tell(f"error: {error}")
        return os.EX_CONFIG
    except (AcclimateError, OSError, ValueError) as error:
        tell(f"{name} failed: {error}")
        return 1
    return 0
