"""Off by default: what keeps the number of records down."""
