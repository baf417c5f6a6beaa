"""Metrics of delivery for monitoring systems; each module needs the extra of its name."""
