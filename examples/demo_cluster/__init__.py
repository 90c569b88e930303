"""A small chat cluster of real Erlang nodes, and clients for it."""

from demo_cluster.chat_client import ChatClient, ChatError, ConnectionEnded, Message, WebSocketClient
from demo_cluster.demo_cluster import DemoCluster, DemoError, DemoNode

__all__ = [
    "ChatClient",
    "ChatError",
    "ConnectionEnded",
    "DemoCluster",
    "DemoError",
    "DemoNode",
    "Message",
    "WebSocketClient",
]
