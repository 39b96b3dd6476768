"""The store, with arrays."""

import os
import pathlib
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from drystone import _drystone
from drystone.drafts import DraftArray

def default_directory(name: str = "store") -> pathlib.Path: ...

class Store(_drystone.Store):
    """A store of immutable blobs, shared by any number of processes on a node."""

    def __new__(
        cls,
        directory: str | os.PathLike[str] | None = None,
        *,
        read_only: bool = ...,
        create: bool = ...,
        hash: Literal["xxh3", "blake3"] | None = ...,
        size_limit: int | None = ...,
        durability: Literal["buffered", "synced"] = ...,
        verify: bool = ...,
        threads: int | None = ...,
    ) -> Self: ...
    def put_array(self, array: npt.ArrayLike, *, synced: bool | None = None) -> str: ...
    def get_array(self, id: str) -> np.ndarray[Any, np.dtype[Any]] | None: ...
    def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = "f8", order: Literal["C", "F"] = "C"
    ) -> DraftArray: ...
    @classmethod
    def _reopen(cls, path: str | os.PathLike[str], read_only: bool) -> Self: ...
