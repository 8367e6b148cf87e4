"""A cloud on this machine: other people's emulators, and the stack deployed into one. See its README.md.

servers     ministack and dynalite, for as long as a block of code lasts
deployment  the built artefact, deployed by the SAM CLI into a running ministack
"""
