"""What a secret looks like: by the name it goes by, and by its own shape."""
