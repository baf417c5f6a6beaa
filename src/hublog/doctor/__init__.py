"""``hublog doctor``: checks the path of a record step by step, and says how to fix a step that fails."""

from hublog.doctor.steps import StepResult, StepStatus

__all__ = ["StepResult", "StepStatus"]
