"""What the page asks beside the model: the users of the ratings, their histories, and the items."""

from typing import Any, Protocol


class PageData(Protocol):
    """Users, histories and items behind a version. All answers are for JSON.

    Every method raises RequestError NOT_FOUND where the data of the version is not known.
    """

    def users(self, model: str, version: int, query: str, limit: int) -> list[dict[str, Any]]:
        """Users whose id contains `query`, with most events first: `user`, `events`."""

    def any_user(self, model: str, version: int) -> dict[str, Any]:
        """One of the users, by chance: `user`, `events`."""

    def history(self, model: str, version: int, user: str) -> dict[str, Any]:
        """The events of a user, oldest first.

        Returns:
          `events`, each with `item`, `time` and `values` by input of the model; `rated`, the ids
          of all items that the user rated; `newest`, the time of the newest rating of any user.
        """

    def search(self, model: str, version: int, query: str, limit: int) -> list[dict[str, Any]]:
        """Items whose id, title and attributes contain all words: `item`, `title`, `about`."""

    def describe(self, model: str, version: int, items: list[str]) -> list[dict[str, Any]]:
        """The same of each item, and `known`: whether the model had it in training."""

    def frequent(self, model: str, version: int, limit: int) -> list[str]:
        """The ids of the items with most events in training."""

    def close(self) -> None:
        """Stops what is being read."""
