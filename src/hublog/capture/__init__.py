"""Caller's thread: a log call becomes one line."""
