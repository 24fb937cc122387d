"""A right that one of several processes holds for some seconds: who refreshes, who cleans up.

It is an entry of a shared store, made and given back by compare-and-set, so that only its holder
can extend or release it. When the holder dies it runs out by itself. What a holder does under a
lease that ran out unnoticed must be fenced by a compare-and-set of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from engine.ports import Store


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held. All methods may raise StoreError."""

    store: Store
    key: str
    token: bytes

    async def extend(self, seconds: float) -> bool:
        """Hold it for so long from now; False if it was lost."""
        return await self.store.swap(self.key, self.token, self.token, seconds)

    async def release(self) -> None:
        await self.store.swap(self.key, self.token, None)


async def take(store: Store, key: str, seconds: float, random: Random) -> Lease | None:
    """The lease of this name, None if somebody holds it. Raises StoreError."""
    token = b"%032x" % random.getrandbits(128)
    if await store.swap(key, None, token, seconds):
        return Lease(store, key, token)
    return None
