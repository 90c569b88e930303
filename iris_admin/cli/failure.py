"""How a command fails: a message and a hint on stderr, a diagnosis where a node was not reached, an exit code."""

from __future__ import annotations

import contextlib
import errno
import os

import click

from iris_admin.cli.session import Session
from iris_admin.cli.signals import interrupted
from iris_admin.errors import (
    EX_SOFTWARE,
    EX_USAGE,
    ConfigError,
    ConnectError,
    DecodeError,
    IrisAdminError,
    NodeDown,
    ProtocolError,
    RemoteError,
)
from iris_admin.terms import Atom, Term
from iris_admin.text import printable

_EX_IOERR = 74
_BROKEN_PIPE = 128 + 13
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG)


def report(error: BaseException, session: Session | None) -> int:
    """Tell on stderr why a command failed.

    :param session: None where not even the options could be read.
    :returns: the exit code.
    :raises BaseException: the error itself, where it is none of a command.
    """
    try:
        return _report(error, session)
    except KeyboardInterrupt as interruption:
        return interrupted(interruption)


def _report(error: BaseException, session: Session | None) -> int:
    verbose = session is not None and session.verbose
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return interrupted(error)
    if isinstance(error, IrisAdminError):
        _say("error", str(error))
        if error.hint:
            _say("hint", error.hint)
        if verbose:
            _show_traces(error)
        if session is not None and _is_about_the_connection(error):
            _show_diagnosis(session, error)
        return error.exit_code
    if isinstance(error, click.ClickException):
        _say("error", error.format_message())
        if not isinstance(error, click.UsageError):
            return error.exit_code
        _say("hint", f"{error.ctx.command_path if error.ctx is not None else 'iris-admin'} --help")
        return EX_USAGE
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return _BROKEN_PIPE
    if isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS:
        _drop_output()
        _say("error", f"the output cannot be written: {os.strerror(error.errno or 0).lower()}")
        return _EX_IOERR
    if not isinstance(error, Exception):
        raise error
    _say("error", f"internal error: {type(error).__name__}: {error}")
    if verbose:
        _show_traces(error)
    else:
        _say("hint", "This is a mistake in iris-admin; -v shows where it happened.")
    return EX_SOFTWARE


def _say(kind: str, text: str) -> None:
    _line(f"{kind}: {printable(text)}")


def _line(text: str) -> None:
    # Without a place to write to, the exit code is left to tell.
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _drop_output() -> None:
    """Have what is still buffered go nowhere, for Python would try to write it once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _show_traces(error: Exception) -> None:
    import traceback

    _line(printable("".join(traceback.format_exception(error)).rstrip(), keep="\n"))
    if isinstance(error, RemoteError) and isinstance(error.stacktrace, list):
        _line(f"stack trace on {error.node}:")
        for frame in error.stacktrace:
            _line(f"  {printable(_frame_text(frame))}")


def _frame_text(frame: Term) -> str:
    """One entry of an Erlang stack trace, as the shell prints it."""
    from iris_admin.syntax import format_term

    match frame:
        case (Atom() as module, Atom() as function, int() | list() as arity, list() as location):
            count = len(arity) if isinstance(arity, list) else arity
            where = {item[0]: item[1] for item in location if isinstance(item, tuple) and len(item) == 2}
            text = f"in {format_term(module)}:{format_term(function)}/{count}"
            if "file" in where:
                text += f" ({''.join(map(chr, where['file']))}, line {where.get('line', '?')})"
            return text
    return format_term(frame, width=None)


def _is_about_the_connection(error: IrisAdminError) -> bool:
    return isinstance(error, ConnectError | NodeDown | ProtocolError) and not isinstance(error, DecodeError)


def _show_diagnosis(session: Session, error: IrisAdminError) -> None:
    from iris_admin.cli.layout import columns
    from iris_admin.transport.diagnosis import diagnose

    try:
        layers = diagnose(session.dialing(error.node), error)
    except (ConfigError, click.UsageError):
        return
    _line("")
    for line in columns([("", layer.name, layer.status, layer.detail) for layer in layers]):
        _line(line)
    for layer in layers:
        if layer.advice:
            _line(f"\nto try, for {layer.name}:")
        for advice in layer.advice:
            _line(f"  {printable(advice)}")
