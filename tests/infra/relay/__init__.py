"""The relay, as a process of its own in front of a hub that takes and sends no more than Lambda
does.
"""
