"""Where frames come from: what an address stands for."""

from __future__ import annotations

import glob
from pathlib import Path

from acclimate.configs.source import SourceConfig
from acclimate.errors import SourceError
from acclimate.runtime.datasets import SUFFIXES
from acclimate.runtime.sources.address import is_camera
from acclimate.runtime.sources.bag import BagSource, is_bag
from acclimate.runtime.sources.camera import CameraSource
from acclimate.runtime.sources.captured import Captured as Captured
from acclimate.runtime.sources.captured import Source as Source
from acclimate.runtime.sources.film import FilmSource
from acclimate.runtime.sources.folder import FolderSource
from acclimate.runtime.sources.world import WorldSource
from acclimate.world import parse_spec

FILMS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".ts"}


def open_source(config: SourceConfig, size: tuple[int, int]) -> Source:
    """The source that `config.url` names; raises SourceError naming what is wrong with it."""
    url = config.url
    if url.startswith("world:"):
        try:
            return WorldSource(parse_spec(url), size)
        except ValueError as error:
            raise SourceError(f"source {url!r}: {error}") from error
    if url.startswith("gst:") or is_camera(url):
        return CameraSource(url, config)
    path = Path(url)
    if url and is_bag(path):
        return BagSource(path, config.topic)
    if url and path.is_dir():
        return FolderSource(path)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return FolderSource(path.parent, glob.escape(path.name))
    if path.is_file() and path.suffix.lower() in FILMS:
        return FilmSource(path, config.hardware_decode)
    raise SourceError(
        f"source {url!r} is no image, no folder of images, no film ({', '.join(sorted(FILMS))}), "
        "no ROS 2 bag or MCAP file, no rtsp:// or http:// address, no camera number or device, "
        "no gst: pipeline and no world:"
    )
