"""The examples of the documentation do what the pages say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.examples import examples_of, fixtures_of

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    if any(example.is_run for example in examples_of(page))
]


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_examples_of_page(
    page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Nothing of the person who runs the tests: no cookie, no configuration, and no backups among theirs.
    for name in [name for name in os.environ if name.startswith("IRIS_ADMIN_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for fixture in fixtures_of(page):
        for name, value in request.getfixturevalue(fixture).environment.items():
            monkeypatch.setenv(name, value)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for example in examples_of(page):
        example.run(namespace)


class TestHowExamplesAreRun:
    """A wrong example fails."""

    @pytest.fixture
    def page(self, tmp_path: Path) -> Path:
        return tmp_path / "page.md"

    def run(self, page: Path, text: str) -> dict[str, object]:
        page.write_text(text, encoding="utf-8")
        namespace: dict[str, object] = {}
        for example in examples_of(page):
            example.run(namespace)
        return namespace

    def test_examples_of_a_page_share_their_names(self, page: Path) -> None:
        text = "```python\na = 1\n```\n\n- in a list:\n\n  ~~~pycon\n  >>> a + 1\n  2\n  >>> b = [a, ...]\n  ~~~\n"
        assert self.run(page, text)["b"] == [1, ...]

    def test_wrong_output_fails(self, page: Path) -> None:
        with pytest.raises(AssertionError, match="Expected:\n    3\nGot:\n    2"):
            self.run(page, "```pycon\n>>> 1 + 1\n3\n```\n")

    def test_error_says_where_in_the_page_it_happened(self, page: Path) -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            self.run(page, "Text.\n\n```python\n\n1 / 0\n```\n")
        assert (caught.traceback[-1].path, caught.traceback[-1].lineno) == (page, 4)  # lines are counted from 0 here

    def test_other_languages_are_left_alone(self, page: Path) -> None:
        self.run(page, "```sh\nrm -rf /\n```\n```\n$ false\n```\n")

    def test_only_iris_admin_is_run(self, page: Path) -> None:
        for command in ("rm -rf /", "iris-admin ping && rm -rf /"):
            with pytest.raises(AssertionError, match="only iris-admin is run"):
                self.run(page, f"```console\n$ {command}\n```\n")

    def test_fence_must_be_closed(self, page: Path) -> None:
        with pytest.raises(AssertionError, match="never closed"):
            self.run(page, "```python\na = 1\n")

    def test_fixtures(self, page: Path) -> None:
        page.write_text("% fixture: erlang_node\n\n# Title\n", encoding="utf-8")
        assert fixtures_of(page) == ["erlang_node"]
