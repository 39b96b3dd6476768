"""Functions whose results are kept: a decorated function keeps its signature."""

import os
from collections.abc import Callable, Coroutine, Hashable, Iterable
from types import GenericAlias
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, Self, TypeAlias, TypedDict, TypeVar
from typing import overload, type_check_only

from drystone.cache import Cache, _Policy, _Tag

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)
_T = TypeVar("_T")
_D = TypeVar("_D")

#: Names or places of parameters.
_Ignore: TypeAlias = str | Iterable[str | int]
_Progress: TypeAlias = Literal["tqdm"] | Callable[[dict[str, Any]], object] | None

@type_check_only
class _CacheInfo(TypedDict):
    hits: int
    misses: int
    name: str

@type_check_only
class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[_P, Coroutine[Any, Any, _R]], /) -> AsyncMemoized[_P, _R]: ...
    @overload
    def __call__(self, function: Callable[_P, _R], /) -> Memoized[_P, _R]: ...

def memoize(
    directory: str | os.PathLike[str] | Cache | None = None,
    /,
    *,
    size_limit: float | None = ...,
    eviction_policy: _Policy = ...,
    pickle: bool = ...,
    name: str | None = None,
    typed: bool = False,
    expire: float | None = None,
    tag: _Tag = None,
    ignore: _Ignore = (),
    version: Hashable = None,
    wait: float | None = None,
    stale_while_revalidate: float | None = None,
    progress: _Progress = None,
) -> _Decorator: ...
def decorator(
    cache: Cache,
    name: str | None = None,
    *,
    typed: bool = False,
    expire: float | None = None,
    tag: _Tag = None,
    ignore: _Ignore = (),
    version: Hashable = None,
    wait: float | None = None,
    stale_while_revalidate: float | None = None,
    progress: _Progress = None,
) -> _Decorator: ...

class Memoized(Generic[_P, _R_co]):
    """A function whose results are kept. Called as the function is; `call` computes in any case."""

    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    cache: Cache
    function: Callable[_P, _R_co]
    name: str
    version: Any
    __wrapped__: Callable[_P, _R_co]
    def __init__(
        self,
        cache: Cache,
        function: Callable[_P, _R_co],
        name: str | None,
        typed: bool,
        expire: float | None,
        tag: _Tag,
        ignore: set[str | int],
        version: Hashable,
        wait: float | None,
        stale: float | None,
        progress: _Progress,
    ) -> None: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def key(self, *args: _P.args, **kwargs: _P.kwargs) -> tuple[Any, ...]: ...
    def __cache_key__(self, *args: _P.args, **kwargs: _P.kwargs) -> tuple[Any, ...]: ...
    def call(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def shelve(self, *args: _P.args, **kwargs: _P.kwargs) -> Shelved[_R_co]: ...
    def cache_info(self) -> _CacheInfo: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[_T, _Q], _R], instance: _T, owner: type[Any] | None = None
    ) -> BoundMemoized[_Q, _R]: ...
    def __reduce__(self) -> str | tuple[Any, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _: Any) -> Self: ...

class AsyncMemoized(Memoized[_P, Coroutine[Any, Any, _R_co]], Generic[_P, _R_co]):
    """A coroutine function whose results are kept."""

    def __init__(
        self,
        cache: Cache,
        function: Callable[_P, Coroutine[Any, Any, _R_co]],
        name: str | None,
        typed: bool,
        expire: float | None,
        tag: _Tag,
        ignore: set[str | int],
        version: Hashable,
        wait: float | None,
        stale: float | None,
        progress: _Progress,
    ) -> None: ...
    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    async def refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    # What is shelved is the result, and not the coroutine.
    async def shelve(self, *args: _P.args, **kwargs: _P.kwargs) -> Shelved[_R_co]: ...  # type: ignore[override]

class BoundMemoized(Generic[_P, _R_co]):
    """A memoized method of one object: the object is its first argument."""

    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __init__(self, memoized: Memoized[..., Any], instance: object) -> None: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def call(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def shelve(self, *args: _P.args, **kwargs: _P.kwargs) -> Any: ...
    def key(self, *args: _P.args, **kwargs: _P.kwargs) -> tuple[Any, ...]: ...
    def __cache_key__(self, *args: _P.args, **kwargs: _P.kwargs) -> tuple[Any, ...]: ...
    def invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __getattr__(self, name: str) -> Any: ...

class Shelved(Generic[_R_co]):
    """A reference to a value in a cache."""

    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __init__(self, cache: Cache, key: tuple[Any, ...], dated: bool = False) -> None: ...
    @overload
    def get(self) -> _R_co: ...
    @overload
    def get(self, default: _D) -> _R_co | _D: ...
