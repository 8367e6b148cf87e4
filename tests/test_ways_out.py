"""Each refusal names the step that helps, and the step helps. The pushes are those that the stock client makes."""

import json

import pytest

from tests.builders import Answer, History, Record, graph, heads, push

SHOWN_CHARACTERS = 400
"""The stock client prints this much of the body of a refusal."""


def shown(answer: Answer) -> str:
    """The text that a user of the stock client sees of a refusal: the message, which must be whole."""
    message: str = answer.value["message"]
    assert json.dumps(message, ensure_ascii=False) in answer.body.decode()[:SHOWN_CHARACTERS]
    return message


def sent_by_the_client(history: History, head: int, known: int = 0) -> Record:
    """The client walks a line of history from its head down to the newest commit that it takes as known."""
    return history.bundle(range(head, known, -1))


@pytest.mark.parametrize("force", [False, True], ids=["without force", "with force"])
def test_a_push_to_a_second_remote_names_the_command_that_makes_it_succeed(owner, force):
    history = graph("1; 2:1; 3:2; 4:3")
    assert push(owner, "first", sent_by_the_client(history, 3)).status == 200
    refused = push(owner, "second", sent_by_the_client(history, 4, known=3), force=force)
    assert (refused.status, refused.code) == (422, "missing_reference")
    assert history[3] in shown(refused)
    assert "run `rm -r .muse/remotes`" in shown(refused)
    assert heads(owner, "second", by=owner) == {}

    after_the_command = sent_by_the_client(history, 4)
    assert push(owner, "second", after_the_command).status == 200
    assert heads(owner, "second") == {"main": history[4]}
    assert push(owner, "first", sent_by_the_client(history, 4, known=3)).status == 200, (
        "its own heads come with GET refs"
    )


def test_the_command_fits_beside_the_ids_of_two_parents(owner):
    history = graph("1; 2; 3:1,2")
    refused = push(owner, "song", history.bundle([3]))
    assert "run `rm -r .muse/remotes`" in shown(refused)
