"""Class areas over MQTT, through a real broker that comes late and goes away."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from acclimate.configs.outputs import OutputsConfig
from acclimate.configs.schema import parse_config
from acclimate.errors import ConfigError
from acclimate.runtime.outputs.mqtt import Publisher
from acclimate.runtime.outputs.side import Shown
from tests.conftest import wait_until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


class Broker:
    """mosquitto on a free port of loopback."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path)
    yield one
    one.stop()


@pytest.fixture
def heard(broker: Broker) -> Iterator[dict[str, bytes]]:
    """The newest payload by topic, of a subscriber that connects when it can."""
    said: dict[str, bytes] = {}
    client = Client(CallbackAPIVersion.VERSION2)

    def on_message(client: Client, data: object, message: MQTTMessage) -> None:
        said[message.topic] = message.payload

    client.on_message = on_message
    client.on_connect = lambda *_: said.update(ready=str(client.subscribe("#")).encode())
    client.reconnect_delay_set(1, 1)
    client.connect_async("127.0.0.1", broker.port)
    client.loop_start()
    yield said
    client.disconnect()
    client.loop_stop()


@needs_broker
def test_areas_and_labels_reach_a_subscriber_whenever_there_is_a_broker(
    broker: Broker, heard: dict[str, bytes], shown: Callable[..., Shown]
) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}/vehicle/7"
    publisher, one = Publisher(OutputsConfig(mqtt=url, mqtt_labels=True)), shown(5)
    assert not publisher.write(one), "there is no broker yet"
    for _ in range(2):
        broker.start()

        def arrived() -> bool:
            return publisher.write(one) and "vehicle/7/front/labels" in heard

        wait_until(lambda: "ready" in heard and arrived(), 30, "a label map")
        said = json.loads(heard["vehicle/7/front/areas"])
        assert (said["frame"], said["adapter"], said["areas"]) == (5, "a0007", one.areas)
        png = np.frombuffer(heard["vehicle/7/front/labels"], np.uint8)
        np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), one.labels)
        broker.stop()
        wait_until(lambda: not publisher.write(one), 30, "the loss to be noticed")
        heard.clear()
    publisher.close()


def test_nobody_is_called_before_there_is_something_to_say(shown: Callable[..., Shown]) -> None:
    """Another process may still be saying it."""
    before = threading.enumerate()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        publisher = Publisher(OutputsConfig(mqtt=f"mqtt://127.0.0.1:{server.getsockname()[1]}/a"))
        assert threading.enumerate() == before
        assert not publisher.write(shown(1))
        assert not publisher.write(shown(2))
        assert len(threading.enumerate()) == len(before) + 1
        server.accept()[0].close()
        publisher.close()
    assert threading.enumerate() == before


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"mqtt": "http://host/topic"}, "not like mqtt://"),
        ({"mqtt": "mqtt:///topic"}, "not like mqtt://"),
        ({"mqtt": "mqtt://host"}, "names no topic"),
        ({"mqtt": "mqtt://host/a/#"}, "names no topic"),
        ({"mqtt": "mqtt://host:99999/a"}, "no address"),
        ({"mqtt": "http://me:secret@host/a"}, "mqtt_password_file"),
        ({"mcap_files": 0}, "greater than 0"), ({"hz": -1}, "greater than 0"),
    ],
)  # fmt: skip
def test_addresses_are_checked(keys: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        parse_config({"outputs": keys})
    assert "secret" not in str(caught.value)


def test_a_password_that_is_not_there_is_named(tmp_path: Path) -> None:
    lost = str(tmp_path / "lost")
    with pytest.raises(ConfigError, match=r"outputs\.mqtt_password_file"):
        Publisher(OutputsConfig(mqtt="mqtt://me@127.0.0.1/a", mqtt_password_file=lost))
