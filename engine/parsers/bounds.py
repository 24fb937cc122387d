"""What every parser is bound by: the size of one frame, and the error when framing breaks.

One rule for all: what was whole before the fault is handed out first. A call that found whole
records gives them and leaves the faulty bytes where they are, so that the next call (`finish` at
the latest) meets them at the front and raises. Where the network cut the bytes therefore never
decides which records are seen.
"""

from __future__ import annotations

MAX_FRAME = 16 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class FramingError(ValueError):
    """The bytes cannot be split any further: frame too large, bad length, bad checksum."""


def too_large(limit: int) -> FramingError:
    return FramingError(f"a frame is larger than {limit} bytes")
