"""The server: connections, sessions and links on one side, event hubs and their partitions on the other."""
