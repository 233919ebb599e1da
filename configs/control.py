"""Who may tell a running daemon what to do, and how they reach it."""

from __future__ import annotations

from dataclasses import dataclass

NEEDED = ("token_file", "tls_cert", "tls_key")


@dataclass(frozen=True)
class ControlConfig:
    """Sockets of the control API; the read-only window at `daemon.http_port` is none of them.

    `socket`: state/control.sock, for the daemon's own user and root (0600) or, with `group`, for
    its members too (0660): a group of the daemon's user whose members may enter the state folder,
    under the unit `acclimate` itself. Over TCP only if `tcp_host` names an address to listen on,
    and then with a token (`token_file`: one line, 32 characters or more, that not everybody may
    read) and TLS (`tls_cert`, `tls_key`: PEM files, the key not for everybody either).
    """

    socket: bool = True
    group: str | None = None
    tcp_host: str | None = None
    tcp_port: int = 9110
    token_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def problems(self) -> list[str]:
        """What does not go together; each begins with the key."""
        given = [key for key in NEEDED if getattr(self, key) is not None]
        if self.tcp_host is None:
            return [
                f"{key}: has no use without tcp_host, the address to listen on" for key in given
            ]
        return [
            f"{key}: missing; control over TCP needs {', '.join(NEEDED)}"
            for key in NEEDED
            if key not in given
        ]
