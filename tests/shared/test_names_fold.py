"""The key under which Windows and macOS compare names."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from shared import names

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(texts)
def test_a_folded_name_folds_to_itself(name):
    assert names.fold(names.fold(name)) == names.fold(name)


@given(texts)
def test_all_normal_forms_and_letter_cases_fold_to_one(name):
    for form in ("NFC", "NFD"):
        assert names.fold(unicodedata.normalize(form, name)) == names.fold(name)
    assert names.fold(unicodedata.normalize("NFD", name).casefold()) == names.fold(name)


def test_every_character_folds_to_a_name_that_folds_to_itself():
    for code in (*range(0xD800), *range(0xE000, 0x20000)):
        folded = names.fold(chr(code))
        assert names.fold(folded) == folded, hex(code)
