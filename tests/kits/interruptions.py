"""Calls something at each point where the interpreter would let a signal handler in."""

import dis
import sys

#: After these the interpreter of CPython 3.11 to 3.13 looks whether a signal has come; see ``ceval.c``.
_POINTS = tuple(
    number for name, number in dis.opmap.items() if name.startswith(("CALL", "JUMP_BACK", "RESUME"))
)
_PACKAGE = "/hublog/delivery/"


def run_interrupted(act, interrupt, at):
    """Call ``act``, and ``interrupt`` at its ``at``-th such point in our code; whether it has so many.

    What ``interrupt`` raises comes out of ``act`` there.
    """
    last, seen = {}, 0

    def trace(frame, event, argument):
        nonlocal seen
        if _PACKAGE not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            is_point = last.get(frame) in _POINTS
            last[frame] = frame.f_code.co_code[frame.f_lasti]
            if is_point:
                seen += 1
                if seen == at:
                    interrupt()
        elif event == "call":
            last[frame] = frame.f_code.co_code[frame.f_lasti]
        elif event == "return":
            last.pop(frame, None)
        return trace

    former = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # settrace of 3.12 asks whether any frame wants them
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(former)
    return seen >= at


def each_interruption(make, act, interrupt):
    """Yield what ``make`` gave after ``act`` was interrupted, once for each point.

    Args:
        make: gives the object of one try.
        act: is called with it.
        interrupt: is called with it in the middle of that.
    """
    at = 1
    while True:
        made = make()
        if not run_interrupted(lambda made=made: act(made), lambda made=made: interrupt(made), at):
            break
        yield made
        at += 1
    assert at > 2, "an interruption at each point must be tried"


def each_exception(make, act):
    """Yield what ``make`` gave after a signal handler has ended ``act``, once for each point."""

    def leave(made):
        raise SystemExit

    at = 1
    while True:
        made = make()
        try:
            run_interrupted(lambda made=made: act(made), lambda made=made: leave(made), at)
            break
        except SystemExit:
            yield made
        at += 1
    assert at > 3, "an exception at each point must be tried"
