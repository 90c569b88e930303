"""Writes a bundle to a file: a zip archive with JSON, a page for people, and a manifest."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from iris_admin.errors import BackupError
from iris_admin.json_values import to_json_text
from iris_admin.operations.bundle import FORMAT, BundleContents, summary_lines
from iris_admin.operations.results import Result, plain
from iris_admin.records import record
from iris_admin.state_files import create_private, publish, scratch_name
from iris_admin.text import printable
from iris_admin.version import __version__


@record
class Bundle(Result):
    """A bundle that was written.

    :param path: the file; only its owner may read it.
    :param bytes: its size.
    :param nodes: the nodes that are in it, with those that did not answer.
    :param documents: how many there are.
    :param failed: those that could not be had; the manifest says why.
    :param seconds: how long it took.
    """

    path: Path
    bytes: int
    nodes: tuple[str, ...]
    documents: int
    failed: tuple[str, ...]
    seconds: float


def require_new(path: str | os.PathLike[str]) -> None:
    """See that a bundle can be written there, before anybody is asked.

    :raises BackupError: the file exists, or its directory cannot be written to.
    """
    target = Path(path).absolute()
    if os.path.lexists(target):
        raise BackupError(f"{target} exists already", hint="Name a file that does not.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise BackupError(f"no file can be made in {target.parent}", hint="Does it exist, and may you write there?")


def write_bundle(path: str | os.PathLike[str], contents: BundleContents) -> Bundle:
    """Write a bundle to a new file, complete or not at all.

    :param path: the file; one that exists is left alone.
    :raises BackupError: it exists, or cannot be written.
    """
    target = Path(path).absolute()
    scratch = scratch_name(target)
    try:
        try:
            with open(create_private(scratch), "wb") as file:
                _fill(file, contents)
                file.flush()
                os.fsync(file.fileno())
            publish(scratch, target)
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink()
    except FileExistsError:
        raise BackupError(f"{target} exists already", hint="Name a file that does not.") from None
    except OSError as error:
        raise BackupError(
            f"the bundle {target} cannot be written: {(error.strerror or str(error)).lower()}",
            hint="Is there room, and permission to write?",
        ) from error
    return Bundle(
        path=target,
        bytes=target.stat().st_size,
        nodes=contents.nodes,
        documents=len(contents.documents),
        failed=tuple(document.file for document in contents.documents if not document.ok),
        seconds=contents.seconds,
    )


def _fill(file: Any, contents: BundleContents) -> None:
    entries = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, data: bytes) -> None:
            info = zipfile.ZipInfo(name, _zip_time(contents.time))
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)

        for document in contents.documents:
            data = (to_json_text(document.content, indent=2) + "\n").encode()
            add(document.file, data)
            entries.append(
                {name: value for name, value in document.to_dict().items() if name != "content"}
                | {"bytes": len(data), "sha256": sha256(data).hexdigest()}
            )
        page = _page(contents).encode()
        add("summary.html", page)
        manifest = {
            "format": FORMAT,
            "iris_admin": __version__,
            "time": _iso(contents.time),
            "seconds": contents.seconds,
            "nodes": list(contents.nodes),
            "payload": contents.payload,
            **summary_lines(contents),
            "entries": entries,
        }
        add("manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _zip_time(seconds: float) -> tuple[int, int, int, int, int, int]:
    time = datetime.fromtimestamp(seconds, UTC)
    return max(time.year, 1980), time.month, time.day, time.hour, time.minute, time.second


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; width: 100% }
th, td { border: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top; overflow-wrap: anywhere }
th { background: #f2f2f2 } code { background: #f2f2f2; padding: 0 .2em }
.fail { background: #fbd5d5 } .warn { background: #fdf0c8 } .cannot { background: #e6e6f7 } .ok { background: #dcf3dc }
@media (prefers-color-scheme: dark) { body { background: #fff } }
"""


def _page(contents: BundleContents) -> str:
    """The summary for people: nothing in it is loaded from elsewhere, and all text is escaped."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Iris, {_iso(contents.time)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Iris cluster, {_iso(contents.time)}</h1>",
        f"<p>{len(contents.nodes)} nodes: {_text(', '.join(contents.nodes))}. Made by iris_admin {__version__} in "
        f"{contents.seconds:.1f} s. Messages of people are {'in it' if contents.payload else 'left out'}; cookies, "
        "tokens and passwords are left out.</p>",
    ]
    if contents.diagnosis is not None:
        found = contents.diagnosis.to_dict()
        parts.append(f"<h2>What was found: {_text(found['verdict'])}</h2>")
        parts.append("<table><tr><th>Verdict<th>Level<th>Check<th>Node<th>Finding<th>Evidence<th>Next</tr>")
        for finding in found["findings"]:
            cells = [finding["verdict"], finding["level"] or "", finding["check"], finding["node"] or ""]
            parts.append(
                f'<tr class="{finding["verdict"].partition(" ")[0]}">'
                + "".join(f"<td>{_text(value)}" for value in cells)
                + f"<td>{_text(finding['summary'])}<td>{_evidence(finding['evidence'])}"
                + (f"<td><code>{_text(finding['next'])}</code>" if finding["next"] else "<td>")
                + "</tr>"
            )
        parts.append("</table>")
    failed = [document for document in contents.documents if not document.ok]
    if failed:
        parts.append("<h2>What could not be had</h2><table><tr><th>Document<th>Why</tr>")
        parts += [f"<tr><td>{_text(each.file)}<td>{_text(each.error or '')}</tr>" for each in failed]
        parts.append("</table>")
    for node in contents.nodes:
        parts.append(f"<h2>{_text(node)}</h2>")
        for document in contents.documents:
            if document.node == node and document.ok and document.command in ("identity", "stats", "memory"):
                parts.append(f"<h3>{_text(document.command)}</h3><table>")
                for name, value in document.content.items():
                    parts.append(f"<tr><th>{_text(name)}<td>{_text(_short(value))}</tr>")
                parts.append("</table>")
    parts.append("<h2>Documents</h2><ul>")
    parts += [f"<li><code>{_text(document.file)}</code></li>" for document in contents.documents]
    parts.append("</ul></body></html>")
    return "\n".join(parts) + "\n"


def _evidence(evidence: dict[str, Any]) -> str:
    return "<br>".join(f"{_text(name)}: {_text(_short(value))}" for name, value in evidence.items())


def _short(value: Any) -> str:
    return value if isinstance(value, str) else to_json_text(plain(value))


def _text(text: Any) -> str:
    return escape(printable(str(text)))
