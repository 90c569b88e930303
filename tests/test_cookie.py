"""Where the cookie is looked for, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iris_admin.cookie import Cookie, find_cookie, read_cookie_file
from iris_admin.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no variable that leads anywhere."""
    for name in ("IRIS_ADMIN_COOKIE", "IRIS_ADMIN_COOKIE_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def write(path: Path, text: str = "SECRET", mode: int = 0o400) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="latin-1")
    path.chmod(mode)
    return path


class TestWhereItIsLookedFor:
    def test_the_first_of_six_places_counts(self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config_home = tmp_path / "config"
        monkeypatch.setenv("XDG_CONFIG_HOME", str(config_home))
        write(config_home / "erlang" / ".erlang.cookie", "XDG")
        assert find_cookie().value == "XDG"
        write(home / ".erlang.cookie", "HOME")
        assert find_cookie().value == "HOME"
        monkeypatch.setenv("IRIS_ADMIN_COOKIE_FILE", str(write(tmp_path / "variable", "FILE-VARIABLE")))
        assert find_cookie().value == "FILE-VARIABLE"
        monkeypatch.setenv("IRIS_ADMIN_COOKIE", "VARIABLE")
        assert find_cookie().value == "VARIABLE"
        assert find_cookie(cookie_file=write(tmp_path / "argument", "FILE")).value == "FILE"
        assert find_cookie("ARGUMENT", tmp_path / "argument").value == "ARGUMENT"

    def test_without_xdg_config_home(self, home: Path) -> None:
        path = write(home / ".config" / "erlang" / ".erlang.cookie")
        assert find_cookie() == Cookie("SECRET", str(path))

    @pytest.mark.parametrize("name", ["IRIS_ADMIN_COOKIE", "IRIS_ADMIN_COOKIE_FILE"])
    def test_an_empty_variable_is_none(self, name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(home / ".erlang.cookie", "HOME")
        monkeypatch.setenv(name, "")
        assert find_cookie().value == "HOME"

    def test_where_it_came_from(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert find_cookie("x").source == "the argument"
        path = write(tmp_path / "file")
        assert find_cookie(cookie_file=str(path)).source == str(path)
        monkeypatch.setenv("IRIS_ADMIN_COOKIE", "x")
        assert find_cookie().source == "the variable IRIS_ADMIN_COOKIE"

    def test_a_file_in_the_home_directory(self, home: Path) -> None:
        write(home / "cookies" / "prod")
        assert find_cookie(cookie_file="~/cookies/prod").value == "SECRET"

    def test_nowhere(self, home: Path) -> None:
        with pytest.raises(ConfigError, match="no cookie was given") as caught:
            find_cookie()
        assert str(home / ".erlang.cookie") in str(caught.value)
        assert "--cookie-file" in (caught.value.hint or "")
        assert caught.value.exit_code == 78

    def test_a_given_file_that_is_missing_is_not_replaced_by_another(self, tmp_path: Path, home: Path) -> None:
        write(home / ".erlang.cookie")
        with pytest.raises(ConfigError, match=r"cannot be read: [Nn]o such file"):
            find_cookie(cookie_file=tmp_path / "missing")


class TestFile:
    # As auth:check_cookie/2 does; the integration tests compare some of these with a node.
    @pytest.mark.parametrize(
        ("text", "cookie"),
        [
            ("SECRET", "SECRET"),
            ("SECRET\n", "SECRET"),
            ("SECRET\r\n", "SECRET"),
            ("SECRET\n \n\n ", "SECRET"),
            (" SEC RET \n", " SEC RET "),
            ("!~\"'", "!~\"'"),
        ],
    )
    def test_its_first_line(self, tmp_path: Path, text: str, cookie: str) -> None:
        assert read_cookie_file(write(tmp_path / "file", text)).value == cookie

    @pytest.mark.parametrize("text", ["SECRET\nSECOND", "\nSECRET", "SEC\tRET", "SECRET\t", "Grüße", "\x7f", "\0"])
    def test_what_the_vm_refuses(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ConfigError, match="one line of ASCII") as caught:
            read_cookie_file(write(tmp_path / "file", text))
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o410, 0o401, 0o620])
    def test_others_can_access_it(self, tmp_path: Path, mode: int) -> None:
        path = write(tmp_path / "file", mode=mode)
        with pytest.raises(ConfigError, match="open to others") as caught:
            read_cookie_file(path)
        assert caught.value.hint == f"chmod 400 {path}"
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
    def test_only_its_owner_can(self, tmp_path: Path, mode: int) -> None:
        assert read_cookie_file(write(tmp_path / "file", mode=mode)).value == "SECRET"

    @pytest.mark.parametrize("text", ["", "\n", "\r\n \n"])
    def test_empty(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ConfigError, match="is empty"):
            read_cookie_file(write(tmp_path / "file", text))

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=str(tmp_path)):
            read_cookie_file(tmp_path)

    def test_a_device(self) -> None:
        with pytest.raises(ConfigError, match="is no file"):
            read_cookie_file(Path("/dev/null"))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            read_cookie_file(write(tmp_path / "file", mode=0o200))


class TestValue:
    @pytest.mark.parametrize("value", ["", "€", "x" * 256])
    def test_what_no_node_accepts(self, value: str) -> None:
        with pytest.raises(ConfigError, match="the cookie in the argument"):
            find_cookie(value)

    def test_latin_1(self) -> None:
        # Not from a file, but a node takes it by -setcookie.
        assert find_cookie("Grüße").value == "Grüße"

    def test_the_longest(self) -> None:
        assert find_cookie("x" * 255).value == "x" * 255

    def test_it_is_never_shown(self) -> None:
        cookie = find_cookie("SECRET")
        assert "SECRET" not in repr(cookie)
        assert "SECRET" not in str(cookie)
        assert "SECRET" not in cookie.fingerprint

    def test_fingerprint(self) -> None:
        # base64:encode(erlang:md5("SECRET")) on a node
        assert find_cookie("SECRET").fingerprint == "RMe+SCJuutXcqCFmdMrWKw=="
