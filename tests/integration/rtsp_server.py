"""A real RTSP server (GStreamer's), run by Debian's Python: PORT PIPELINE [USER:PASSWORD].

It serves PIPELINE as /cam, says "ready" and ends with its stdin.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def main(port: str, pipeline: str, login: str = "") -> None:
    """Serve for ever."""
    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_service(port)
    server.set_address("127.0.0.1")
    factory.set_launch(f"( {pipeline} )")
    factory.set_shared(True)
    if login:
        guard, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "user")
        guard.add_basic(GstRtspServer.RTSPAuth.make_basic(*login.split(":")), token)
        server.set_auth(guard)
        factory.add_role_from_structure(
            Gst.Structure.new_from_string(
                "user, media.factory.access=true, media.factory.construct=true"
            )
        )
    server.get_mount_points().add_factory("/cam", factory)
    loop = GLib.MainLoop()
    assert server.attach(None) > 0
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    print("ready", flush=True)
    loop.run()


main(*sys.argv[1:])
