"""The one exception for a mistake in what the user gave: a file, a flag, a configuration."""


class InputError(ValueError):
    """Bad input. Its message is one sentence that names the file, the line and the remedy.

    The command line prints the message without a traceback and exits with status 2.
    """
