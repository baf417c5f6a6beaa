"""What logging costs a request of the example applications, under a real server and the load of ``wrk``."""
