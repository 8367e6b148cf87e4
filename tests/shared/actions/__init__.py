"""The decisions of the service, over a real fake cloud or one that can be stopped between any two calls."""
