"""What a request and a task are in the log, whatever framework serves or runs them."""
