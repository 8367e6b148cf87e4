"""Stories about the hub, told through its real Lambda handlers against an embedded AWS.

Each directory mirrors one of the tree; `test_journeys` and `test_cases` cross it. Nothing of ours
is mocked.
"""
