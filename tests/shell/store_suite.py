"""What every store must do. A test class inherits it and brings two fixtures:

store  an empty Store
tick   moves the store's clock on by some seconds
"""

from __future__ import annotations

from collections.abc import Callable

from engine.ports import Store

Tick = Callable[[float], None]


class StoreSuite:
    async def test_what_was_put_is_got(self, store: Store) -> None:
        await store.put("a", b"\x00\xff one")
        assert await store.get("a") == b"\x00\xff one"

    async def test_an_unknown_key_is_none(self, store: Store) -> None:
        assert await store.get("nothing") is None

    async def test_an_empty_value_is_not_none(self, store: Store) -> None:
        await store.put("a", b"")
        assert await store.get("a") == b""

    async def test_a_second_put_replaces(self, store: Store) -> None:
        await store.put("a", b"one")
        await store.put("a", b"two")
        assert await store.get("a") == b"two"

    async def test_a_deleted_key_is_gone(self, store: Store) -> None:
        await store.put("a", b"one")
        await store.delete("a")
        await store.delete("a")
        assert await store.get("a") is None

    async def test_keys_differ_in_every_character(self, store: Store) -> None:
        for key in ("a", "A", "a ", "a%", "a'", "ä", "键"):
            await store.put(key, key.encode())
        for key in ("a", "A", "a ", "a%", "a'", "ä", "键"):
            assert await store.get(key) == key.encode()

    async def test_a_value_lives_as_long_as_its_ttl(self, store: Store, tick: Tick) -> None:
        await store.put("a", b"one", ttl=10)
        tick(9)
        assert await store.get("a") == b"one"
        tick(1)
        assert await store.get("a") is None

    async def test_without_ttl_a_value_stays(self, store: Store, tick: Tick) -> None:
        await store.put("a", b"one")
        tick(10**9)
        assert await store.get("a") == b"one"

    async def test_a_second_put_brings_its_own_ttl(self, store: Store, tick: Tick) -> None:
        await store.put("a", b"one", ttl=10)
        await store.put("a", b"two")
        tick(20)
        assert await store.get("a") == b"two"

    async def test_trim_forgets_the_least_recently_written(self, store: Store) -> None:
        for key in ("s/a", "s/b", "s/c", "other"):
            await store.put(key, b"1")
        await store.put("s/a", b"2")
        assert await store.trim("s/", 2) == 1
        assert [await store.get(k) for k in ("s/a", "s/b", "s/c")] == [b"2", None, b"1"]
        assert await store.get("other") == b"1"

    async def test_trim_goes_by_writing_and_not_by_reading(self, store: Store) -> None:
        await store.trim("s/", 9)
        for key in ("s/a", "s/b", "s/c"):
            await store.put(key, b"1")
        await store.get("s/a")
        assert await store.trim("s/", 2) == 1
        assert await store.get("s/a") is None

    async def test_trim_leaves_what_is_within_bounds(self, store: Store) -> None:
        await store.put("s/a", b"1")
        assert await store.trim("s/", 1) == 0
        assert await store.get("s/a") == b"1"

    async def test_trim_to_nothing_empties_the_prefix(self, store: Store) -> None:
        for at in range(5):
            await store.put(f"s/{at}", b"1")
        assert await store.trim("s/", 0) == 5
        assert await store.get("s/4") is None

    async def test_trim_counts_no_expired_values(self, store: Store, tick: Tick) -> None:
        await store.put("s/new", b"1")
        await store.put("s/old", b"1", ttl=1)
        tick(2)
        assert await store.trim("s/", 1) == 0
        assert await store.get("s/new") == b"1"

    async def test_trim_again_and_again(self, store: Store) -> None:
        for at in range(30):
            await store.put(f"s/{at}", b"1")
            await store.put(f"t/{at}", b"1")
            await store.trim("s/", 3)
        kept = [at for at in range(30) if await store.get(f"s/{at}")]
        assert kept == [27, 28, 29]
        assert await store.get("t/0") == b"1"

    async def test_a_prefix_is_no_pattern(self, store: Store) -> None:
        for key in ("a_b/1", "axb/1", "a%/1"):
            await store.put(key, b"1")
        assert await store.trim("a_b/", 0) == 1
        assert await store.get("axb/1") == b"1"
        assert await store.trim("a%/", 0) == 1
