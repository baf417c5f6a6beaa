"""The disk spool: lines that wait in append-only segment files, and outlive the process that wrote them."""
