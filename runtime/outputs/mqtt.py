"""Class areas and label maps over MQTT (paho-mqtt), at most once: what is late is worth nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2

from acclimate.configs.outputs import OutputsConfig
from acclimate.errors import ConfigError
from acclimate.runtime.outputs.side import Shown

PORTS = {"mqtt": 1883, "mqtts": 8883}


class Publisher:
    """Connects in the background, from the first result on and whenever the broker was gone."""

    def __init__(self, config: OutputsConfig) -> None:
        """Raises ConfigError without paho-mqtt, or where the password cannot be read."""
        url = urlsplit(config.mqtt or "")
        self._topic, self._labels = url.path.strip("/"), config.mqtt_labels
        self._client = _client()
        if url.username:
            self._client.username_pw_set(unquote(url.username), _password(config))
        if url.scheme == "mqtts":
            self._client.tls_set()
        self._client.reconnect_delay_set(1, 30)
        self._client.connect_async(url.hostname or "", url.port or PORTS[url.scheme], keepalive=15)

    def write(self, shown: Shown) -> bool:
        """False while there is no broker."""
        if not self._client.is_connected():
            self._client.loop_start()  # no second one where it runs
            return False
        frame = shown.frame
        said = {
            "frame": frame.frame_id, "time": round(frame.time, 3), "adapter": shown.adapter,
            "areas": shown.areas,
        }  # fmt: skip
        place = f"{self._topic}/{shown.camera}"
        self._client.publish(f"{place}/areas", json.dumps(said))
        if self._labels:
            _, png = cv2.imencode(".png", shown.labels)
            self._client.publish(f"{place}/labels", png.tobytes())
        return True

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_stop()


def _client() -> Any:
    try:
        from paho.mqtt.client import Client  # only where it is asked for
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise ConfigError(["outputs.mqtt needs paho-mqtt: pip install 'acclimate[mqtt]'"]) from (
            error
        )
    return Client(CallbackAPIVersion.VERSION2)


def _password(config: OutputsConfig) -> str | None:
    if config.mqtt_password_file is None:
        return None
    try:
        return Path(config.mqtt_password_file).read_text().splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise ConfigError(
            [f"outputs.mqtt_password_file: {config.mqtt_password_file} holds no password ({error})"]
        ) from error
