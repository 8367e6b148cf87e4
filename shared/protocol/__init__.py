"""The requests and replies of the hub: one module for each kind of resource.

    base            the base classes, and `parse`
    limits          the longest lists of a request
    records         commits, snapshots, objects, releases, tags, as they are stored
    push fetch      the wire protocol: uploads and pushes; negotiation and fetches
    refs releases tags
    repositories members tokens branches history     the API
    pages           the pages of lists
    hub             health, errors, the OpenAPI document
    operation responses     the description of a route for the OpenAPI document

The handlers and the OpenAPI document use the same classes. A request and a reply of the API are
pydantic models. Pydantic builds a model at its first use, so that a function starts faster. A reply
of the wire protocol is a TypedDict: mypy checks the code that makes it, and nothing is validated at
run time.
"""
