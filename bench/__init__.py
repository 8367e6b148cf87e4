"""Measures the cost of the hub: seeded repositories, a simulated stock client, and a meter of AWS
calls.

It may import all other folders. Only its tests import it, and the deployed package does not contain
it. It connects to 127.0.0.1 only, and ends by itself.
"""
