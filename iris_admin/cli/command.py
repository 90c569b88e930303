"""Commands and groups of commands that take the shared options wherever they stand.

``iris-admin -n db1 offline show bob`` and ``iris-admin offline show bob -n db1`` are the same. Every command
knows every shared option; what is given further to the right counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from iris_admin.cli.session import FORMATS, Session
from iris_admin.errors import EX_USAGE

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _FileName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A file's name. Whoever reads the file says what is wrong with it; click's own type takes longer to make."""

    name = "file"

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell, which knows the files."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


def _complete_cluster(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the clusters of the configuration file."""
    from iris_admin.config import load_config
    from iris_admin.errors import ConfigError

    try:
        clusters = load_config(Session.of(ctx).given.get("config")).clusters
    except ConfigError:
        return []
    return [name for name in sorted(clusters) if name.startswith(incomplete)]


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    assert param.name is not None
    if ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE:
        if param.name == "timeout" and not 0 < value < float("inf"):
            raise click.BadParameter(f"{value:g} is no number of seconds above 0.", ctx, param)
        Session.of(ctx).given[param.name] = value


def _shared_options() -> list[click.Option]:
    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember, **settings)

    return [
        option(
            "-n",
            "--node",
            metavar="NODE",
            help="Node to connect to: db1, db1@host, db1@host.example.com, or db1@host:9100 to go without EPMD. "
            "[IRIS_ADMIN_NODE]",
        ),
        option(
            "-c",
            "--cluster",
            shell_complete=_complete_cluster,
            metavar="NAME",
            help="Cluster of the configuration file, which stands for its node, cookie file, EPMD port and time-out.",
        ),
        option(
            "--config",
            type=_FileName(),
            metavar="FILE",
            help="Configuration file; by default ~/.config/iris_admin/config.toml. [IRIS_ADMIN_CONFIG]",
        ),
        option(
            "--cookie-file",
            type=_FileName(),
            metavar="FILE",
            help="File with the cookie; by default ~/.erlang.cookie. [IRIS_ADMIN_COOKIE_FILE]",
        ),
        option(
            "--cookie",
            metavar="COOKIE",
            help="The cookie itself. Everybody on this machine can see it in the list of processes: "
            "rather use a file, or the variable. [IRIS_ADMIN_COOKIE]",
        ),
        option(
            "--epmd-port",
            type=click.IntRange(1, 65535),
            metavar="PORT",
            help="TCP port of EPMD on the nodes' hosts; by default 4369. [ERL_EPMD_PORT]",
        ),
        option(
            "--tls/--no-tls",
            help="Whether the nodes use TLS distribution; each of the options for TLS says so, too. [IRIS_ADMIN_TLS]",
        ),
        option(
            "--tls-ca-file",
            type=_FileName(),
            metavar="FILE",
            help="Certificates of the authorities that have signed those of the nodes; by default those that this "
            "machine trusts. [IRIS_ADMIN_TLS_CA_FILE]",
        ),
        option(
            "--tls-certificate",
            type=_FileName(),
            metavar="FILE",
            help="Our certificate, for nodes that want one. [IRIS_ADMIN_TLS_CERTIFICATE]",
        ),
        option(
            "--tls-key",
            type=_FileName(),
            metavar="FILE",
            help="Its private key; by default it is in the same file. [IRIS_ADMIN_TLS_KEY]",
        ),
        option(
            "--tls-server-name",
            metavar="NAME",
            help="Name that the nodes' certificates must be for; by default the host of each node. "
            "[IRIS_ADMIN_TLS_SERVER_NAME]",
        ),
        option(
            "--tls-no-verify",
            "tls_verify",
            is_flag=True,
            flag_value=False,
            default=True,
            help="Do not check the nodes' certificates: then whoever is on the way can pose as a node.",
        ),
        option(
            "--timeout",
            type=float,
            metavar="S",
            help="Seconds to wait for a connection (by default 5) and for each call (by default 10). "
            "[IRIS_ADMIN_TIMEOUT]",
        ),
        option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            help="How to write the result; by default as a table for people.",
        ),
        option(
            "-v",
            "--verbose",
            is_flag=True,
            help="Tell more on stderr: progress, and where exactly an error happened.",
        ),
    ]


def _changed(option: click.Option, **changes: Any) -> click.Option:
    """A copy of an option with other attributes. Making it anew would take longer, as would importing copy."""
    copied = object.__new__(type(option))
    vars(copied).update(vars(option), **changes)
    return copied


_SHOWN = _shared_options()
# In the help of a command they would hide its own options, and in each the same text.
_HIDDEN = [_changed(option, hidden=True) for option in _SHOWN]
_EPILOG = "The options of iris-admin itself, such as -n and -o, may stand here too: see iris-admin --help."
_SETTINGS = {"help_option_names": ["-h", "--help"]}


def _show_help(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


# Click would make one for each command, and look for a translation of its text, which takes longer than all of that.
_HELP = click.Option(
    _SETTINGS["help_option_names"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_help,
    help="Show this message and exit.",
)


def _without(taken: set[str], option: click.Option) -> click.Option:
    """A shared option without the letters that a command uses itself, such as ``-n`` for a number."""
    if taken.isdisjoint(option.opts):
        return option
    return _changed(option, opts=[opt for opt in option.opts if opt not in taken])


class _WithSharedOptions(click.Command):
    """What commands and groups have in common."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        settings["context_settings"] = _SETTINGS | (settings.get("context_settings") or {})
        settings.setdefault("epilog", _EPILOG)
        super().__init__(name, **settings)
        own = {opt for param in self.params for opt in param.opts}
        self.params.extend(_without(own, option) for option in self.shared_options())

    def get_help_option(self, ctx: click.Context) -> click.Option:  # noqa: ARG002  (click's signature)
        """The same for all."""
        return _HELP

    def shared_options(self) -> Sequence[click.Option]:
        """The shared options, as this command is to show them."""
        return _HIDDEN

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the shared options as well."""
        from click.shell_completion import CompletionItem

        items = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            items += [
                CompletionItem(name, help=option.help)
                for option in self.params
                if isinstance(option, click.Option) and option.hidden
                for name in option.opts
                if name.startswith(incomplete)
            ]
        return items


class Command(_WithSharedOptions):
    """A command. Its function gets the :class:`~iris_admin.cli.session.Session` first."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        ctx.obj = Session.of(ctx)
        return super().invoke(ctx)


class Group(_WithSharedOptions, click.Group):
    """A group of commands."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where nothing else was asked for."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(EX_USAGE)
        return super().parse_args(ctx, args)


class LazyGroup(Group):
    """The outermost group, whose commands are modules that are imported when they are needed.

    :param names: of the commands, in the order in which the help shows them.
    """

    def __init__(self, name: str, *, names: Sequence[str], **settings: Any) -> None:
        super().__init__(name, **settings)
        self._names = tuple(names)

    def shared_options(self) -> Sequence[click.Option]:
        """The shared options, shown."""
        return _SHOWN

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Their names."""
        return list(self._names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (likewise)
        """Import a command."""
        if cmd_name not in self._names:
            return None
        command: click.Command = import_module(f"iris_admin.cli.commands.{cmd_name}").command
        return command


#: For commands that can ask every node of the cluster.
all_option = click.option(
    "--all",
    "everywhere",
    is_flag=True,
    help="Ask every node of the cluster, hidden ones included. Exit code 69 if one does not answer.",
)
