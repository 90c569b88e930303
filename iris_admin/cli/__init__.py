"""The command line, ``iris-admin``: parses, runs the twin in the library, and shows what that returned.

Each command is a module of :mod:`iris_admin.cli.commands`, imported when it is the one that was typed.
"""
