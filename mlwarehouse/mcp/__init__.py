"""A server of the Model Context Protocol over a warehouse: schema, runs and read-only SQL, for programs that ask.

Whoever asks is a stranger: SQL goes through `mlwarehouse.parts.locked_sql`, and nothing here writes.
"""

from mlwarehouse.mcp.server import create_server

__all__ = ["create_server"]
