"""The Erlang distribution protocol, pure: bytes in, events out.

Nothing here opens a socket, starts a thread, reads a clock or draws a random number. Time, challenges and
creations come in as arguments, so that ticks, handshakes and time-outs are tested with a made-up clock.

The way down: :mod:`~iris_admin.proto.connection` is what a driver holds. It uses
:mod:`~iris_admin.proto.handshake` to join, :mod:`~iris_admin.proto.framing` to cut the stream into messages,
:mod:`~iris_admin.proto.control` for what the messages mean, :mod:`~iris_admin.proto.rpc` for calls,
:mod:`~iris_admin.proto.io_protocol` for what called code prints, and :mod:`~iris_admin.proto.services` for what
other nodes ask of us. All of them stand on :mod:`~iris_admin.proto.etf`, the term codec;
:mod:`~iris_admin.proto.epmd` is the port mapper's own small protocol.
"""
