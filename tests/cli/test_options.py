"""The options that all commands share: wherever they stand, and wherever else their values may come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import clean_environment, invoke, run
from tests.support.erlang import ErlangNode, NodeFactory


@pytest.fixture
def options(erlang_node: ErlangNode) -> dict[str, list[str]]:
    """Each option with a value that leads to the node, or shows its effect."""
    return {
        "node": ["-n", erlang_node.name],
        "cookie": ["--cookie-file", str(erlang_node.cookie_file)],
        "epmd": ["--epmd-port", str(erlang_node.epmd_port)],
        "timeout": ["--timeout", "9"],
        "output": ["-o", "json"],
        "verbose": ["-v"],
    }


@pytest.fixture
def config(erlang_node: ErlangNode, tmp_path: Path) -> Path:
    """A file with the cluster ``here``, which leads to the node, and one that leads nowhere."""
    file = tmp_path / "config.toml"
    file.write_text(
        f'[clusters.here]\nnode = "{erlang_node.name}"\n'
        f'cookie_file = "{erlang_node.cookie_file}"\nepmd_port = {erlang_node.epmd_port}\ntimeout = 9\n'
        '[clusters.nowhere]\nnode = "db1@nowhere.invalid"\ncookie_file = "none"\n'
    )
    return file


def named(*args: str, **settings: object) -> str:
    """Run ``ping``, and say which node answered."""
    result = invoke(*args, **settings)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.stderr
    return str(json.loads(result.stdout)["node"])


class TestPosition:
    def test_each_option_before_and_behind_the_command(
        self, options: dict[str, list[str]], erlang_node: ErlangNode
    ) -> None:
        for name in options:
            words = [word for other, option in options.items() if other != name for word in option]
            assert named(*options[name], *words, "ping") == erlang_node.name
            assert named(*words, "ping", *options[name]) == erlang_node.name

    def test_behind_and_within_a_command_of_a_group(self, demo_environment: dict[str, str]) -> None:
        node, rest = demo_environment.pop("IRIS_ADMIN_NODE"), demo_environment
        for words in (
            ["-o", "json", "-n", node, "presence", "show", "bob"],
            ["presence", "-o", "json", "-n", node, "show", "bob"],
            ["presence", "show", "-o", "json", "-n", node, "bob"],
            ["-o", "json", "presence", "show", "bob", "-n", node],
        ):
            result = invoke(*words, environment=rest)
            assert result.exit_code == 0, result.stderr
            assert json.loads(result.stdout)["user"] == "bob"

    def test_the_one_further_to_the_right_counts(self, options: dict[str, list[str]], erlang_node: ErlangNode) -> None:
        words = [word for option in options.values() for word in option]
        assert named("-n", "db1@nowhere.invalid", "-o", "csv", "ping", *words) == erlang_node.name

    def test_installed_command(self, options: dict[str, list[str]], erlang_node: ErlangNode) -> None:
        exit_code, output, errors = run("ping", *[word for option in options.values() for word in option])
        assert (exit_code, errors) == (0, "")
        assert json.loads(output)["node"] == erlang_node.name


class TestEnvironment:
    def test_variables(self, erlang_node: ErlangNode) -> None:
        assert named("ping", "-o", "json", environment=erlang_node.environment) == erlang_node.name

    def test_cookie_itself(self, erlang_node: ErlangNode) -> None:
        environment = erlang_node.environment | {"IRIS_ADMIN_COOKIE": erlang_node.cookie}
        del environment["IRIS_ADMIN_COOKIE_FILE"]
        assert named("ping", "-o", "json", environment=environment) == erlang_node.name

    def test_options_beat_variables(self, erlang_node: ErlangNode, options: dict[str, list[str]]) -> None:
        environment = {
            "IRIS_ADMIN_NODE": "db1@nowhere.invalid",
            "IRIS_ADMIN_COOKIE": "wrong",
            "IRIS_ADMIN_TIMEOUT": "0.001",
            "ERL_EPMD_PORT": "1",
        }
        words = [word for option in options.values() for word in option]
        assert named("ping", *words, environment=environment) == erlang_node.name

    @pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
    def test_wrong_timeout(self, erlang_node: ErlangNode, value: str) -> None:
        result = invoke("ping", environment=erlang_node.environment | {"IRIS_ADMIN_TIMEOUT": value})
        assert result.exit_code == 78
        assert "IRIS_ADMIN_TIMEOUT is no number of seconds above 0" in result.stderr

    def test_timeout(self, erlang_node: ErlangNode) -> None:
        result = invoke(
            *("rpc", "timer", "sleep", "60000"), environment=erlang_node.environment | {"IRIS_ADMIN_TIMEOUT": "0.2"}
        )
        assert result.exit_code == 75
        assert "did not answer within 0.2 s" in result.stderr


class TestConfiguration:
    def test_named_cluster(self, config: Path, erlang_node: ErlangNode) -> None:
        assert named("--config", str(config), "-c", "here", "-o", "json", "ping") == erlang_node.name
        assert named("ping", "-c", "here", "--config", str(config), "-o", "json") == erlang_node.name

    def test_usual_place(self, config: Path, erlang_node: ErlangNode, tmp_path: Path) -> None:
        (tmp_path / "iris_admin").mkdir()
        config.rename(tmp_path / "iris_admin" / "config.toml")
        environment = {"XDG_CONFIG_HOME": str(tmp_path)}
        assert named("ping", "-c", "here", "-o", "json", environment=environment) == erlang_node.name

    def test_it_beats_variables(self, config: Path, erlang_node: ErlangNode) -> None:
        environment = {
            "IRIS_ADMIN_CONFIG": str(config),
            "IRIS_ADMIN_NODE": "db1@nowhere.invalid",
            "IRIS_ADMIN_COOKIE": "wrong",
            "IRIS_ADMIN_TIMEOUT": "0.001",
            "ERL_EPMD_PORT": "1",
        }
        assert named("ping", "-c", "here", "-o", "json", environment=environment) == erlang_node.name

    def test_options_beat_it(self, config: Path, erlang_node: ErlangNode, options: dict[str, list[str]]) -> None:
        words = [word for option in options.values() for word in option]
        assert named("ping", "--config", str(config), "-c", "nowhere", *words) == erlang_node.name

    def test_default_cluster(self, config: Path, erlang_node: ErlangNode) -> None:
        config.write_text('default_cluster = "here"\n' + config.read_text())
        environment = {"IRIS_ADMIN_CONFIG": str(config)}
        assert named("ping", "-o", "json", environment=environment) == erlang_node.name

    def test_variables_beat_the_default_cluster(self, config: Path, erlang_node: ErlangNode) -> None:
        # Only the node comes from the file; the rest, which is wrong there, from the environment.
        config.write_text(
            'default_cluster = "here"\n[clusters.here]\ncookie_file = "none"\nepmd_port = 1\ntimeout = 0.0001\n'
            f'node = "{erlang_node.name}"\n'
        )
        environment = erlang_node.environment | {"IRIS_ADMIN_CONFIG": str(config), "IRIS_ADMIN_TIMEOUT": "9"}
        del environment["IRIS_ADMIN_NODE"]
        assert named("ping", "-o", "json", environment=environment) == erlang_node.name

    def test_default_cluster_is_not_meant_where_a_node_is_named(
        self, config: Path, erlang_node: ErlangNode, tmp_path: Path
    ) -> None:
        config.write_text('default_cluster = "nowhere"\n' + config.read_text())
        environment = erlang_node.environment | {"IRIS_ADMIN_CONFIG": str(config)}
        assert named("ping", "-o", "json", environment=environment) == erlang_node.name

    def test_unknown_cluster(self, config: Path) -> None:
        result = invoke("ping", "-c", "prod", "--config", str(config))
        assert result.exit_code == 78
        assert "has no cluster 'prod'" in result.stderr
        assert "hint: Its clusters: here, nowhere" in result.stderr

    def test_mistake_in_the_file(self, config: Path) -> None:
        config.write_text("colour = 1")
        result = invoke("ping", "-c", "here", "--config", str(config))
        assert result.exit_code == 78
        assert f"error: the configuration file {config}: colour is unknown" in result.stderr


class TestCookie:
    def test_on_the_command_line_is_warned_of(self, erlang_node: ErlangNode, options: dict[str, list[str]]) -> None:
        words = [*options["node"], *options["epmd"], "--cookie", erlang_node.cookie]
        result = invoke("ping", *words)
        assert result.exit_code == 0
        assert result.stderr.count("warning: a cookie on the command line shows in the list of processes") == 1

    def test_both(self, options: dict[str, list[str]]) -> None:
        result = invoke("ping", *options["node"], *options["cookie"], "--cookie", "x")
        assert result.exit_code == 64
        assert "exclude each other" in result.stderr

    def test_none_anywhere(self, erlang_node: ErlangNode, tmp_path: Path) -> None:
        environment = {"HOME": str(tmp_path)} | erlang_node.environment
        del environment["IRIS_ADMIN_COOKIE_FILE"]
        result = invoke("ping", environment=environment)
        assert result.exit_code == 78
        assert "no cookie was given" in result.stderr

    def test_file_that_others_can_read(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        node.cookie_file.chmod(0o644)
        result = invoke("ping", environment=node.environment)
        assert result.exit_code == 78
        assert f"hint: chmod 400 {node.cookie_file}" in result.stderr


class TestUsage:
    @pytest.mark.parametrize(
        "words",
        [
            ["unknown"],
            ["ping", "unknown"],
            ["ping", "--unknown"],
            ["ping", "-o", "xml"],
            ["ping", "--timeout", "0"],
            ["ping", "--timeout", "nan"],
            ["ping", "--timeout", "soon"],
            ["ping", "--epmd-port", "65536"],
            ["ping", "-n"],
            ["offline", "show"],
            ["offline", "unknown"],
            ["completion", "tcsh"],
            ["-n", "db1"],
            ["ping"],
        ],
    )
    def test_mistakes(self, words: list[str], tmp_path: Path) -> None:
        result = invoke(*words, environment={"HOME": str(tmp_path)})
        assert result.exit_code == 64
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert "hint: iris-admin" in result.stderr

    @pytest.mark.parametrize("words", [[], ["mnesia"]])
    def test_nothing_asked(self, words: list[str]) -> None:
        result = invoke(*words)
        assert result.exit_code == 64
        assert result.stdout == ""
        assert "Commands:" in result.stderr

    def test_no_node_name(self, erlang_node: ErlangNode) -> None:
        result = invoke("ping", "-n", "no node", environment=erlang_node.environment)
        assert result.exit_code == 78
        assert "error: 'no node' is no node name" in result.stderr

    @pytest.mark.parametrize("option", ["-h", "--help"])
    def test_help(self, option: str) -> None:
        result = invoke(option)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "redeliver" in result.stdout
        result = invoke("redeliver", option)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "--dry-run" in result.stdout

    def test_version(self) -> None:
        from iris_admin import __version__

        assert invoke("--version").stdout == f"iris-admin {__version__}\n"
        assert run("--version") == (0, f"iris-admin {__version__}\n", "")


def test_module(erlang_node: ErlangNode) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iris_admin", "ping"],
        capture_output=True,
        text=True,
        env=clean_environment(erlang_node.environment),
        check=True,
    )
    assert done.stdout.startswith(f"{erlang_node.name} answers")
