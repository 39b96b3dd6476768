"""`python -m drystone`: a real run of it, small."""

import re
import subprocess
import sys

import pytest

pytest.importorskip("numpy")


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "drystone", *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("where", ["temporary", "said"])
def test_it_computes_once_and_copies_nothing(directory, where):
    said = run("--mebibytes", "8", *(["--directory", str(directory / "demo")] if where == "said" else []))
    assert said.returncode == 0, said.stderr
    assert "computed 1 time(s); copies: 0" in said.stdout
    assert {"computed it", "waited for the other"} & set(re.findall(r"\(([a-z ]+)\)", said.stdout))
    resident, share = map(int, re.search(r"(\d+) MiB for both, of which (\d+) MiB", said.stdout).groups())
    # Each has read the argument and the result, of 8 MiB each.
    assert resident >= 32 and share < resident
    assert re.search(r"entries +3\n", said.stdout) and "s3-fifo" in said.stdout


def test_what_it_is_told_wrong_is_refused():
    assert run("--mebibytes", "0").returncode == 2
