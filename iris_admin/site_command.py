"""A site's own commands for nodes that are down: how they are written, and run.

They are one line of the configuration file, such as ``ssh {host} sudo systemctl start iris@{name}``. It is cut into
words as a shell would, but no shell runs it: what stands for a node's name never becomes more than a word.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Sequence

from iris_admin.errors import ConfigError
from iris_admin.node_name import NodeName
from iris_admin.operations.local_steps import CommandEnded

#: Of what a command prints, in bytes: the end is what tells.
_LONGEST_OUTPUT = 20_000


def site_command(line: str, node: str) -> tuple[str, ...]:
    """The words of a command, for one node.

    :param line: with ``{node}`` for the node's full name, ``{name}`` for what is before the ``@``, ``{host}`` for
        what is behind it.
    :raises ConfigError: a quote is not closed, or there is nothing.
    """
    name = NodeName.parse(node)
    values = {"{node}": str(name), "{name}": name.name, "{host}": name.host}
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"the command {line!r} cannot be read: {str(error).lower()}") from None
    if not words:
        raise ConfigError("the command is empty")
    for placeholder, value in values.items():
        words = [word.replace(placeholder, value) for word in words]
    return tuple(words)


def run_command(arguments: Sequence[str], timeout: float) -> CommandEnded:
    """Run a program, and wait for its end.

    :param timeout: in seconds; it is killed after it.
    """
    # A file, for a node that it leaves running in the background would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            ended = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
                # Ctrl-C is for us, not for a node that has just been started.
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            problem: str | None = f"it had not ended after {timeout:g} s"
        except OSError as error:
            problem = f"{arguments[0]}: {(error.strerror or str(error)).lower()}"
        else:
            problem = f"exit code {ended.returncode}" if ended.returncode else None
            if ended.returncode < 0:
                problem = f"signal {-ended.returncode} ended it"
        output.seek(max(0, output.tell() - _LONGEST_OUTPUT))
        return CommandEnded(problem, output.read().decode("utf-8", "backslashreplace"))
