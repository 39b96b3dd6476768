"""How a program with types uses the package: checked by `mypy --strict`, never run."""

import pathlib
from typing import Any, assert_type

import numpy as np

import drystone
from drystone import Blob, Refs, Store

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
