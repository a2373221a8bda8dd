"""What a login's name and password must be."""

import msgspec
import pytest

from backend.staff.logins import NewLogin


@pytest.mark.parametrize(("username", "password"), [
    ("amina", "amina-amina-amina-1"), ("amina", "AMINA1234567"), ("mo", "momomomomomomomo"), ("aa", "aaaaaaaaaaaaaaaa"),
    ("amina", "short"), ("a", "nobody owns this lighthouse"), ("mo\n", "nobody owns this lighthouse"), ("Mo", "nobody owns this lighthouse"),
])
def test_a_password_that_is_little_more_than_the_name_is_refused(username: str, password: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"username": username, "password": password}, NewLogin)


@pytest.mark.parametrize(("username", "password"), [
    ("mo", "0sMo_7hQkXv2LrTnWb9d"), ("mo", "momomo twelve more at least"), ("amina", "nobody owns this lighthouse"),
])
def test_a_long_password_may_hold_a_short_name_by_chance(username: str, password: str) -> None:
    assert msgspec.convert({"username": username, "password": password}, NewLogin).username == username
