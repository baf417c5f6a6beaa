"""``hublog doctor``: tries the way of a record step by step, and says what to do where it ends."""

from hublog.doctor.steps import Result, Status

__all__ = ["Result", "Status"]
