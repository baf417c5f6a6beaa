"""The wiring: what takes records to the hub in one process, from the first record to the exit."""
