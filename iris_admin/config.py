"""The configuration file: named clusters, so that ``-c prod`` stands for a node, its cookie and its ports.

::

    default_cluster = "prod"

    [clusters.prod]
    node = "iris_core@db1"           # as for iris_admin.connect()
    cookie_file = "~/.iris.cookie"   # relative to the directory of this file
    epmd_port = 4369
    timeout = 10                     # in seconds
    tls = { ca_file = "ca.pem" }      # where the nodes use TLS distribution: true, or as for iris_admin.Tls
    expected = ["iris_core@db1", "iris_edge1@web1"]   # what should be there: doctor misses what is not

    [clusters.prod.commands]         # for a node that is down; {name} and {host} are the parts of its name
    start = "ssh {host} sudo systemctl start iris@{name}"
    stop = "ssh {host} sudo systemctl stop iris@{name}"

    [escalation]                     # for triage; without it, that of the incident runbook
    contacts = { "On-call SRE" = "pager: #iris-oncall" }
    response = { P0 = "Immediate", P1 = "15 min" }
    steps = [{ level = "P0", minutes = 15, who = "On-call SRE" }]

It is ``iris_admin/config.toml`` in ``$XDG_CONFIG_HOME`` or else ``~/.config``, or the file that
``IRIS_ADMIN_CONFIG`` names. A cookie itself has no place in it: it would be copied along with the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iris_admin.errors import ConfigError
from iris_admin.node_name import NodeName

if TYPE_CHECKING:
    from iris_admin.tls import Tls

CONFIG_VARIABLE = "IRIS_ADMIN_CONFIG"


class ClusterConfig:
    """What the file says of one cluster.

    :ivar name: what it is called in the file.
    :ivar node: the node to join first.
    :ivar cookie_file: None where the file does not say, as for the rest.
    :ivar epmd_port: EPMD's TCP port.
    :ivar timeout: of connecting and of each call, in seconds.
    :ivar expected: full names of the nodes that should be there; empty where the file does not say.
    :ivar tls: None where the file does not say; otherwise ``on``, and arguments of :class:`iris_admin.Tls`.
    :ivar commands: the site's own commands, by ``start`` and ``stop``; see :mod:`iris_admin.site_command`.
    """

    def __init__(
        self,
        name: str,
        node: str,
        cookie_file: Path | None = None,
        epmd_port: int | None = None,
        timeout: float | None = None,
        commands: Mapping[str, str] | None = None,
        expected: tuple[str, ...] = (),
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.node = node
        self.cookie_file = cookie_file
        self.epmd_port = epmd_port
        self.timeout = timeout
        self.commands = dict(commands or {})
        self.expected = expected
        self.tls = tls

    def __repr__(self) -> str:
        return f"<ClusterConfig {self.name}: {self.node}>"

    def connect_options(self) -> dict[str, Any]:
        """Keyword arguments for :func:`iris_admin.connect`, next to :attr:`node`."""
        options: dict[str, Any] = {}
        if self.cookie_file is not None:
            options["cookie_file"] = self.cookie_file
        if self.epmd_port is not None:
            options["epmd_port"] = self.epmd_port
        if self.timeout is not None:
            options["timeout"] = options["connect_timeout"] = self.timeout
        if (tls := tls_of(self.tls)) is not None:
            options["tls"] = tls
        return options


class EscalationConfig:
    """Whom to call when; what the file does not say is as in the incident runbook.

    :ivar contacts: how to reach whom.
    :ivar response: how soon an incident of a level is to be looked at.
    :ivar steps: level, minutes without recovery, and who is called then.
    """

    def __init__(
        self,
        contacts: Mapping[str, str] | None = None,
        response: Mapping[str, str] | None = None,
        steps: tuple[tuple[str, float, str], ...] | None = None,
    ) -> None:
        self.contacts = contacts
        self.response = response
        self.steps = steps


class Config:
    """The content of the file.

    :ivar path: the file; it need not exist.
    :ivar clusters: the named clusters.
    :ivar default_cluster: the name of the one that is meant where none is named, or None.
    :ivar escalation: whom to call when.
    """

    def __init__(self, path: Path, clusters: Mapping[str, ClusterConfig], default_cluster: str | None = None) -> None:
        self.path = path
        self.clusters = dict(clusters)
        self.default_cluster = default_cluster
        self.escalation = EscalationConfig()

    def __repr__(self) -> str:
        return f"<Config {self.path}: {', '.join(self.clusters) or 'no clusters'}>"

    def cluster(self, name: str) -> ClusterConfig:
        """One of the clusters.

        :raises ConfigError: there is none of that name.
        """
        try:
            return self.clusters[name]
        except KeyError:
            known = ", ".join(sorted(self.clusters))
            raise ConfigError(
                f"the configuration file {self.path} has no cluster {name!r}",
                hint=f"Its clusters: {known}" if known else f"Add a table [clusters.{name}] with a node.",
            ) from None


def tls_of(*settings: Mapping[str, Any] | None) -> Tls | None:
    """What several sources say of TLS, the later ones before the earlier.

    :param settings: each like :attr:`ClusterConfig.tls`.
    :returns: None for plain distribution.
    """
    whole: dict[str, Any] = {}
    for setting in settings:
        whole |= setting or {}
    if not whole.pop("on", False):
        return None
    from iris_admin.tls import Tls

    return Tls(**whole)


def config_path(path: str | os.PathLike[str] | None = None) -> Path:
    """Where the configuration file is: the argument, ``IRIS_ADMIN_CONFIG``, or the usual place."""
    chosen = path or os.environ.get(CONFIG_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "iris_admin" / "config.toml"


def load_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the configuration file. One that was not named and does not exist is an empty one.

    :param path: see :func:`config_path`.
    :raises ConfigError: it cannot be read, or something in it is wrong; the message names the file and the key.
    """
    file = config_path(path)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        if path is None and not os.environ.get(CONFIG_VARIABLE):
            return Config(file, {})
        raise ConfigError(f"there is no configuration file {file}") from None
    except OSError as error:
        raise ConfigError(f"the configuration file {file} cannot be read: {error.strerror}") from None
    import tomllib

    try:
        content = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {file} is no TOML: {error}") from None
    return _Reader(file).config(content)


class _Reader:
    """Takes the values out of the parsed file, and knows how to name what is wrong with one."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def config(self, content: Mapping[str, Any]) -> Config:
        self._refuse_unknown(content, "", ("clusters", "default_cluster", "escalation"))
        tables = content.get("clusters", {})
        if not isinstance(tables, dict):
            raise self._error("clusters", "must be a table of tables, such as [clusters.prod]")
        config = Config(self._file, {name: self._cluster(name, table) for name, table in tables.items()})
        default = self._text(content, "default_cluster", "default_cluster")
        if default is not None:
            if default not in config.clusters:
                raise self._error("default_cluster", f"names {default!r}, but there is no [clusters.{default}]")
            config.default_cluster = default
        config.escalation = self._escalation(content.get("escalation", {}))
        return config

    def _escalation(self, table: Any) -> EscalationConfig:
        if not isinstance(table, dict):
            raise self._error("escalation", "must be a table, [escalation]")
        self._refuse_unknown(table, "escalation.", ("contacts", "response", "steps"))
        texts: dict[str, dict[str, str] | None] = {}
        for key in ("contacts", "response"):
            entries = table.get(key)
            if entries is not None and not (
                isinstance(entries, dict) and all(isinstance(value, str) for value in entries.values())
            ):
                raise self._error(f"escalation.{key}", "must be a table of texts")
            texts[key] = entries
        steps = table.get("steps")
        if steps is None:
            return EscalationConfig(texts["contacts"], texts["response"])
        if not isinstance(steps, list):
            raise self._error("escalation.steps", "must be a list of tables")
        return EscalationConfig(texts["contacts"], texts["response"], tuple(map(self._step, steps)))

    def _step(self, step: Any) -> tuple[str, float, str]:
        match step:
            case {"level": str(level), "minutes": int() | float() as minutes, "who": str(who)} if (
                len(step) == 3 and level in ("P0", "P1", "P2", "P3") and minutes >= 0
            ):
                return level, minutes, who
        raise self._error("escalation.steps", f'must be like {{ level = "P0", minutes = 15, who = "…" }}, not {step!r}')

    def _expected(self, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        names = table.get("expected", [])
        if not isinstance(names, list):
            raise self._error(key, f"must be a list of full node names, not {names!r}")
        for name in names:
            try:
                if not (isinstance(name, str) and "@" in name and NodeName.parse(name).port is None):
                    raise ConfigError("it is none")
            except ConfigError:
                raise self._error(key, f"must be a list of full node names, which {name!r} is not") from None
        return tuple(names)

    def _cluster(self, name: str, table: Any) -> ClusterConfig:
        key = f"clusters.{name}"
        if not isinstance(table, dict):
            raise self._error(key, f"must be a table, [{key}]")
        known = ("node", "cookie_file", "epmd_port", "timeout", "tls", "commands", "expected")
        self._refuse_unknown(table, f"{key}.", known)
        node = self._text(table, "node", f"{key}.node")
        if node is None:
            raise self._error(f"{key}.node", "is missing")
        try:
            NodeName.parse(node)
        except ConfigError as error:
            raise self._error(f"{key}.node", f"is wrong: {error}") from None
        port = table.get("epmd_port")
        if port is not None and not (type(port) is int and 0 < port < 65536):
            raise self._error(f"{key}.epmd_port", f"must be a TCP port, not {port!r}")
        timeout = table.get("timeout")
        if timeout is not None and not (type(timeout) in (int, float) and 0 < timeout < float("inf")):
            raise self._error(f"{key}.timeout", f"must be a number of seconds above 0, not {timeout!r}")
        return ClusterConfig(
            name,
            node,
            self._path(table, "cookie_file", f"{key}.cookie_file"),
            port,
            None if timeout is None else float(timeout),
            self._commands(key, table.get("commands", {})),
            self._expected(table, f"{key}.expected"),
            self._tls(f"{key}.tls", table.get("tls")),
        )

    def _tls(self, key: str, table: Any) -> dict[str, Any] | None:
        if table is None or isinstance(table, bool):
            return None if table is None else {"on": table}
        if not isinstance(table, dict):
            raise self._error(key, f"must be true, false, or a table, [{key}]")
        files = ("ca_file", "certificate", "key")
        self._refuse_unknown(table, f"{key}.", (*files, "server_name", "verify"))
        settings: dict[str, Any] = {"on": True} | {name: self._path(table, name, f"{key}.{name}") for name in files}
        settings["server_name"] = self._text(table, "server_name", f"{key}.server_name")
        verify = table.get("verify")
        if verify is not None and not isinstance(verify, bool):
            raise self._error(f"{key}.verify", f"must be true or false, not {verify!r}")
        settings["verify"] = verify
        return {name: value for name, value in settings.items() if value is not None}

    def _commands(self, key: str, table: Any) -> dict[str, str]:
        key = f"{key}.commands"
        if not isinstance(table, dict):
            raise self._error(key, f"must be a table, [{key}]")
        self._refuse_unknown(table, f"{key}.", ("start", "stop"))
        return {name: text for name in table if (text := self._text(table, name, f"{key}.{name}")) is not None}

    def _text(self, table: Mapping[str, Any], key: str, full_key: str) -> str | None:
        value = table.get(key)
        if value is not None and not (isinstance(value, str) and value):
            raise self._error(full_key, f"must be a text, not {value!r}")
        return value

    def _path(self, table: Mapping[str, Any], key: str, full_key: str) -> Path | None:
        """A file, relative to the directory of the configuration file."""
        text = self._text(table, key, full_key)
        return None if text is None else self._file.absolute().parent / Path(text).expanduser()

    def _refuse_unknown(self, table: Mapping[str, Any], prefix: str, known: tuple[str, ...]) -> None:
        for key in table:
            if key == "cookie":
                raise self._error(
                    prefix + key,
                    "is not allowed here",
                    hint="Keep the cookie in a file of its own (chmod 400), and name that file: cookie_file = …",
                )
            if key not in known:
                raise self._error(prefix + key, "is unknown", hint=f"Known there: {', '.join(known)}")

    def _error(self, key: str, problem: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"the configuration file {self._file}: {key} {problem}", hint=hint)
