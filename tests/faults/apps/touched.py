"""Imported by the applications, so that a reloader watches it."""
