"""What is opened for an address, and what errors mean."""

from __future__ import annotations

import errno

import av.error
import pytest

from acclimate.configs.source import SourceConfig
from acclimate.errors import RefusedError, SourceError
from acclimate.runtime.sources.address import address_of, explain


def test_rtsp_goes_by_tcp_or_udp_and_asks_for_pictures_only() -> None:
    config = SourceConfig(transport="udp", latency_seconds=0.35)
    address = address_of("rtsp://a/b", config)
    assert (address.file, address.format, address.device) == ("rtsp://a/b", None, None)
    assert address.options["rtsp_transport"] == "udp"
    assert address.options["max_delay"] == "350000"
    assert address.options["allowed_media_types"] == "video"
    assert address_of("rtsp://a/b", SourceConfig()).options["rtsp_transport"] == "tcp"
    assert "rtsp_transport" not in address_of("http://a/b", config).options


def test_a_camera_on_a_cable_has_a_device_and_options() -> None:
    config = SourceConfig()
    assert address_of("2", config).file == "/dev/video2"
    address = address_of("/dev/video0?video_size=1280x720&input_format=mjpeg", config)
    assert (address.file, address.format, address.device) == ("/dev/video0", "v4l2", "/dev/video0")
    assert address.options["video_size"] == "1280x720"
    assert address.options["input_format"] == "mjpeg"
    with pytest.raises(SourceError, match=r"'size'.*video_size"):
        address_of("/dev/video0?size=3", config)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (av.error.HTTPNotFoundError(1, "x"), "404"),
        (av.error.ConnectionRefusedError(errno.ECONNREFUSED, "x"), "nothing listens"),
        (av.error.ExitError(1, "x"), "nothing for 7 s"),
        (av.error.FileNotFoundError(errno.ENOENT, "x"), "plugged in"),
        (av.error.OSError(errno.EBUSY, "x"), "another program"),
        (av.error.PermissionError(errno.EACCES, "x"), "group video"),
        (av.error.InvalidDataError(1, "x"), "no picture came"),
        (av.error.BugError(1, "x"), "BugError"),
    ],
)
def test_errors_are_told_with_a_remedy(error: Exception, says: str) -> None:
    found = explain(error, 7.0)
    assert says in str(found)
    assert not isinstance(found, RefusedError)


def test_a_wrong_password_is_a_refusal() -> None:
    assert isinstance(explain(av.error.HTTPUnauthorizedError(1, "x"), 1), RefusedError)
