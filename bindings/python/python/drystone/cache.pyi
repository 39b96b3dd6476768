"""The cache: what DiskCache's `Cache` offers. Values are `Any`: a cache holds what it was given."""

import os
from collections.abc import Callable, Hashable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Protocol, Self, TypeAlias, TypedDict, TypeVar, final, overload
from typing import type_check_only
from warnings import WarningMessage

from drystone import _drystone
from drystone.memoize import _Decorator, _Ignore
from drystone.report import Report
from drystone.store import Store

_Policy: TypeAlias = Literal[
    "s3-fifo", "least-recently-stored", "least-recently-used", "least-frequently-used", "none"
]
_Side: TypeAlias = Literal["front", "back"]
#: A text or number; of a tuple each of its items is one.
_Tag: TypeAlias = Hashable
#: Seconds since 1970.
_Time: TypeAlias = float
_D = TypeVar("_D")

@type_check_only
class _Readable(Protocol):
    def read(self) -> Any: ...

@type_check_only
class _Counts(TypedDict):
    hits: int
    misses: int
    sets: int
    evictions: int
    expirations: int
    bytes: int
    items: int

@final
@type_check_only
class _NoValue: ...

@final
@type_check_only
class _Unknown: ...

ENOVAL: Final[_NoValue]
UNKNOWN: Final[_Unknown]
DEFAULT_SIZE_LIMIT: Final[int]
DEFAULT_POLICY: Final[str]

class Cache(_drystone.RawCache):
    """Keys with values, bounded, shared by all processes of a node."""

    def __new__(
        cls,
        directory: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        disk: None = None,
        *,
        name: str = "default",
        size_limit: float | None | _Unknown = ...,
        item_limit: float | None | _Unknown = ...,
        eviction_policy: _Policy | None = None,
        statistics: bool | None = None,
        pickle: bool = False,
        maintenance: float | None = 60.0,
        **unknown: Any,
    ) -> Self: ...
    @property
    def directory(self) -> str: ...
    @property
    def timeout(self) -> float | None: ...
    @property
    def size_limit(self) -> int | None: ...
    @property
    def item_limit(self) -> int | None: ...
    @property
    def eviction_policy(self) -> _Policy: ...
    @property
    def statistics(self) -> bool: ...
    @property
    def tag_index(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    @classmethod
    def _reopen(cls, directory: str, said: dict[str, Any]) -> Self: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    # One key
    @overload
    def set(
        self,
        key: Hashable,
        value: _Readable,
        expire: float | None = None,
        *,
        read: Literal[True],
        tag: _Tag = None,
        retry: bool = False,
    ) -> Literal[True]: ...
    @overload
    def set(
        self,
        key: Hashable,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> Literal[True]: ...
    def __setitem__(self, key: Hashable, value: Any, /) -> None: ...
    @overload
    def get(
        self,
        key: Hashable,
        default: Any = None,
        read: bool = False,
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> Any: ...
    @overload
    def get(
        self,
        key: Hashable,
        default: Any = None,
        read: bool = False,
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[Any, _Time | None]: ...
    @overload
    def get(
        self,
        key: Hashable,
        default: Any = None,
        read: bool = False,
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[Any, Any]: ...
    @overload
    def get(
        self,
        key: Hashable,
        default: Any = None,
        read: bool = False,
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[Any, _Time | None, Any]: ...
    def __getitem__(self, key: Hashable, /) -> Any: ...
    def read(self, key: Hashable, retry: bool = False) -> BinaryIO: ...
    def add(
        self,
        key: Hashable,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> bool: ...
    def touch(self, key: Hashable, expire: float | None = None, retry: bool = False) -> bool: ...
    @overload
    def pop(
        self,
        key: Hashable,
        default: Any = None,
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> Any: ...
    @overload
    def pop(
        self,
        key: Hashable,
        default: Any = None,
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[Any, _Time | None]: ...
    @overload
    def pop(
        self,
        key: Hashable,
        default: Any = None,
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[Any, Any]: ...
    @overload
    def pop(
        self, key: Hashable, default: Any = None, *, expire_time: Literal[True], tag: Literal[True], retry: bool = False
    ) -> tuple[Any, _Time | None, Any]: ...
    def delete(self, key: Hashable, retry: bool = False) -> bool: ...
    def __delitem__(self, key: Hashable, retry: bool = True) -> None: ...
    @overload
    def incr(self, key: Hashable, delta: int = 1, default: int | None = 0, retry: bool = False) -> int: ...
    @overload
    def incr(self, key: Hashable, delta: float, default: float | None = 0, retry: bool = False) -> int | float: ...
    @overload
    def decr(self, key: Hashable, delta: int = 1, default: int | None = 0, retry: bool = False) -> int: ...
    @overload
    def decr(self, key: Hashable, delta: float, default: float | None = 0, retry: bool = False) -> int | float: ...

    # Many keys
    def get_many(self, keys: Iterable[Hashable], default: Any = None) -> list[Any]: ...
    def set_many(
        self,
        pairs: Mapping[Any, Any] | Iterable[tuple[Hashable, Any]],
        expire: float | None = None,
        tag: _Tag = None,
    ) -> None: ...
    def delete_many(self, keys: Iterable[Hashable]) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __reversed__(self) -> Iterator[Any]: ...
    def iterkeys(self, reverse: bool = False) -> Iterator[Any]: ...
    @overload
    def peekitem(
        self,
        last: bool = True,
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[Any, Any]: ...
    @overload
    def peekitem(
        self, last: bool = True, *, expire_time: Literal[True], tag: Literal[False] = False, retry: bool = False
    ) -> tuple[tuple[Any, Any], _Time | None]: ...
    @overload
    def peekitem(
        self, last: bool = True, expire_time: Literal[False] = False, *, tag: Literal[True], retry: bool = False
    ) -> tuple[tuple[Any, Any], Any]: ...
    @overload
    def peekitem(
        self, last: bool = True, *, expire_time: Literal[True], tag: Literal[True], retry: bool = False
    ) -> tuple[tuple[Any, Any], _Time | None, Any]: ...
    def keys(self) -> KeysView[Any]: ...
    def items(self) -> ItemsView[Any, Any]: ...
    def values(self) -> ValuesView[Any]: ...
    def popitem(self) -> tuple[Any, Any]: ...
    def setdefault(self, key: Hashable, default: Any = None) -> Any: ...
    def update(self, other: Mapping[Any, Any] | Iterable[tuple[Hashable, Any]] = (), /, **pairs: Any) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    def __ne__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

    # All of it
    def expire(self, now: _Time | None = None, retry: bool = False) -> int: ...
    @overload
    def evict(self, tag: _Tag, retry: bool = False, *, count: Literal[True]) -> int: ...
    @overload
    def evict(self, tag: _Tag, retry: bool = False, *, count: bool = False) -> int | None: ...
    def cull(self, retry: bool = False) -> int: ...
    def clear(self, retry: bool = False) -> int: ...
    def stats(self, enable: bool | None = True, reset: bool = False) -> tuple[int, int]: ...
    def info(self) -> _Counts: ...
    def check(self, fix: bool = False, retry: bool = False) -> list[WarningMessage]: ...
    @overload
    def reset(
        self, key: Literal["size_limit", "item_limit"], value: float | None = ..., update: bool = True
    ) -> int | None: ...
    @overload
    def reset(self, key: str, value: Any = ..., update: bool = True) -> Any: ...
    def transact(self, retry: bool = False) -> AbstractContextManager[None]: ...

    # Queues
    @overload
    def push(
        self,
        value: Any,
        prefix: None = None,
        side: _Side = "back",
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> int: ...
    @overload
    def push(
        self,
        value: Any,
        prefix: str,
        side: _Side = "back",
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> str: ...
    @overload
    def pull(
        self,
        prefix: None = None,
        default: tuple[None, None] = (None, None),
        side: _Side = "front",
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[int | None, Any]: ...
    @overload
    def pull(
        self,
        prefix: str,
        default: tuple[None, None] = (None, None),
        side: _Side = "front",
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[str | None, Any]: ...
    @overload
    def pull(
        self,
        prefix: str | None = None,
        *,
        default: _D,
        side: _Side = "front",
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[Any, Any] | _D: ...
    @overload
    def pull(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = "front",
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[Any, _Time | None]: ...
    @overload
    def pull(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = "front",
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[Any, Any]: ...
    @overload
    def pull(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = "front",
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[Any, _Time | None, Any]: ...
    @overload
    def peek(
        self,
        prefix: None = None,
        default: tuple[None, None] = (None, None),
        side: _Side = "front",
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[int | None, Any]: ...
    @overload
    def peek(
        self,
        prefix: str,
        default: tuple[None, None] = (None, None),
        side: _Side = "front",
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[str | None, Any]: ...
    @overload
    def peek(
        self,
        prefix: str | None = None,
        *,
        default: _D,
        side: _Side = "front",
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[Any, Any] | _D: ...
    @overload
    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = "front",
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[Any, _Time | None]: ...
    @overload
    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = "front",
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[Any, Any]: ...
    @overload
    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = "front",
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[Any, _Time | None, Any]: ...

    # Functions
    def memoize(
        self,
        name: str | None = None,
        typed: bool = False,
        expire: float | None = None,
        tag: _Tag = None,
        ignore: _Ignore = (),
        *,
        version: Hashable = None,
        wait: float | None = None,
        stale_while_revalidate: float | None = None,
        progress: Literal["tqdm"] | Callable[[dict[str, Any]], object] | None = None,
    ) -> _Decorator: ...
    def report(self) -> Report: ...
    def create_tag_index(self) -> None: ...
    def drop_tag_index(self) -> None: ...
    def store(self) -> Store: ...
    def _store(self) -> Store: ...
    def _end_of_queue(
        self, prefix: str | None, default: Any, side: str, expire_time: bool, tag: bool, removes: bool
    ) -> Any: ...

def _owner() -> int: ...
def _queue_key(prefix: str | None, number: int) -> int | str: ...
