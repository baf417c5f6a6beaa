"""What leaves the process: one module for each destination, each the only door to its foreign package."""
