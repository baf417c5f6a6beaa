import pytest

from hublog.redaction import secret_names
from hublog.redaction.secret_names import SecretNames

#: Every name that is secret by itself, or together with the word before it.
NAMES = [
    *secret_names._PASSWORDS,
    *secret_names._SECRETS,
    *(f"x{end}" for end in (*secret_names._ENDS_ALL, *secret_names._ENDS)),
    *(f"{before}_key" for before in secret_names._KEYS),
    *(f"{before}_pass" for before in secret_names._PASSES),
    *(f"{before}_code" for before in secret_names._CODES),
    *("_".join(words) for words in secret_names._TWO_WORDS),
    "connection_string",
    "session_id",
    "connect.sid",
]


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_a_text_with_a_secret_name_is_searched(name):
    names = SecretNames()
    assert names.secrecy(name)
    assert names.may_occur_in(f"{name}=hunter2")


@pytest.mark.parametrize("text", ["note: x", "my note = x", '"NOTE": 1', "[('note', 1)]", "--note x"])
def test_a_text_with_a_name_of_the_user_is_searched(text):
    assert SecretNames(["note"]).may_occur_in(text)
    assert not SecretNames().may_occur_in(text)
