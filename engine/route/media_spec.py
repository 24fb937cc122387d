"""The keys that say what becomes of pictures and files that a request names by URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.options import Duration, Size, option


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSpec:
    """Pictures and files named by URL: fetched by the engine, and sent as bytes, or not."""

    fetch: Literal["never", "needed", "always"] = option(
        "never",
        "whether the engine fetches them; needed: those that the upstream cannot take by URL, or "
        "that are uploaded",
    )
    hosts: list[str] = option(
        ["*"],
        "globs for hosts that may be asked; only at public addresses, and with a port where it is "
        "not that of the scheme",
        lone=True,
        example='["*.example.com", "pictures.example.org:8443"]',
    )
    internal: list[str] = option(
        [],
        "further hosts, by their whole names, that may have an address of an internal network or "
        "of this machine",
        lone=True,
        example="[files.lan:9000]",
    )
    most: int = option(20, "most that are fetched for one request")
    largest: Size = option(
        Size(10 * 1024**2), "largest of them; all together are at most `limits.request`"
    )
    timeout: Duration = option(Duration(20.0), "the longest wait for all of a request")
