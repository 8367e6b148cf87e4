"""A cloud on this machine: emulators of AWS, and the stack deployed into one of them. See README.md
in this folder.

servers     start and stop ministack and dynalite
deployment  deploy the built artefact with the SAM CLI into a running ministack
"""
