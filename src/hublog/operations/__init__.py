"""What operators see: each process writes a snapshot of itself, and all readers read those."""
