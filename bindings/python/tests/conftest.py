"""What the tests share."""

import os
import pathlib
import tempfile

import pytest

import drystone

try:
    from hypothesis import settings

    # The same examples every time, unless others are asked for: HYPOTHESIS_PROFILE=random.
    settings.register_profile("fixed", derandomize=True, deadline=None)
    settings.register_profile("random", deadline=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
except ImportError:
    pass


def _place():
    shm = pathlib.Path("/dev/shm")
    return shm if shm.is_dir() else None


@pytest.fixture
def directory():
    """An empty directory, on shared memory where there is some."""
    with tempfile.TemporaryDirectory(dir=_place()) as place:
        yield pathlib.Path(place)


@pytest.fixture
def cache(directory):
    return drystone.Cache(directory / "cache", maintenance=None)


@pytest.fixture
def store(directory):
    return drystone.Store(directory / "store")
