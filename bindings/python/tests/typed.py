"""How a program with types uses the package: checked by `mypy --strict`, never run."""

import asyncio
import pathlib
from collections.abc import Coroutine
from typing import Any, Literal, assert_type

import numpy as np

import drystone
from drystone import Blob, Cache, Refs, Store, memoize
from drystone.memoize import AsyncMemoized, BoundMemoized, Memoized, Shelved

with Store(pathlib.Path("somewhere"), hash="blake3", size_limit=1 << 30) as store:
    assert_type(store, Store)
    id = store.put(b"granite", synced=True)
    assert_type(id, str)
    blob = store.get(id)
    assert_type(blob, Blob | None)
    if blob is not None:
        assert_type(np.frombuffer(memoryview(blob), np.uint8).size, int)
        store.put(blob)
    store.put(np.zeros(3))
    assert_type(store.get_array(store.put_array([[1, 2]])), np.ndarray[Any, np.dtype[Any]] | None)
    names: Refs = store.refs("names")
    entry = names.get("it")
    if entry is not None:
        assert_type(entry["version"], int)
    assert_type(store.compact(all=True)["collected_blobs"], int)
    assert_type(store.fsck(deep=True)["damage"], list[str])
    store.put("text")  # type: ignore[arg-type]

try:
    Store(hash="md5")  # type: ignore[arg-type]
except drystone.InvalidInput as error:
    assert_type(error, drystone.InvalidInput)
    caught: ValueError = error

with Cache("somewhere", size_limit=1 << 30, eviction_policy="s3-fifo") as cache:
    assert_type(cache, Cache)
    cache["granite"] = {"density": 2.7}
    assert_type(cache.set("granite", 1, expire=3.5, tag=("a", 7)), Literal[True])
    assert_type(cache.get("granite", expire_time=True)[1], float | None)
    value, expires, tag = cache.get("granite", expire_time=True, tag=True)
    (key, value), expires = cache.peekitem(last=False, expire_time=True)
    assert_type(expires, float | None)
    assert_type(cache.incr("sum"), int)
    assert_type(cache.incr("sum", 1.5), int | float)
    assert_type(cache.push(b"job"), int)
    assert_type(cache.push(b"job", prefix="jobs"), str)
    assert_type(cache.pull(), tuple[int | None, Any])
    assert_type(cache.peek("jobs", side="back"), tuple[str | None, Any])
    assert_type(cache.pull("jobs", default=0), tuple[Any, Any] | int)
    (job, value), expires = cache.pull("jobs", expire_time=True)
    assert_type(cache.pull(expire_time=True, tag=True), tuple[Any, float | None, Any])
    assert_type(cache.evict("a"), int | None)
    assert_type(cache.evict("a", count=True), int)
    assert_type(cache.clear(), int)
    assert_type(cache.stats(reset=True), tuple[int, int])
    assert_type(cache.read("granite").read(), bytes)
    assert_type(cache.info()["evictions"], int)
    assert_type(cache.reset("size_limit", None), int | None)
    with cache.transact():
        del cache["granite"]
    cache.push(b"job", side="left")  # type: ignore[call-overload]
    Cache(eviction_policy="newest")  # type: ignore[arg-type]
    cache[[1]] = 1  # type: ignore[index]


@cache.memoize(expire=60, tag="areas", ignore=("verbose",))
def area(width: float, height: float = 1, *, verbose: bool = False) -> float:
    return width * height


assert_type(area(2, height=3), float)
assert_type(area.refresh(2), float)
assert_type(area.invalidate(2, 3), bool)
assert_type(area.shelve(2).get(), float)
assert_type(area.shelve(2).get(None), float | None)
assert_type(area.cache_info()["hits"], int)
kept: Memoized[..., float] = area
ticket: Shelved[float] = area.shelve(2)
area("2")  # type: ignore[arg-type]
area(2, depth=3)  # type: ignore[call-arg]


@memoize("somewhere", size_limit=None, typed=True)
async def later(count: int) -> list[int]:
    return [count]


asynchronous: AsyncMemoized[[int], list[int]] = later
assert_type(asyncio.run(later(3)), list[int])
computing: Coroutine[Any, Any, list[int]] = later.call(3)
assert_type(asyncio.run(later.shelve(3)).get(), list[int])
asyncio.run(later("3"))  # type: ignore[arg-type]


class Rock:
    @cache.memoize(ignore=("self",))
    def density(self, depth: int) -> float:
        return 2.7 + depth


method: BoundMemoized[[int], float] = Rock().density
assert_type(Rock().density(3), float)
assert_type(Rock().density.refresh(3), float)
Rock().density("3")  # type: ignore[arg-type]
cache.memoize("name")(3)  # type: ignore[call-overload]
