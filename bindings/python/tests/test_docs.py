"""Every block of Python in the pages runs, block after block, a page at a time."""

import pathlib
import re

import pytest

PYTHON = pathlib.Path(__file__).resolve().parent.parent
PAGES = [PYTHON / "README.md", *sorted((PYTHON / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, directory):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks, f"{page} shows no Python"
    space = {"__name__": "page", "directory": directory / page.stem}
    (directory / page.stem).mkdir(mode=0o700)
    if page.stem == "tutorial":
        (directory / page.stem).rmdir()
    for at, block in enumerate(blocks):
        exec(compile(block, f"{page.name}, block {at + 1}", "exec"), space)


def test_every_exception_is_told_of():
    import drystone

    text = (PYTHON / "docs" / "guarantees.md").read_text(encoding="utf-8")
    for name in drystone.__all__:
        value = getattr(drystone, name)
        if isinstance(value, type) and issubclass(value, drystone.Error) and name not in ("Error", "NotFound"):
            assert f"`{name}`" in text, f"{name} is not told of"
