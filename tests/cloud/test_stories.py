"""The stories of `tests/template`, which use every route, played on the deployed stack: the role of
each function suffices for its code.

Offline, the calls are compared with the template by our own reading of IAM's rules. Here ministack
applies its rules.
"""

from typing import Any

import pytest

from tests.template import stories

pytestmark = pytest.mark.cloud

ELSEWHERE = {
    stories.a_push_to_a_damaged_repository: (
        "it needs a container that remembers nothing, in the middle"
    ),
    stories.first_writes_that_find_a_repository: "it makes its rival inside the process of the hub",
    stories.upkeep_comes_by: "it sets the clock of the function, see test_upkeep.py",
    stories.users_of_a_provider: "its provider is on this machine, which no function may ask",
    stories.tokens_for_programs: "its issuer is on this machine, which no function may ask",
    stories.files_and_objects: "it is sent to S3 for what is large, as only AWS's own callers are",
}
"""Stories that need access from inside the stack, and why."""


@pytest.mark.parametrize(
    "story",
    [story for story in stories.STORIES if story not in ELSEWHERE],
    ids=lambda s: s.__name__,
)
@pytest.mark.usefixtures("deployed")
def test_a_story_goes_as_it_does_in_the_suite(story: Any, owner: str) -> None:
    story(f"told-{owner}", lambda function: None)
