"""Builds the compiled codec where there is a C compiler, and archives that anybody can build again, byte by byte.

Everything else that there is to say stands in setup.cfg.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """A source archive that depends on nothing but the sources and ``SOURCE_DATE_EPOCH``.

    What setuptools writes holds the times at which files were checked out, who did so, and the time of the build.
    """

    def make_archive(
        self,
        base_name: str,
        format: str,
        root_dir: str | None = None,
        base_dir: str | None = None,
        owner: str | None = None,
        group: str | None = None,
    ) -> str:
        """Pack the folder with its sources.

        :returns: the path of the archive.
        """
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if format != "gztar" or epoch is None or base_dir is None:
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        folder = Path(root_dir or ".")

        def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.mtime = int(epoch)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            return entry

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(folder / base_dir, base_dir, filter=anonymous)  # sorted by name, as tarfile does by itself
        return path


setup(
    cmdclass={"sdist": ReproducibleSdist},
    ext_modules=[
        Extension(
            "iris_admin.proto._etf",
            sources=[f"iris_admin/proto/{name}.c" for name in ("_etf", "_etf_decode", "_etf_encode")],
            depends=["iris_admin/proto/_etf.h"],
            # No debugging data: it would name the folder of the build.
            extra_compile_args=["-g0"],
            # Without a compiler, or Python's headers, the installation goes on: the codec in Python does the same.
            optional=True,
        ),
        Extension(
            "iris_admin._large_pages",
            sources=["iris_admin/_large_pages.c"],
            extra_compile_args=["-g0"],
            optional=True,
        ),
        Extension(
            "iris_admin.transport._exchange",
            sources=["iris_admin/transport/_exchange.c"],
            extra_compile_args=["-g0"],
            optional=True,
        ),
    ],
)
