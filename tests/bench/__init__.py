"""Tests of the bench: what measures must itself be right.

They may import anything. None of them needs AWS.
"""
