"""Finds the examples in a page of the documentation and runs them (CONTRIBUTING.md says which, and how)."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>\S*)")
_FIXTURE = re.compile(r"^% fixture: (?P<name>\w+)$", re.MULTILINE)
_SHELL_SYNTAX = {"|", "||", "&", "&&", ";", ">", ">>", "<"}
#: Starts the command line from the tests' own Python, under the name that the console script has.
_IRIS_ADMIN = "import sys; sys.argv[0] = 'iris-admin'; from iris_admin.cli.main import main; sys.exit(main())"

_PARSER = doctest.DocTestParser()
_CHECKER = doctest.OutputChecker()


@dataclass(frozen=True)
class Example:
    """A fenced block.

    :param language: the word behind the fence.
    :param line: where its text begins in the page, counted from 1.
    """

    language: str
    text: str
    page: Path
    line: int

    @property
    def is_run(self) -> bool:
        """Whether it is executed at all."""
        return self.language in ("python", "pycon", "console")

    def run(self, namespace: dict[str, object], timeout: float = 120) -> None:
        """Execute it.

        :param namespace: what the page's earlier examples have defined; it may grow.
        :param timeout: of one command, in seconds.
        :raises AssertionError: if an output is not the one that the page shows.
        """
        if self.language == "python":
            tree = ast.increment_lineno(ast.parse(self.text, str(self.page)), self.line - 1)
            exec(compile(tree, str(self.page), "exec", dont_inherit=True), namespace)
        elif self.language == "pycon":
            self._run_session(namespace)
        elif self.language == "console":
            self._run_commands(timeout)

    def _run_session(self, namespace: dict[str, object]) -> None:
        session = _PARSER.get_doctest(self.text, {}, self.page.name, str(self.page), self.line - 1)
        assert session.examples, f"{self.page}:{self.line}: no '>>>' in this example"
        session.globs = namespace
        report: list[str] = []
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        failed, _ = runner.run(session, out=report.append, clear_globs=False)
        assert not failed, "".join(report)

    def _run_commands(self, timeout: float) -> None:
        # "$ command", each with the output that follows it
        before, *commands = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        assert commands, f"{self.page}:{self.line}: no '$ ' in this example"
        assert not before.strip(), f"{self.page}:{self.line}: a console example begins with '$ '"
        exit_code = 0
        for command in commands:
            line, _, expected = command.partition("\n")
            if line == "echo $?":
                printed = f"{exit_code}\n"
            else:
                exit_code, printed = _run_iris_admin(line, timeout)
            assert _CHECKER.check_output(expected, printed, doctest.ELLIPSIS), (
                f"{self.page}:{self.line}: $ {line}\nshould print\n{expected}\nand prints\n{printed}"
            )


def _run_iris_admin(line: str, timeout: float) -> tuple[int, str]:
    words = shlex.split(line)
    assert words[0] == "iris-admin", f"only iris-admin is run: {line}"
    assert not _SHELL_SYNTAX & set(words), f"only iris-admin is run, and no shell: {line}"
    done = subprocess.run(
        [sys.executable, "-c", _IRIS_ADMIN, *words[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env=os.environ | {"COLUMNS": "120"},
        check=False,
    )
    return done.returncode, done.stdout


def examples_of(page: Path) -> list[Example]:
    """All fenced blocks of a page, in their order."""
    found = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if opening := _FENCE.match(line):
            body = []
            for _, inner in lines:
                if inner.strip().startswith(opening["fence"]) and not inner.strip().strip(opening["fence"][0]):
                    break
                body.append(inner)
            else:
                raise AssertionError(f"{page}:{number}: this fence is never closed")
            text = textwrap.dedent("\n".join(body)) + "\n"
            found.append(Example(opening["language"], text, page, number + 1))
    return found


def fixtures_of(page: Path) -> list[str]:
    """The fixtures whose environment the page asks for."""
    return [match["name"] for match in _FIXTURE.finditer(page.read_text(encoding="utf-8"))]
