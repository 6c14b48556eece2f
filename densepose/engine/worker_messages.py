"""How a record gets from a worker of a data loader to the training process.

torch passes each tensor of a record through a socket of its own, which for a dozen small tensors
takes longer than copying them (6 ms a record against 2). Here a record travels as one message.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import get_worker_info


class OneMessage:
    """Calls a mapper; inside a worker its result is sent as a whole, copied."""

    def __init__(self, mapper: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.mapper = mapper

    def __call__(self, record: dict[str, Any]) -> Any:
        """The mapped record, or in a worker what becomes it when it arrives."""
        mapped = self.mapper(record)
        return mapped if get_worker_info() is None else _Message(mapped)


class _Message:
    """Pickled and unpickled, this is its content again."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        stream = io.BytesIO()
        _CopyingPickler(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(self.content)
        return pickle.loads, (stream.getvalue(),)


class _CopyingPickler(pickle.Pickler):
    """Writes CPU tensors by value."""

    def reducer_override(self, value: Any) -> Any:
        """How a tensor is rebuilt; everything else as usual."""
        if type(value) is not torch.Tensor or value.device.type != "cpu" or value.requires_grad:
            return NotImplemented
        try:
            array = value.numpy()
        except (TypeError, RuntimeError):  # bfloat16, quantised, sparse
            return NotImplemented
        return torch.from_numpy, (array,)
