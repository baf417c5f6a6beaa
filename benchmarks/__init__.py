"""What logging costs, in CPU, time, memory and money.

``figures`` has the names and the musts, ``parts`` measures them: ``requests`` in process, ``servers`` under
gunicorn and uvicorn, ``log_calls``, ``destinations``, ``quiet_process``, ``startup`` and ``growth`` in child
processes, which take ``turns``; ``wire`` stands for the socket. ``page`` and ``plots`` show the results. What
a month costs is ``cost``, from the records that ``workload`` has written.
"""
