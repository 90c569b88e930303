"""Administer a running Project Iris cluster over the Erlang distribution protocol."""

__version__ = "0.1.0"
