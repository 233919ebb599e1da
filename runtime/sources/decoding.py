"""Packets to pictures, by PyAV: the one decoder of films, cameras and pipelines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from acclimate.errors import SourceError
from acclimate.runtime.sources.captured import Picture

# FFmpeg's devices that give frames back to ordinary memory, and what is there if the driver is
DEVICES = {"cuda": Path("/dev/nvidiactl"), "vaapi": Path("/dev/dri/renderD128")}
Opener = Callable[[HWAccel | None], InputContainer]
ODD_TEXT = "replace"  # of titles and the like, for every av.open: nobody's reason to stop


@dataclass(frozen=True)
class Shot:
    """One picture (H,W,3) RGB of a stream, or why there is none.

    `at`: monotonic seconds of its arrival, before it was decoded. `seconds` is the stream's own
    clock, None where it has none.
    """

    at: float
    seconds: float | None = None
    image: Picture | None = None
    flaw: str = ""


def open_decoder(opener: Opener, hardware: bool) -> tuple[InputContainer, str]:
    """A container and how it is decoded, in words. `hardware` tries the devices that are
    there; whatever they refuse is decoded by the processor. Raises what `opener` raises."""
    refusals = []
    for device, place in DEVICES.items() if hardware else ():
        if device not in hwdevices_available() or not place.exists():
            continue
        try:
            container = opener(HWAccel(device, allow_software_fallback=True))
        except (av.error.HTTPError, ConnectionError, TimeoutError):
            raise  # not the device's fault: a camera need not be asked twice
        except (av.error.FFmpegError, NotImplementedError, RuntimeError) as error:
            refusals.append(f"{device} refused: {error}")
            continue
        contexts = [stream.codec_context for stream in container.streams.video]
        if any(context is not None and context.is_hwaccel for context in contexts):
            return container, f"decoded by {device}"
        return container, f"decoded in software: {device} does not know this codec"
    why = "; ".join(refusals) or ("no device for it" if hardware else "as configured")
    return opener(None), f"decoded in software ({why})"


def video_of(container: InputContainer) -> Any:
    """Its first video stream; raises SourceError without one that could be decoded."""
    if not container.streams.video:
        raise SourceError("it has no video")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise SourceError("its video is in a codec that is not known here")
    return stream


def fps_of(container: InputContainer, default: float) -> float:
    """Frames a second as far as the container knows."""
    stream = video_of(container)
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate < 1000 else default


def shots(stream: Any, packets: Iterator[Any]) -> Iterator[Shot]:
    """Every picture in `packets`; what cannot be decoded, or only around a hole, has the flaw
    "corrupt". Raises FFmpegError where reading ends in an error."""
    for packet in packets:
        at = time.monotonic()
        try:
            frames = stream.codec_context.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            yield Shot(at, flaw="corrupt")
            continue
        for frame in frames:
            if frame.is_corrupt:
                yield Shot(at, flaw="corrupt")
            else:
                yield Shot(at, frame.time, _rgb(frame))


def _rgb(frame: Any) -> Picture:
    """Upright: phones and some cameras turn the sensor and say so beside the frame."""
    image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
