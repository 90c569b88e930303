"""Run a command with another release of Erlang/OTP first in PATH.

Usage: ``python tests/otp_releases.py RELEASE [COMMAND …]``, e.g. ``python tests/otp_releases.py 29 pytest tests/cli``.
Without a command it prints the folder that belongs into PATH.

The release comes as Debian packages of a newer suite, unpacked by debootstrap into ``.otp/RELEASE`` of the clone, from
the mirror that apt uses on this machine. ``erl``, ``erlc``, ``epmd`` and ``elixir`` of ``.otp/RELEASE/bin`` start what
is in there, by chroot, and in a mount namespace of their own, in which the files of this machine that a test needs are
seen at their usual paths. Such a namespace ends with its last process, so nothing stays mounted, whatever happens.

This takes root, Debian and the network. Where a release cannot be made, we say so; with ``CI`` set that is a failure,
elsewhere the command is skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import setup_machine  # noqa: E402
from setup_machine import SetupError, say  # noqa: E402

#: The suite of Debian that has each release.
SUITES = {27: "trixie", 29: "forky"}

PROGRAMS = ("erl", "erlc", "epmd", "elixir")

#: Starts a program of the release. It keeps its process id, on which tests rely that stop or kill a node.
_WRAPPER = """\
#!/bin/sh
# Made by tests/otp_releases.py.
exec unshare --mount --propagation private -- /bin/sh -c '
    set -e
    # A mount point of its own, or programs that list the file systems, such as df, would not see the root.
    mount --bind "{system}" "{system}"
    for folder in /proc /sys /dev {folders}; do
        mkdir -p "{system}$folder"
        mount --rbind "$folder" "{system}$folder"
    done
    for file in /etc/hosts /etc/resolv.conf; do
        touch "{system}$file"
        mount --bind "$file" "{system}$file"
    done
    # Not ours: in there, these programs are in the usual places.
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    exec chroot "{system}" /bin/sh -c "cd \\"\\$0\\" && exec \\"\\$@\\"" "$PWD" /usr/bin/{program} "$@"
' {program} "$@"
"""


def ensure_release(release: int) -> Path:
    """Make a release, unless it is there.

    :returns: the folder with its programs.
    :raises SetupError: it cannot be made here.
    """
    if release not in SUITES:
        raise SetupError(f"OTP {release} is not among those that are known here: {', '.join(map(str, SUITES))}")
    if os.geteuid() != 0:
        raise SetupError(f"OTP {release} is started by chroot, which takes root")
    folder = ROOT / ".otp" / str(release)
    system, programs, stamp = folder / "system", folder / "bin", folder / "complete"
    packages = sorted({"erlang-base", "elixir", *setup_machine.OTP_APPLICATIONS.values()})
    wanted = " ".join([SUITES[release], *packages])
    if not (stamp.is_file() and stamp.read_text(encoding="ascii") == wanted):
        say(f"Making OTP {release} in {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        system.mkdir(parents=True)
        _debootstrap(SUITES[release], system, packages)
        stamp.write_text(wanted, encoding="ascii")
    programs.mkdir(exist_ok=True)
    # The paths are those of this clone, in this run: it may have been moved.
    folders = " ".join(sorted({shlex.quote(str(path)) for path in (Path(tempfile.gettempdir()), Path("/tmp"), ROOT)}))
    for program in PROGRAMS:
        path = programs / program
        text = _WRAPPER.format(folders=folders, system=system, program=program)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
    found = _release_of(programs / "erl")
    if found != str(release):
        raise SetupError(f"Debian's {SUITES[release]} was to bring OTP {release}; it brings {found!r}")
    return programs


def _debootstrap(suite: str, system: Path, packages: list[str]) -> None:
    setup_machine.ensure_programs({"debootstrap": "debootstrap"})
    scripts = Path("/usr/share/debootstrap/scripts")
    # debootstrap of an older Debian does not know the names of newer suites; all of them are made alike.
    script = next(scripts / name for name in (suite, "sid") if (scripts / name).exists())
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        suite,
        str(system),
        _mirror(),
        str(script),
    ]
    finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if finished.returncode != 0:
        last = "\n".join(finished.stdout.splitlines()[-15:])
        raise SetupError(f"debootstrap failed with exit code {finished.returncode}:\n{last}")


def _mirror() -> str:
    """The mirror of Debian's main archive that apt uses here."""
    printed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CREATED_BY) $(ORIGIN) $(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.search(r"^Packages Debian (\S+)$", printed, re.MULTILINE)
    if found is None:
        raise SetupError("apt has no list of Debian's own packages here; run apt-get update")
    return found[1]


def _release_of(erl: Path) -> str:
    command = [str(erl), "-noinput", "-eval", "io:put_chars(erlang:system_info(otp_release)), halt()."]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise SetupError(f"{erl} does not start within a minute") from None
    if finished.returncode != 0:
        raise SetupError(f"{erl} does not start: {(finished.stdout + finished.stderr).strip()}")
    return finished.stdout


def main() -> None:
    """Make the release, then become the command."""
    release, *command = sys.argv[1:]
    try:
        programs = ensure_release(int(release))
    except SetupError as error:
        if os.environ.get("CI"):
            setup_machine.give_up(error)
        say(f"SKIPPED, for OTP {release} cannot be had here: {error}")
        return
    if not command:
        print(programs)
        return
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    os.environ["IRIS_ADMIN_TESTS_OTP"] = release
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
