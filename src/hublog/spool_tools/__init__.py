"""What an operator does with a spool: list it, verify it, send what dead processes left, or remove it."""

from hublog.spool_tools.arguments import add_tools, run_tool

__all__ = ["add_tools", "run_tool"]
