"""Builds the compiled codec where there is a C compiler. Everything else that there is to say stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "iris_admin.proto._etf",
            sources=[f"iris_admin/proto/{name}.c" for name in ("_etf", "_etf_decode", "_etf_encode")],
            depends=["iris_admin/proto/_etf.h"],
            # Without a compiler, or Python's headers, the installation goes on: the codec in Python does the same.
            optional=True,
        )
    ]
)
