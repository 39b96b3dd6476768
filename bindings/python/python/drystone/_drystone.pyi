"""The extension module. What is public of it is re-exported by `drystone`."""

import os
import pathlib
from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypedDict, final, type_check_only

import numpy as np
from typing_extensions import Buffer, disjoint_base

__all__ = [
    "Error",
    "NotFound",
    "NotAStore",
    "AlreadyExists",
    "UnsupportedVersion",
    "ProtocolMismatch",
    "Damaged",
    "IdCollision",
    "NoSpace",
    "IndexFull",
    "Limit",
    "Busy",
    "FileSystemRefused",
    "Permission",
    "ReadOnly",
    "InvalidInput",
    "SyncFailed",
    "Forked",
    "TimedOut",
    "TooLarge",
    "Reentered",
    "IoError",
    "UnsupportedType",
    "Unhashable",
    "BadValue",
    "Blob",
    "Refs",
    "Store",
    "RawCache",
    "RawDraft",
    "Flight",
    "Snapshot",
    "hash_buffer",
    "encode",
    "decode",
    "end_of_calls",
    "calls_forked",
]

_Path: TypeAlias = str | os.PathLike[str]
_Key: TypeAlias = str | bytes
#: NumPy says only from Python 3.12 on that its arrays are buffers.
_Buffer: TypeAlias = Buffer | np.ndarray[Any, np.dtype[Any]] | np.generic
#: Small bytes, the id of a blob, or several ids.
_Target: TypeAlias = bytes | str | Sequence[str]

@type_check_only
class _Stat(TypedDict):
    id: str
    length: int
    segment: int
    offset: int
    pinned: bool

@type_check_only
class _Entry(TypedDict):
    key: bytes
    value: bytes | str | list[str]
    version: int
    expires: float | None
    tags: list[str]
    metadata: bytes

@type_check_only
class _Compaction(TypedDict):
    busy: bool
    complete: bool
    live_refs: int
    live_blobs: int
    collected_blobs: int
    collected_bytes: int
    expired_refs: int
    copied_bytes: int
    removed_segments: int
    bytes_before: int
    bytes_after: int
    held_back_bytes: int

@type_check_only
class _Check(TypedDict):
    clean: bool
    records: int
    bytes: int
    hashed_bytes: int
    damage: list[str]

@type_check_only
class _Stats(TypedDict):
    blobs: int
    refs: int
    pins: int
    live_bytes: int
    segments: int
    segment_bytes: int
    held_back_bytes: int
    index_bytes: int
    free_bytes: int
    file_system: str
    hash: Literal["xxh3", "blake3"] | None

class Error(Exception):
    """The base of all errors of drystone."""

class NotFound(Error, KeyError):
    """What an operation needs is not there."""

class NotAStore(Error, FileNotFoundError):
    """The directory is not a store."""

class AlreadyExists(Error, FileExistsError):
    """A store is there already, with other properties than were asked for."""

class UnsupportedVersion(Error, ValueError):
    """Written by a version of the format that this library does not know."""

class ProtocolMismatch(Error, RuntimeError):
    """Other users of the store run an incompatible version of the library."""

class Damaged(Error, OSError):
    """The files hold something that cannot be."""

class IdCollision(Error, ValueError):
    """Two contents have one id."""

class NoSpace(Error, OSError):
    """The file system is full, or its quota."""

class IndexFull(Error, OSError):
    """The index cannot take another key."""

class Limit(Error, OSError):
    """A limit on descriptors or mappings was hit."""

class Busy(Error, BlockingIOError):
    """Somebody else holds it exclusively."""

class FileSystemRefused(Error, OSError):
    """A file system on which a store cannot be written."""

class Permission(Error, PermissionError):
    """Others own it or may write it."""

class ReadOnly(Error, PermissionError):
    """Opened read-only."""

class InvalidInput(Error, ValueError):
    """No store could accept it."""

class SyncFailed(Error, OSError):
    """An fsync failed: try again."""

class Forked(Error, RuntimeError):
    """Begun before a fork."""

class TimedOut(Error, TimeoutError):
    """The time given ran out."""

class TooLarge(Error, ValueError):
    """A value larger than the whole cache may be."""

class Reentered(Error, RuntimeError):
    """It would wait for itself."""

class IoError(Error, OSError):
    """Any other error of the operating system."""

class UnsupportedType(Error, TypeError):
    """A value or key of a type that is not stored as it is."""

class Unhashable(Error, TypeError):
    """An argument that cannot be told from others by its content."""

class BadValue(Error, ValueError):
    """A stored value that cannot be decoded."""

@final
class Blob:
    """Bytes in the store, without a copy."""

    @property
    def id(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    def _verify(self) -> None: ...
    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class RawDraft:
    """Memory to be filled, and then committed."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def commit(self, refs: Refs | None = None, key: _Key | None = None) -> str: ...

@final
class Refs:
    """Names of one namespace, bound to small bytes or to blobs."""

    @property
    def namespace(self) -> str: ...
    def set(
        self,
        key: _Key,
        value: _Target,
        *,
        expire: float | None = None,
        tags: Sequence[str] = ...,
        metadata: bytes = ...,
    ) -> int: ...
    def add(self, key: _Key, value: _Target) -> int | None: ...
    def compare_and_set(self, key: _Key, expected: int | None, value: _Target) -> int | None: ...
    def get(self, key: _Key) -> _Entry | None: ...
    def wait(self, key: _Key, timeout: float, *, than: int | None = None) -> _Entry | None: ...
    def remove(self, key: _Key) -> bool: ...
    def items(self) -> list[_Entry]: ...

@disjoint_base
class Store:
    """A store of immutable blobs, shared by any number of processes."""

    def __new__(
        cls,
        directory: _Path,
        *,
        read_only: bool = False,
        create: bool = True,
        hash: Literal["xxh3", "blake3"] | None = None,
        size_limit: int | None = None,
        durability: Literal["buffered", "synced"] = "buffered",
        verify: bool = False,
        threads: int | None = None,
    ) -> Self: ...
    @property
    def path(self) -> pathlib.Path: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None, /
    ) -> None: ...
    def put(self, data: _Buffer, *, synced: bool | None = None) -> str: ...
    def _put_headed(self, header: bytes, data: _Buffer, synced: bool | None = None) -> str: ...
    def _reserve(self, header: bytes, length: int) -> RawDraft: ...
    def put_file(self, path: _Path) -> str: ...
    def get(self, id: str) -> Blob | None: ...
    def get_many(self, ids: Sequence[str]) -> list[Blob | None]: ...
    def read_into(self, id: str, offset: int, length: int) -> bytes | None: ...
    def __contains__(self, id: str, /) -> bool: ...
    def stat(self, id: str) -> _Stat | None: ...
    def unpin(self, id: str) -> bool: ...
    def remove(self, id: str) -> bool: ...
    def blobs(self) -> list[str]: ...
    def refs(self, namespace: str) -> Refs: ...
    def namespaces(self) -> list[str]: ...
    def sync(self) -> None: ...
    def compact(
        self,
        *,
        all: bool = False,
        min_garbage: float | None = None,
        rate: int | None = None,
        seconds: float | None = None,
        dry_run: bool = False,
    ) -> _Compaction: ...
    def fsck(self, *, deep: bool = False) -> _Check: ...
    def stats(self) -> _Stats: ...

@final
class Flight:
    """The right to compute a value, until it is released."""

    def release(self) -> None: ...

@final
class Snapshot:
    """An entry as it was read."""

    @property
    def version(self) -> int: ...
    def told(self) -> tuple[Any, float | None, Any]: ...

@disjoint_base
class RawCache:
    """What `drystone.Cache` builds on."""

    def __new__(
        cls,
        directory: _Path,
        *,
        name: str = "default",
        size_limit: int | None = ...,
        item_limit: int | None = ...,
        eviction_policy: str | None = None,
        statistics: bool | None = None,
        pickle: bool = False,
        maintenance: float | None = None,
    ) -> Self: ...
    @property
    def _is_new(self) -> bool: ...
    def _get(self, key: Hashable, default: Any = None) -> Any: ...
    def _get_all(self, key: Hashable, stale: bool) -> tuple[Any, float | None, Any] | None: ...
    def _read(self, key: Hashable) -> Any: ...
    def _set(
        self, key: Hashable, value: Any, expire_time: float | None = None, tag: Hashable = None, add: bool = False
    ) -> bool: ...
    def __contains__(self, key: Hashable, /) -> bool: ...
    def __len__(self) -> int: ...
    def _delete(self, key: Hashable) -> bool: ...
    def _touch(self, key: Hashable, expire_time: float | None = None) -> bool: ...
    def _incr(self, key: Hashable, delta: float, default: float | None) -> int | float: ...
    @staticmethod
    def _sum(number: float, delta: float) -> int | float: ...
    def _snapshot(self, key: Hashable) -> Snapshot | None: ...
    def _replace(
        self,
        key: Hashable,
        expected: int | None,
        value: Any,
        expire_time: float | None = None,
        tag: Hashable = None,
        like: Snapshot | None = None,
    ) -> int | None: ...
    def _restore(
        self,
        key: Hashable,
        expected: int | None,
        snapshot: Snapshot,
        *,
        touched: bool = False,
        expire_time: float | None = None,
    ) -> int | None: ...
    def _remove(self, key: Hashable, expected: int) -> bool: ...
    def _push(
        self, prefix: str | None, value: Any, side: str, expire_time: float | None = None, tag: Hashable = None
    ) -> tuple[int, int]: ...
    def _peek(self, prefix: str | None, side: str) -> tuple[int, Snapshot] | None: ...
    def _adopt(self, prefix: str | None, number: int) -> None: ...
    def _keys(self, order: str) -> list[Any]: ...
    def _end(self, last: bool) -> tuple[Any] | None: ...
    def _clear(self) -> None: ...
    def _evict(self, tag: Hashable) -> None: ...
    def _evict_counted(self, tag: Hashable) -> int: ...
    def _keys_tagged(self, tag: Hashable) -> list[Any]: ...
    def _expire(self, now: float | None = None) -> int: ...
    def _cull(self) -> int: ...
    def volume(self) -> int: ...
    def _stats(self) -> dict[str, int]: ...
    def _reset_stats(self) -> None: ...
    def _settings(self) -> dict[str, Any]: ...
    def _change_settings(
        self,
        *,
        size_limit: int | None = ...,
        item_limit: int | None = ...,
        eviction_policy: str | None = None,
        statistics: bool | None = None,
    ) -> None: ...
    def _claim(self, key: Hashable, owner: int) -> Flight | None: ...
    def _change_ticket(self) -> int: ...
    def _await_change(self, ticket: int, seconds: float) -> None: ...
    def _sync(self) -> None: ...
    @staticmethod
    def _encode_key(key: Hashable) -> bytes: ...

def hash_buffer(buffer: _Buffer) -> bytes: ...
def end_of_calls() -> None: ...
def calls_forked() -> None: ...
def encode(value: Any, pickle: bool = False) -> tuple[bytes, tuple[bytes, ...]]: ...
def decode(head: bytes, parts: Sequence[bytes], pickle: bool = False) -> Any: ...
