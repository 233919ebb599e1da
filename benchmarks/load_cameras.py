"""Cameras with a clock of their own: MJPEG over HTTP, each picture with its number in it.

    python -m benchmarks.load_cameras N FPS

A process of its own. Camera c of N shows picture k at `start` + (k + c / N) / FPS seconds of the
monotonic clock, whether or not anyone keeps up: who sees number k later than that lags. Says its
port and `start`, then serves until its stdin ends.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.serving import ServingConfig
from acclimate.world import Drive

BITS, EDGE = 8, "frame"
NUMBERS = 2**BITS  # then they begin again


@dataclass(frozen=True)
class Street:
    """Cameras that are there to be looked at."""

    cameras: int
    fps: float
    port: int
    start: float

    def url(self, camera: int) -> str:
        """The address of one."""
        return f"http://127.0.0.1:{self.port}/{camera}"

    def age(self, image: NDArray[np.uint8], camera: int, now: float) -> float:
        """Seconds since a camera showed this picture, if it was among its last NUMBERS."""
        phase = camera / self.cameras
        newest = int((now - self.start) * self.fps - phase)
        number = newest - (newest - number_of(image)) % NUMBERS
        return now - self.start - (number + phase) / self.fps


@contextlib.contextmanager
def street(cameras: int, fps: float) -> Iterator[Street]:
    """Start them; they end with the context."""
    words = [sys.executable, "-m", "benchmarks.load_cameras", str(cameras), str(fps)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port, start = process.stdout.readline().split()
        yield Street(cameras, fps, int(port), float(start))
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def marked(image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A picture (H,W,3) with its number along the upper edge, readable after JPEG."""
    out, side = image.copy(), image.shape[1] // BITS
    for bit in range(BITS):
        out[:side, bit * side : (bit + 1) * side] = 255 * (number >> bit & 1)
    return out


def number_of(image: NDArray[np.uint8]) -> int:
    """The number that `marked` wrote."""
    side = image.shape[1] // BITS
    squares = image[:side, : BITS * side].reshape(side, BITS, side, 3).mean((0, 2, 3))
    return sum(1 << bit for bit in range(BITS) if squares[bit] > 127)


def pictures() -> list[bytes]:
    """NUMBERS pictures of a drive as JPEG, of the size that is served."""
    drive = Drive(9, ServingConfig().size, fps=4.0)
    views = (drive.frame(k)[0][:, :, ::-1] for k in range(NUMBERS))
    return [cv2.imencode(".jpg", marked(view, k))[1].tobytes() for k, view in enumerate(views)]


def handler(cameras: int, fps: float, start: float) -> type[BaseHTTPRequestHandler]:
    """One connection = one camera, looked at from now on."""
    shown = pictures()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            phase = int(self.path.strip("/")) / cameras
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={EDGE}")
            self.end_headers()
            number = max(0, int((time.monotonic() - start) * fps))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while True:
                    time.sleep(max(0.0, start + (number + phase) / fps - time.monotonic()))
                    self._show(shown[number % NUMBERS])
                    number += 1
            self.close_connection = True

        def _show(self, jpg: bytes) -> None:
            head = f"--{EDGE}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpg + b"\r\n")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


def main() -> None:
    """See the module."""
    start = time.monotonic()
    cameras, fps = int(sys.argv[1]), float(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(cameras, fps, start))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], start, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
