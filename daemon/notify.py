"""What the service manager hears: one datagram a message, as in sd_notify(3).

A few lines of our own: of the libraries on PyPI one has stood still since 2017 (sdnotify), one
brings libsystemd along (cysystemd), one counts its time by the wall clock, which jumps on vehicles,
and fails or waits with its manager (systemd-watchdog). sd_notify(3) advises the same.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping


class Notifier:
    """Tells the manager that listens at `address`; without one it tells nobody. `watchdog_s` is
    how long it waits for a WATCHDOG=1, 0 = for ever."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """The manager that started this process. Its variables are taken out of the environment:
        no child speaks for the daemon."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period = environment.pop("WATCHDOG_USEC", "")
        mine = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(period) / 1e6 if mine and period.isdecimal() else 0.0)

    def tell(self, *fields: str) -> bool:
        """Say NAME=value, one or more at once. It neither waits nor fails: False where nobody took
        it."""
        if not self._address:
            return False
        message = "\n".join(" ".join(field.split()) for field in fields)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto(message.encode(errors="replace"), self._address)
        except OSError:
            return False
        return True


def monotonic() -> str:
    """The moment of a RELOADING=1, by the clock that systemd compares it with."""
    return f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def longer(seconds: float) -> str:
    """A start or stop may take this much longer from now on."""
    return f"EXTEND_TIMEOUT_USEC={int(1e6 * seconds)}"
