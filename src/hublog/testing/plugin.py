"""The plugin of pytest: fixtures for the tests of an application."""
