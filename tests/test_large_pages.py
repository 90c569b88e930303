"""While large terms are decoded, Python's memory comes from large pages, and goes back as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.proto.compiled import large_pages_file

_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")

pytestmark = pytest.mark.skipif(
    not _SETTING.exists() or "[never]" in _SETTING.read_text(), reason="the kernel has no large pages here"
)

_BEGINNING = """
import gc, importlib.util, os, random, re, sys

spec = importlib.util.spec_from_file_location("iris_admin._large_pages", sys.argv[1])
large_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(large_pages)

def size():
    # Of all that is mapped, in KiB.
    return int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])

def in_large_pages():
    # What is in large pages, in KiB.
    return sum(map(int, re.findall(r"AnonHugePages:\\s+(\\d+)", open("/proc/self/smaps").read())))

def rows(count):
    return [(bytes((number % 256,)) * 200, number + 1000) for number in range(count)]

size(), in_large_pages(), rows(10_000)  # what they need once
gc.collect()
"""


#: The same without anything of what is tested.
_WITHOUT = "large_pages.begin = large_pages.end = lambda: None\n"


def run(script: str, **environment: str) -> str:
    """Run it in a process of its own, as what it tests concerns a whole process; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGINNING + script, large_pages_file()],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_they_are_used_and_given_back() -> None:
    run("""
before, large = size(), in_large_pages()
for _ in range(3):
    large_pages.begin()
    found = rows(100_000)
    large_pages.end()
    assert in_large_pages() - large > 20_000
    assert found == rows(100_000)
    del found
    assert size() - before < 16_000, size() - before
""")


def test_outside_of_it_nothing_is_different() -> None:
    run("""
large_pages.begin()
large_pages.end()
large_pages.end()
large = in_large_pages()
found = rows(100_000)
assert in_large_pages() == large
""")


def test_what_stays_and_what_goes_in_any_order() -> None:
    script = """
before = size()
source = random.Random(7)
kept = {}
for number in range(150):
    source.choice((large_pages.begin, large_pages.end))()
    key = source.randrange(8)
    kept[key] = number, rows(source.randrange(20_000))
    if source.random() < 0.3:
        kept.pop(source.choice(list(kept)))
    for first, found in kept.values():
        assert all(row == (bytes((index % 256,)) * 200, index + 1000) for index, row in enumerate(found))
large_pages.end()
del found
kept.clear()
print(size() - before)
"""
    # Single objects that other things are made of hold an arena here and there.
    assert int(run(script)) < int(run(_WITHOUT + script)) + 10_000


def test_after_a_fork() -> None:
    run("""
large_pages.begin()
found = rows(50_000)
child = os.fork()
if not child:
    del found
    more = rows(50_000)
    large_pages.end()
    os._exit(more != rows(50_000))
assert os.waitpid(child, 0)[1] == 0
assert found == rows(50_000)
""")


@pytest.mark.parametrize("allocator", ["malloc", "debug", "pymalloc"])
def test_with_any_allocator(allocator: str) -> None:
    run(
        """
large_pages.begin()
found = rows(20_000)
large_pages.end()
assert found == rows(20_000)
""",
        PYTHONMALLOC=allocator,
    )
