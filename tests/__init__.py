"""Stories about the hub, played through its real Lambda handlers against an embedded AWS.

Each directory mirrors one of the source tree. `test_cases` and the modules beside it cross several.
No code of the project is mocked.
"""
