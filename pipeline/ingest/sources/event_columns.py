"""The columns of a ratings file that belong to an event, such as its rating or its action."""

from collections.abc import Mapping, Sequence

from pipeline.configs import SettingsError
from pipeline.ingest.sources.layout import RATING, ROLES
from transforms import checked, features


def roles_of(
    path: str, names: Sequence[str], roles: Mapping[str, str], setting: str
) -> dict[str, str]:
    """The column of each event field, by the name of its feature: further roles of a layout.

    A name is that of a column; if there is none, case and blanks do not count; `rating` is also the
    column that is read as the rating, whatever its name.

    Args:
      path: of the file, for messages.
      names: of its columns.
      roles: the columns of user, item, time and rating.
      setting: `event_fields`.

    Raises:
      SettingsError: if a column does not exist, or if it is the user, the item or the time.
    """
    result = {}
    for field in features.event_fields(setting):
        column = _column(field, names, roles)
        if not column:
            near = checked.closest(field, names)
            hint = f" Did you mean {near}?" if near else ""
            raise SettingsError(
                f"`event_fields` must name columns of {path!r}, which has: "
                f"{', '.join(names[:30])}. Received: {field!r}.{hint}"
            )
        role = next((role for role in ROLES if roles.get(role) == column), RATING)
        if role != RATING:
            raise SettingsError(
                f"`event_fields` must name other columns than those of user, item and time. "
                f"Received: {field!r}, which is the {role} in {path!r}."
            )
        result[features.history_feature(field)] = column
    return result


def _column(field: str, names: Sequence[str], roles: Mapping[str, str]) -> str:
    if field in names:
        return field
    feature = features.history_feature(field).lower()
    alike = [name for name in names if features.history_feature(name.strip()).lower() == feature]
    if len(alike) == 1:
        return alike[0]
    return roles.get(RATING, "") if field == RATING else ""
