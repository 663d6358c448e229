"""The one exception for a user's mistake: the command line prints it as one line and exits with 1."""


class InputError(ValueError):
    """Bad input: the message names the thing, says what is wrong with it and what to do. One line, no traceback."""


class MissingExtraError(InputError):
    """A command needs packages that are not installed; the command line exits with 2."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f'{package} is not installed: run  pip install "rep-edge[{extra}]"')
