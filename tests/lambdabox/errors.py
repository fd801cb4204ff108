"""What an invocation ends in when it does not end in an answer."""

from __future__ import annotations


class BoxUnavailable(RuntimeError):
    """The box could not be made; the message says which part failed."""


class BoxCrashed(RuntimeError):
    """The runtime died before it answered."""


class TimedOut(BoxCrashed):
    """The invocation took longer than it may, and the runtime was killed for it, as Lambda does."""


class HandlerError(Exception):
    """What the handler raised, at init or in an invocation, as the runtime reports it to Lambda."""

    def __init__(self, error_type: str, error_message: str, stack_trace: tuple[str, ...] = ()) -> None:
        super().__init__(error_type, error_message)
        self.error_type = error_type
        self.error_message = error_message
        self.stack_trace = stack_trace

    def __str__(self) -> str:
        return "\n".join([f"{self.error_type}: {self.error_message}", *self.stack_trace])
