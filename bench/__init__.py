"""What the hub costs, measured: seeded repositories, a stand-in for the stock client, a meter of AWS calls.

It may import everything; only its own tests import it, and the deployed artefact leaves it out. It may not
speak to anything but loopback, and stops by itself.
"""
