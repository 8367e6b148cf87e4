"""Walks over the commit graph."""
