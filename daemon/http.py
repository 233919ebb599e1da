"""A small window for people, Prometheus and supervisors; nothing can be changed through it.

/ a page; /metrics; /status as JSON; /latest.jpg the newest overlay, /latest.png its label map,
/stream.mjpg overlays as they come, of several cameras with -NAME before the dot; /livez: the daemon
answers; /readyz (and /healthz): frames come from a camera.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from acclimate.errors import ConfigError

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>acclimate</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
 main { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
 #cameras { display: grid; gap: 1rem; margin-bottom: 1rem;
   grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
 figure { margin: 0; } figcaption { opacity: .7; }
 img { width: 100%; border-radius: .5rem; image-rendering: pixelated; background: #8883; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
 td { padding: .3rem .5rem; border-bottom: 1px solid #8884; vertical-align: top; }
 td:first-child { opacity: .7; width: 12rem; }
</style>
<main><h1>acclimate</h1><div id="cameras"></div><table id="rows"></table></main>
<script>
 const text = v => v === null ? "-" : Array.isArray(v) ? v.join(", ") || "none" :
   typeof v === "object" ?
     Object.entries(v).map(([k, x]) => k + " " + text(x)).join(", ") || "none" :
   typeof v === "number" ? String(Math.round(v * 1000) / 1000) : String(v);
 const shown = {};
 function show(names) {
   for (const name of names) {
     if (!(name in shown)) {
       const [figure, caption] = [document.createElement("figure"),
                                  document.createElement("figcaption")];
       shown[name] = document.createElement("img");
       shown[name].alt = "latest overlay of " + name;
       caption.textContent = names.length > 1 ? name : "";
       figure.append(shown[name], caption);
       document.getElementById("cameras").append(figure);
     }
     const of = names.length > 1 ? "-" + name : "";
     shown[name].src = "latest" + of + ".jpg?" + Date.now();
   }
 }
 async function refresh() {
   try {
     const status = await (await fetch("status")).json();
     const rows = Object.entries(status).map(([name, value]) => {
       const row = document.createElement("tr");
       row.append(...[name.replaceAll("_", " "), text(value)].map(words => {
         const cell = document.createElement("td"); cell.textContent = words; return cell; }));
       return row; });
     document.getElementById("rows").replaceChildren(...rows);
     show(Object.keys(status.cameras ?? {}));
     document.title = "acclimate: " + status.active;
   } catch { document.title = "acclimate: no answer"; }
 }
 refresh(); setInterval(refresh, 1000);
</script></html>
"""
PICTURE = re.compile(r"/(latest(?:-[\w-]+)?\.(jpg|png))")
STREAM = re.compile(r"/stream((?:-[\w-]+)?)\.mjpg")
VIEWERS, LOOK_S, EDGE = 4, 0.1, "frame"  # streams at once; how often a picture is looked for
MOST_GUESTS = 32
KINDS = {"jpg": "image/jpeg", "png": "image/png"}
Reply = tuple[int, str, bytes]


class _Server(ThreadingHTTPServer):
    """With at most MOST_GUESTS at once: a thread and a descriptor each are the daemon's own, and
    whoever holds thousands of them open would take away those of its files and processes."""

    def __init__(self, *arguments: Any) -> None:
        self._rooms = threading.BoundedSemaphore(MOST_GUESTS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Turned away where it is full."""
        if self._rooms.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._rooms.release()


class Window:
    """Serves what `status` and `metrics` give; `healthy` decides over /healthz."""

    def __init__(
        self, host: str, port: int, state: Path, status: Callable[[], dict[str, Any]],
        metrics: Callable[[], bytes],
    ) -> None:  # fmt: skip
        self._state, self._status, self._metrics = state, status, metrics
        self._closing, self._viewers = threading.Event(), threading.BoundedSemaphore(VIEWERS)
        try:
            self._server = _Server((host, port), self._handler())
        except (OSError, OverflowError) as error:
            raise ConfigError(
                [f"daemon.http_port: cannot listen on {host}:{port} ({error}); 0 takes a free one"]
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def reply(self, path: str) -> Reply:
        """Status code, content type and body for a path."""
        if path == "/":
            return 200, "text/html; charset=utf-8", PAGE.encode()
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", self._metrics()
        if path == "/status":
            return 200, "application/json", json.dumps(self._status()).encode()
        if path == "/livez":
            return 200, "text/plain", b"alive\n"
        if path in ("/healthz", "/readyz"):
            source = self._status().get("source")
            return (200 if source == "live" else 503), "text/plain", f"source {source}\n".encode()
        if match := PICTURE.fullmatch(path):
            with contextlib.suppress(FileNotFoundError):
                return 200, KINDS[match[2]], (self._state / match[1]).read_bytes()
        places = "/, /metrics, /status, /latest.jpg, /latest.png, /stream.mjpg, /livez, /readyz"
        return 404, "text/plain", f"there are {places}\n".encode()

    def pictures(self, camera: str) -> Iterator[bytes]:
        """Each new overlay of a camera ("" or "-NAME"), until the window closes."""
        path, before = self._state / f"latest{camera}.jpg", None
        while not self._closing.is_set():
            with contextlib.suppress(FileNotFoundError):
                if (now := path.stat().st_mtime_ns) != before:
                    before = now
                    yield path.read_bytes()
            self._closing.wait(LOOK_S)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        window = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # seconds that a viewer may keep us waiting

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                if match := STREAM.fullmatch(path):
                    self._stream(match[1])
                    return
                self._answer(*window.reply(path))

            def _answer(self, code: int, kind: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def _stream(self, camera: str) -> None:
                if not window._viewers.acquire(blocking=False):
                    self._answer(503, "text/plain", f"{VIEWERS} watch already\n".encode())
                    return
                try:
                    self.send_response(200)
                    kind = f"multipart/x-mixed-replace; boundary={EDGE}"
                    self.send_header("Content-Type", kind)
                    self.send_header("Cache-Control", "no-store")
                    self.end_headers()
                    for jpg in window.pictures(camera):
                        head = f"--{EDGE}\r\nContent-Type: image/jpeg\r\n"
                        length = f"Content-Length: {len(jpg)}\r\n\r\n"
                        self.wfile.write((head + length).encode() + jpg + b"\r\n")
                except (BrokenPipeError, ConnectionResetError, TimeoutError):
                    self.close_connection = True  # whoever watched is gone
                finally:
                    window._viewers.release()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
