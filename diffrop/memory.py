"""Too little memory, of a GPU or of the host, told from other faults."""

import contextlib
from collections.abc import Iterator

import torch

from diffrop.errors import OutOfMemoryError

HOST_MESSAGES = ("can't allocate memory", "Cannot allocate memory", "std::bad_alloc")
"""What torch says where the host has too little: a RuntimeError without a class of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a GPU or the host had too little memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    known = isinstance(error, RuntimeError)
    return known and any(message in str(error) for message in HOST_MESSAGES)


@contextlib.contextmanager
def out_of_memory_as(sentence: str) -> Iterator[None]:
    """Turn too little memory into OutOfMemoryError with a sentence; other errors pass."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(sentence) from error
