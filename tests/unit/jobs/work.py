"""Functions for the worker process: it finds them by name, so they live in a module of their own."""

import os
import threading


def reverse(payload: bytes) -> bytes:
    """Return the payload backwards."""
    return payload[::-1]


def fail(payload: bytes) -> bytes:
    """Raise, naming the payload."""
    raise ValueError(payload.decode())


def hang(payload: bytes) -> bytes:
    """Never return."""
    threading.Event().wait()
    return payload


def die(payload: bytes) -> bytes:
    """End the process without a word."""
    os._exit(7)


def process_id(payload: bytes) -> bytes:
    """Return the worker's own process id."""
    return str(os.getpid()).encode()
