"""A control API that is really listened to, over a life cycle whose serving process is scripted."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from acclimate.configs.control import ControlConfig
from acclimate.daemon.api import application
from acclimate.daemon.control import Control
from acclimate.daemon.lifecycle import Lifecycle
from tests.unit.daemon.conftest import CONFIG, House

TOKEN = "0123456789abcdef0123456789abcdef"


@contextlib.contextmanager
def listening(house: House, config: ControlConfig, patience: float = 10.0) -> Iterator[Control]:
    """Sockets open, and the life cycle in a thread of its own."""
    control = Control(config, house.folder, application(house.life, CONFIG, patience), house.log)
    with ticking(house.life):
        yield control
    control.close()


@contextlib.contextmanager
def ticking(life: Lifecycle, pause: float = 0.005) -> Iterator[None]:
    """The life cycle goes on beside the block; raises what it ended of."""
    enough, troubles = threading.Event(), list[Exception]()

    def live() -> None:
        try:
            while not enough.wait(pause):
                life.tick()
        except Exception as error:
            troubles.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
    if troubles:
        raise troubles[0]


def over_tcp(folder: Path) -> ControlConfig:
    """A token and a certificate of localhost, and a free port to find."""
    key, certificate, token = (folder / name for name in ("key.pem", "cert.pem", "token"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    token.touch(0o600)
    token.write_text(TOKEN + "\n")
    return ControlConfig(
        tcp_host="127.0.0.1", tcp_port=0, token_file=str(token), tls_cert=str(certificate),
        tls_key=str(key),
    )  # fmt: skip
