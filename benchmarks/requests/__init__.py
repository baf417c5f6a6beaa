"""What logging costs a request: minimal applications, called in process, with each way to log."""
