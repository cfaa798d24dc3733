"""Users that do nothing, to measure the cost of users themselves."""


def init() -> None:
    """Prepare nothing."""


def start(_user_id: int) -> None:
    """Do nothing."""
