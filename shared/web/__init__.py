"""The web pages: HTML from templates, without JavaScript. Only `functions/pages.py` imports them.

A view (`overview`, `files`, `history`, `labels`) reads from an action and fills a template.
`rendering` escapes every value; `replies` adds the headers that keep pushed content from running.
"""
