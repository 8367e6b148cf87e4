"""The key under which Windows and macOS compare names."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from shared import portable

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(names)
def test_a_folded_name_folds_to_itself(name):
    assert portable.fold(portable.fold(name)) == portable.fold(name)


@given(names)
def test_all_normal_forms_and_letter_cases_fold_to_one(name):
    for form in ("NFC", "NFD"):
        assert portable.fold(unicodedata.normalize(form, name)) == portable.fold(name)
    assert portable.fold(unicodedata.normalize("NFD", name).casefold()) == portable.fold(name)


def test_every_character_folds_to_a_name_that_folds_to_itself():
    for code in (*range(0xD800), *range(0xE000, 0x20000)):
        folded = portable.fold(chr(code))
        assert portable.fold(folded) == folded, hex(code)
