"""Sockets and threads: how the pure protocol reaches the network.

:mod:`~iris_admin.transport.dialing` finds a node and joins it, :mod:`~iris_admin.transport.link` carries calls over
one connection, and :mod:`~iris_admin.transport.io_thread` is the one thread that keeps every connection alive.
"""
