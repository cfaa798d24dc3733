"""The accounts, passwords and rosters of the demo server."""

import re
from dataclasses import dataclass, field

ID = "{id}"


@dataclass
class AccountRegistry:
    """All accounts that match the templates, and the registered ones.

    With `user_{id}` and `password_{id}` every user_N may log in with password_N. The roster of a
    user has the `neighbours` ids below and above its own, each subscribed both ways.
    """

    user: str = "user_{id}"
    password: str = "password_{id}"  # noqa: S105  # a demo's template
    neighbours: int = 0
    _registered: dict[str, str | None] = field(default_factory=dict)

    def password_of(self, user: str) -> str | None:
        """Return the password of `user`, None if there is no such account."""
        if user in self._registered:
            return self._registered[user]
        number = self._number(user)
        return None if number is None else self.password.replace(ID, number)

    def register(self, user: str, password: str) -> None:
        """Create an account or change its password (XEP-0077)."""
        self._registered[user] = password

    def remove(self, user: str) -> None:
        """Remove an account, even one that matches the templates."""
        self._registered[user] = None

    def contacts(self, user: str) -> list[str]:
        """Return the users in the roster of `user`. Ids begin at 1."""
        number = self._number(user) if self.neighbours else None
        if number is None:
            return []
        middle = int(number)
        ids = range(max(1, middle - self.neighbours), middle + self.neighbours + 1)
        return [self.user.replace(ID, str(each)) for each in ids if each != middle]

    def _number(self, user: str) -> str | None:
        before, _, after = self.user.partition(ID)
        found = re.fullmatch(f"{re.escape(before)}([0-9]+){re.escape(after)}", user)
        return None if found is None else found[1]
