"""The errors that the library raises. Each message says what is wrong and what to do."""

MAX_MESSAGE = 700  # characters

class XraylibError(Exception):
    """Base of all errors that a reader of the notebooks can cause or repair."""

    def __str__(self) -> str:
        return printable(super().__str__())

class DataError(XraylibError, ValueError):
    """A data set, a slice or a volume cannot be read or does not fit."""

class ParameterError(XraylibError, ValueError):
    """A parameter is unknown, or its value is impossible."""

class RunError(XraylibError):
    """A run is missing, incomplete or damaged."""

class SweepError(XraylibError):
    """One or more runs of a sweep failed."""

class TrainingError(XraylibError):
    """Training cannot continue."""

class WeightsError(XraylibError):
    """A weights file is missing or damaged, or needs a network that is not installed."""

class WorkersError(XraylibError):
    """The worker processes cannot start, or one of them ended early."""

class DownloadError(XraylibError):
    """A download failed, or its content is not what was expected."""


def printable(text: object) -> str:
    """Return a text as one line: control characters as in `repr`, the middle cut if too long.

    A path may hold an escape sequence or a line break that would hide the rest of a message.
    """
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE - 200]} ... {line[-200:]}"


def one_line_message(error: BaseException) -> str:
    """Shorten the message of any error to one printable line of at most 204 characters."""
    line = printable(" ".join(str(error).split()) or type(error).__name__)
    return line if len(line) <= 200 else f"{line[:200]} ..."
