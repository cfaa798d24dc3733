"""Users that do nothing: what is left is what it costs to have them."""


def init() -> None:
    """Need nothing."""


def start(_user_id: int) -> None:
    """Do nothing."""
