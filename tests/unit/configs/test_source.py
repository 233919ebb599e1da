"""Addresses as people may see them."""

from __future__ import annotations

import pytest

from acclimate.configs.source import public


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("rtsp://u:p@host:554/x?y", "rtsp://host:554/x?y"),
        ("rtsp://u:p@ss@host/x", "rtsp://host/x"),
        ("gst:rtspsrc location=rtsp://u:p@host ! x", "gst:rtspsrc location=rtsp://host ! x"),
        ("cannot read rtsp://u:p@host/x, me@home", "cannot read rtsp://host/x, me@home"),
        ("http://host/a@b", "http://host/a@b"),
        ("rtsp://u:p/a:ss@host/x", "rtsp://host/x"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("rtspsrc user-id=u user-pw=secret ! x", "rtspsrc user-id=u user-pw=*** ! x"),
        ("world:seed=3", "world:seed=3"),
    ],
)
def test_user_and_password_are_not_told(told: str, shown: str) -> None:
    assert public(told) == shown
