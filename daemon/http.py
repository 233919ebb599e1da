"""A small window for people and Prometheus: /, /metrics, /status, /latest.jpg, /healthz."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from acclimate.errors import ConfigError

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>acclimate</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
 main { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
 img { width: 100%; border-radius: .5rem; image-rendering: pixelated; background: #8883; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
 td { padding: .3rem .5rem; border-bottom: 1px solid #8884; vertical-align: top; }
 td:first-child { opacity: .7; width: 12rem; }
</style>
<main><h1>acclimate</h1><img id="latest" alt="latest overlay"><table id="rows"></table></main>
<script>
 const text = v => v === null ? "-" : Array.isArray(v) ? v.join(", ") || "none" :
   typeof v === "object" ?
     Object.entries(v).map(([k, x]) => k + " " + text(x)).join(", ") || "none" :
   typeof v === "number" ? String(Math.round(v * 1000) / 1000) : String(v);
 async function refresh() {
   try {
     const status = await (await fetch("status")).json();
     const told = Object.entries(status).filter(([name]) => name !== "answers");
     const rows = told.map(([name, value]) => {
       const row = document.createElement("tr");
       row.append(...[name.replaceAll("_", " "), text(value)].map(words => {
         const cell = document.createElement("td"); cell.textContent = words; return cell; }));
       return row; });
     document.getElementById("rows").replaceChildren(...rows);
     document.getElementById("latest").src = "latest.jpg?" + Date.now();
     document.title = "acclimate: " + status.active;
   } catch { document.title = "acclimate: no answer"; }
 }
 refresh(); setInterval(refresh, 1000);
</script></html>
"""
Reply = tuple[int, str, bytes]


class Window:
    """Serves what `status` and `metrics` give; `healthy` decides over /healthz."""

    def __init__(
        self, host: str, port: int, state: Path, status: Callable[[], dict[str, Any]],
        metrics: Callable[[], bytes],
    ) -> None:  # fmt: skip
        self._state, self._status, self._metrics = state, status, metrics
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except (OSError, OverflowError) as error:
            raise ConfigError(
                [f"daemon.http_port: cannot listen on {host}:{port} ({error}); 0 takes a free one"]
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
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
        if path == "/healthz":
            source = self._status().get("source")
            return (200 if source == "live" else 503), "text/plain", f"source {source}\n".encode()
        picture = self._state / "latest.jpg"
        if path == "/latest.jpg" and picture.is_file():
            return 200, "image/jpeg", picture.read_bytes()
        return 404, "text/plain", b"there are /, /metrics, /status, /latest.jpg and /healthz\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        window = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, kind, body = window.reply(self.path.split("?")[0])
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
