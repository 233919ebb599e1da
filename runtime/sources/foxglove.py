"""Foxglove's CompressedImage in protobuf, by its published numbers: what a file says of its own
types is not needed, and not believed."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

_FIELDS = (("timestamp", 1, 11), ("data", 2, 12), ("format", 3, 9), ("frame_id", 4, 9))


@cache
def compressed_image() -> Any:
    """The message class: timestamp (message), data (bytes), format and frame_id (strings)."""
    message = descriptor_pb2.DescriptorProto(name="CompressedImage")
    for name, number, kind in _FIELDS:
        field = message.field.add(name=name, number=number, type=kind, label=1)
        if kind == 11:
            field.type_name = ".google.protobuf.Timestamp"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(
        descriptor_pb2.FileDescriptorProto(
            name="foxglove/CompressedImage.proto", package="foxglove", syntax="proto3",
            dependency=["google/protobuf/timestamp.proto"], message_type=[message],
        )
    )  # fmt: skip
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("foxglove.CompressedImage"))
