"""The figures, as ratios to a bare log call in the same process."""
