"""Keys of `outputs`: where results go for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class OutputsConfig:
    """Each output has a thread of its own and loses results sooner than it holds up the engine; at
    most `hz` results a second of each camera (0 = all).

    `mqtt`: mqtt://[user@]host[:port]/topic, or mqtts:// for TLS. Class areas go as JSON to
    TOPIC/CAMERA/areas, with `mqtt_labels` label maps as PNG to TOPIC/CAMERA/labels; the password
    is the first line of `mqtt_password_file`.
    `mcap`: a folder for recordings that ROS 2 and Foxglove open: pictures, label maps, areas. A
    new file at `mcap_mb`; of more than `mcap_files` the oldest is removed.
    `shared`: a folder in memory, such as /dev/shm/acclimate, with CAMERA.labels: the newest label
    map, to be read by `acclimate.runtime.outputs.shared.read` or by what maps the file.
    """

    hz: float = 0.0
    mqtt: str | None = None
    mqtt_labels: bool = False
    mqtt_password_file: str | None = None
    mcap: str | None = None
    mcap_mb: float = 256.0
    mcap_files: int = 8
    shared: str | None = None

    def problems(self) -> list[str]:
        """What is wrong with them together."""
        if self.mqtt is None:
            return []
        try:
            url = urlsplit(self.mqtt)
            port = url.port
        except ValueError as error:
            return [f"mqtt: {self.mqtt!r} is no address: {error}"]
        if url.password is not None:
            return ["mqtt: a password belongs into mqtt_password_file, not into the address"]
        if url.scheme not in ("mqtt", "mqtts") or not url.hostname or port == 0:
            return [f"mqtt: {self.mqtt!r} is not like mqtt://host:1883/topic"]
        if not url.path.strip("/") or set(self.mqtt) & set("+#"):
            return [f"mqtt: {self.mqtt!r} names no topic to publish on, as in mqtt://host/topic"]
        return []
