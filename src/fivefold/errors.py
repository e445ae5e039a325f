"""What can go wrong, and with which exit code the command line ends."""


class FivefoldError(Exception):
    """Base of all errors that are the user's to mend; its text is one clear line."""

    exit_code = 1


class UsageError(FivefoldError):
    """An argument or option can't be what it is."""

    exit_code = 2


class DataError(FivefoldError):
    """The data can't be read, or doesn't fit the model."""


class ModelError(FivefoldError):
    """A model folder is damaged, foreign, or from a newer version."""


class TrainingError(FivefoldError):
    """Training can't go on."""
