"""The configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from iris_admin.config import config_path, load_config
from iris_admin.errors import ConfigError
from iris_admin.tls import Tls

WHOLE = """
default_cluster = "prod"

[clusters.prod]
node = "iris_core@db1"
cookie_file = "iris.cookie"
epmd_port = 4370
timeout = 7

[clusters.test]
node = "iris_core"
cookie_file = "~/test.cookie"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("IRIS_ADMIN_CONFIG", raising=False)
    return tmp_path


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


class TestWhereItIs:
    def test_usual_place(self, home: Path) -> None:
        assert config_path() == home / ".config" / "iris_admin" / "config.toml"

    def test_xdg(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
        write(home / "xdg" / "iris_admin" / "config.toml", WHOLE)
        assert set(load_config().clusters) == {"prod", "test"}

    def test_variable_and_argument(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IRIS_ADMIN_CONFIG", "~/by-variable.toml")
        assert config_path() == home / "by-variable.toml"
        assert config_path("other.toml") == Path("other.toml")

    def test_none_in_the_usual_place_is_an_empty_one(self) -> None:
        config = load_config()
        assert (config.clusters, config.default_cluster) == ({}, None)

    def test_one_that_was_named_must_exist(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigError, match=r"there is no configuration file .*nowhere\.toml"):
            load_config(home / "nowhere.toml")
        monkeypatch.setenv("IRIS_ADMIN_CONFIG", str(home / "nowhere.toml"))
        with pytest.raises(ConfigError, match="there is no configuration file"):
            load_config()

    def test_directory(self, home: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load_config(home)


class TestContent:
    def test_cluster(self, home: Path) -> None:
        config = load_config(write(home / "etc" / "c.toml", WHOLE))
        prod = config.cluster("prod")
        assert config.default_cluster == "prod"
        assert prod.node == "iris_core@db1"
        assert prod.connect_options() == {
            "cookie_file": home / "etc" / "iris.cookie",
            "epmd_port": 4370,
            "timeout": 7.0,
            "connect_timeout": 7.0,
        }

    def test_what_is_left_out_is_left_to_connect(self, home: Path) -> None:
        config = load_config(write(home / "c.toml", WHOLE))
        assert config.cluster("test").connect_options() == {"cookie_file": home / "test.cookie"}

    @pytest.mark.parametrize(
        ("text", "tls"),
        [
            ("tls = true", Tls()),
            ("tls = false", None),
            ("", None),
            ("[clusters.test.tls]", Tls()),
            ('tls = { server_name = "db1", verify = false }', Tls(server_name="db1", verify=False)),
        ],
    )
    def test_tls(self, home: Path, text: str, tls: Tls | None) -> None:
        config = load_config(write(home / "c.toml", WHOLE + text))
        assert config.cluster("test").connect_options().get("tls") == tls

    def test_files_for_tls(self, home: Path) -> None:
        text = WHOLE + '[clusters.test.tls]\nca_file = "ca.pem"\ncertificate = "/etc/c.pem"\nkey = "~/k.pem"\n'
        config = load_config(write(home / "etc" / "c.toml", text))
        files = Tls(home / "etc" / "ca.pem", Path("/etc/c.pem"), home / "k.pem")
        assert config.cluster("test").connect_options()["tls"] == files

    def test_commands_of_the_site(self, home: Path) -> None:
        text = WHOLE + '[clusters.test.commands]\nstart = "systemctl start iris@{name}"\n'
        config = load_config(write(home / "c.toml", text))
        assert config.cluster("test").commands == {"start": "systemctl start iris@{name}"}
        assert config.cluster("prod").commands == {}

    def test_unknown_cluster(self, home: Path) -> None:
        config = load_config(write(home / "c.toml", WHOLE))
        with pytest.raises(ConfigError, match=r"c\.toml has no cluster 'prd'") as caught:
            config.cluster("prd")
        assert caught.value.hint == "Its clusters: prod, test"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("node = ", "is no TOML"),
            ("\xff\xfe", "is no TOML"),
            ("colour = 1", "colour is unknown"),
            ("clusters = 1", "clusters must be a table of tables"),
            ("clusters.prod = 1", r"clusters\.prod must be a table"),
            ("[clusters.prod]", r"clusters\.prod\.node is missing"),
            ("[clusters.prod]\nnode = 1", r"clusters\.prod\.node must be a text, not 1"),
            ("[clusters.prod]\nnode = ''", r"clusters\.prod\.node must be a text"),
            ("[clusters.prod]\nnode = 'a b'", r"clusters\.prod\.node is wrong: 'a b' is no node name"),
            ("[clusters.prod]\nnode = 'a'\nnodes = 'b'", r"clusters\.prod\.nodes is unknown"),
            ("[clusters.prod]\nnode = 'a'\ncookie_file = true", r"clusters\.prod\.cookie_file must be a text"),
            ("[clusters.prod]\nnode = 'a'\ncookie = 'secret'", r"clusters\.prod\.cookie is not allowed here"),
            ("[clusters.prod]\nnode = 'a'\nepmd_port = '1'", r"clusters\.prod\.epmd_port must be a TCP port"),
            ("[clusters.prod]\nnode = 'a'\nepmd_port = true", r"clusters\.prod\.epmd_port must be a TCP port"),
            ("[clusters.prod]\nnode = 'a'\nepmd_port = 65536", r"clusters\.prod\.epmd_port must be a TCP port"),
            ("[clusters.prod]\nnode = 'a'\ntls = 1", r"clusters\.prod\.tls must be true, false, or a table"),
            ("[clusters.prod]\nnode = 'a'\ntls.verify = 1", r"clusters\.prod\.tls\.verify must be true or false"),
            ("[clusters.prod]\nnode = 'a'\ntls.ca_file = 1", r"clusters\.prod\.tls\.ca_file must be a text"),
            ("[clusters.prod]\nnode = 'a'\ntls.ca = 'x'", r"clusters\.prod\.tls\.ca is unknown"),
            ("[clusters.prod]\nnode = 'a'\ntimeout = 0", r"clusters\.prod\.timeout must be a number of seconds"),
            ("[clusters.prod]\nnode = 'a'\ntimeout = nan", r"clusters\.prod\.timeout must be a number of seconds"),
            ("[clusters.prod]\nnode = 'a'\ntimeout = '9'", r"clusters\.prod\.timeout must be a number of seconds"),
            ("[clusters.prod]\nnode = 'a'\nexpected = 'b'", r"clusters\.prod\.expected must be a list"),
            ("[clusters.prod]\nnode = 'a'\nexpected = ['b']", r"clusters\.prod\.expected .* which 'b' is not"),
            ("escalation = 1", "escalation must be a table"),
            ("[escalation]\nwho = 1", r"escalation\.who is unknown"),
            ("[escalation]\ncontacts = { a = 1 }", r"escalation\.contacts must be a table of texts"),
            ("[escalation]\nsteps = 1", r"escalation\.steps must be a list"),
            ("[escalation]\nsteps = [{ level = 'P9', minutes = 1, who = 'a' }]", r"escalation\.steps must be like"),
            ("[clusters.prod]\nnode = 'a'\ncommands = 'x'", r"clusters\.prod\.commands must be a table"),
            ("[clusters.prod]\nnode = 'a'\ncommands.kill = 'x'", r"clusters\.prod\.commands\.kill is unknown"),
            ("[clusters.prod]\nnode = 'a'\ncommands.stop = 1", r"clusters\.prod\.commands\.stop must be a text"),
            ("default_cluster = 'prod'", r"default_cluster names 'prod', but there is no"),
            ("default_cluster = 1", "default_cluster must be a text"),
        ],
    )
    def test_mistakes_are_named_with_file_and_key(self, home: Path, text: str, problem: str) -> None:
        file = home / "c.toml"
        file.write_bytes(text.encode("latin-1"))
        with pytest.raises(ConfigError, match=problem) as caught:
            load_config(file)
        assert str(file) in str(caught.value)
        assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_who_should_be_there_and_whom_to_call(home: Path) -> None:
    file = home / "c.toml"
    file.write_text(
        "[clusters.prod]\nnode = 'a@h'\nexpected = ['a@h', 'b@h']\n"
        "[escalation]\ncontacts = { a = 'b' }\nresponse = { P0 = 'now' }\n"
        "steps = [{ level = 'P0', minutes = 5, who = 'a' }]\n"
    )
    config = load_config(file)
    assert config.clusters["prod"].expected == ("a@h", "b@h")
    escalation = config.escalation
    assert (escalation.contacts, escalation.response) == ({"a": "b"}, {"P0": "now"})
    assert escalation.steps == (("P0", 5, "a"),)
    assert load_config(None).escalation.steps is None
