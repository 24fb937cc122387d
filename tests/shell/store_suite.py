"""What every store must do. A test class inherits it and brings two fixtures:

store  an empty Store
tick   moves the store's clock on by some seconds
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from engine.ports import Store, StoreError

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

    async def test_what_lasts_for_ever_stays(self, store: Store, tick: Tick) -> None:
        """An upstream may say of its values what it likes."""
        for ttl in (1e308, float("inf")):
            await store.put("a", b"one", ttl=ttl)
            tick(1e9)
            assert await store.get("a") == b"one"
            await store.delete("a")

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

    # ---- counting, comparing, listing ----

    async def test_a_counter_adds_up(self, store: Store) -> None:
        assert [await store.add("n", by) for by in (1, 5, -2)] == [1, 6, 4]
        assert await store.get("n") == b"4"

    async def test_a_counter_lives_as_long_as_the_first_addition_said(
        self, store: Store, tick: Tick
    ) -> None:
        await store.add("n", 1, ttl=10)
        tick(6)
        assert await store.add("n", 1, ttl=10) == 2
        tick(6)
        assert await store.add("n", 1, ttl=10) == 1

    async def test_additions_at_the_same_time_are_all_counted(self, store: Store) -> None:
        sums = await asyncio.gather(*(store.add("n", 1) for _ in range(50)))
        assert sorted(sums) == list(range(1, 51))

    async def test_what_is_no_counter_cannot_be_added_to(self, store: Store) -> None:
        await store.put("a", b"text")
        with pytest.raises(StoreError):
            await store.add("a", 1)
        assert await store.get("a") == b"text"

    async def test_a_swap_needs_what_it_expects(self, store: Store) -> None:
        assert not await store.swap("a", b"one", b"two")
        assert await store.swap("a", None, b"one")
        assert not await store.swap("a", None, b"two")
        assert not await store.swap("a", b"On", b"two")
        assert await store.get("a") == b"one"
        assert await store.swap("a", b"one", b"two\x00\xff")
        assert await store.get("a") == b"two\x00\xff"

    async def test_a_swap_may_delete_or_only_look(self, store: Store) -> None:
        await store.put("a", b"")
        assert not await store.swap("a", None, None)
        assert await store.swap("a", b"", None)
        assert await store.get("a") is None
        assert await store.swap("a", None, None)

    async def test_of_swaps_at_the_same_time_one_wins(self, store: Store) -> None:
        won = await asyncio.gather(*(store.swap("a", None, b"%d" % at) for at in range(20)))
        assert sum(won) == 1
        assert await store.get("a") == b"%d" % won.index(True)

    async def test_what_has_expired_is_nothing_to_a_swap(self, store: Store, tick: Tick) -> None:
        await store.swap("a", None, b"one", ttl=5)
        tick(6)
        assert not await store.swap("a", b"one", b"two")
        assert await store.swap("a", None, b"two", ttl=5)
        assert await store.swap("a", b"two", b"three", ttl=20)
        tick(6)
        assert await store.get("a") == b"three"

    async def test_a_swap_counts_as_a_writing(self, store: Store) -> None:
        for key in ("s/a", "s/b"):
            await store.put(key, b"1")
        await store.swap("s/a", b"1", b"2")
        assert await store.trim("s/", 1) == 1
        assert await store.get("s/a") == b"2"

    async def test_names_are_listed_by_prefix(self, store: Store, tick: Tick) -> None:
        for key in ("a_b/1", "a_b/2/x", "a_b/ä*[", "axb/1", "a%/1"):
            await store.put(key, b"1")
        await store.put("a_b/old", b"1", ttl=1)
        tick(2)
        assert sorted(await store.keys("a_b/")) == ["a_b/1", "a_b/2/x", "a_b/ä*["]
        assert len(await store.keys("a", 2)) == 2
        assert await store.keys("nothing/") == []

    async def test_trimming_leaves_no_name_behind(self, store: Store) -> None:
        for at in range(5):
            await store.put(f"s/{at}", b"1")
        await store.trim("s/", 2)
        await store.delete("s/4")
        assert await store.keys("s/") == ["s/3"]
