"""Token and certificate of the control API over TCP."""

from __future__ import annotations

import ssl
from pathlib import Path

from acclimate.configs.control import ControlConfig
from acclimate.errors import ConfigError

SHORTEST_TOKEN = 32


def secrets_of(config: ControlConfig) -> bytes:
    """The token, after a look at the certificate; raises ConfigError with every problem."""
    problems, token = [], b""
    try:
        file = Path(str(config.token_file))
        token = file.read_bytes().strip()
        if len(token) < SHORTEST_TOKEN:
            problems.append(
                f"control.token_file: {file} holds {len(token)} characters, {SHORTEST_TOKEN} are "
                "the least (openssl rand -hex 32)"
            )
        if file.stat().st_mode & 0o007:
            problems.append(f"control.token_file: everybody may read {file}; chmod 600 {file}")
    except OSError as error:
        problems.append(f"control.token_file: {error}")
    try:
        if Path(str(config.tls_key)).stat().st_mode & 0o007:
            problems.append(
                f"control.tls_key: everybody may read {config.tls_key}; chmod 600 {config.tls_key}"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(config.tls_cert), str(config.tls_key), password="")
    except (OSError, ValueError) as error:
        problems.append(f"control.tls_cert, control.tls_key: {error}")
    if problems:
        raise ConfigError(problems)
    return token
