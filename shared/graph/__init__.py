"""The commit graph: walks without I/O, the driver that reads their rows, and reachability."""
