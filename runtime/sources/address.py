"""What PyAV is told to open for an address, and what its errors mean."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import av.error

from acclimate.configs.source import SourceConfig
from acclimate.errors import RefusedError, SourceError

DEVICE = re.compile(r"(\d+|/dev/(?:video\d+|v4l/[^?]+))(?:\?(.*))?")
NETWORK = re.compile(r"(rtsps?|https?)://")
DEVICE_OPTIONS = ("video_size", "framerate", "input_format")


@dataclass(frozen=True)
class Address:
    """Arguments of `av.open`. `device`: the device file, for a camera on a cable."""

    file: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    device: str | None = None


def is_camera(url: str) -> bool:
    """Is it the address of a camera that PyAV opens?"""
    return bool(NETWORK.match(url) or DEVICE.fullmatch(url))


def address_of(url: str, config: SourceConfig) -> Address:
    """Raises SourceError naming what is wrong with the url's options."""
    if match := DEVICE.fullmatch(url):
        return _device(url, match[1], match[2] or "")
    options = {"flags": "low_delay"}
    if url.startswith("rtsp"):
        options |= {
            "rtsp_transport": config.transport,
            "max_delay": str(round(1e6 * config.latency_seconds)),
            "allowed_media_types": "video",
        }  # fmt: skip
    return Address(url, None, options)


def _device(url: str, name: str, query: str) -> Address:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if odd := sorted(options.keys() - set(DEVICE_OPTIONS)):
        known = ", ".join(DEVICE_OPTIONS)
        raise SourceError(f"source {url!r}: no option {odd[0]!r} of a camera; known: {known}")
    path = f"/dev/video{name}" if name.isdigit() else name
    # the kernel's stamps are taken when the sensor was read, by the clock of time.monotonic
    return Address(path, "v4l2", {"timestamps": "default"} | options, path)


def explain(error: Exception, silence: float) -> SourceError:
    """An error of PyAV in words, with its remedy."""
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return RefusedError(
            "it refuses user or password; the address has them as USER:PASSWORD@HOST"
        )
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceError("it knows no such stream (404); check the path of the address")
    if isinstance(error, av.error.ConnectionRefusedError):
        return SourceError("nothing listens at that address and port")
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return SourceError(f"it said nothing for {silence:g} s")
    if isinstance(error, av.error.InvalidDataError):
        return SourceError(f"no picture came in {silence:g} s that can be decoded")
    number = getattr(error, "errno", None)
    return SourceError(_BY_NUMBER.get(number or 0) or f"{type(error).__name__}: {error}")


_BY_NUMBER = {
    errno.ENOENT: "there is no such device; is the camera plugged in?",
    errno.ENODEV: "the device is gone; is the camera plugged in?",
    errno.EBUSY: "the device is in use by another program",
    errno.EACCES: "may not be opened; add the user to the group video",
    errno.EHOSTUNREACH: "no way to that address; check cable and network",
    errno.ENETUNREACH: "no way to that address; check cable and network",
}
