"""Moves history into a hub over its protocol: from a Git repository, or from another hub.

    git         reads a Git repository by the installed `git`
    names       the names of files and branches of Git, as Muse can hold them
    conversion  commits of Git as commits, snapshots and objects of Muse
    ids         the ids that an earlier run has computed
    git_import  `pieria import-git`: converts new commits, and pushes them in steps
    target      the hub that receives: one function for each request
    mirror      `pieria mirror`: fetches from a hub, and pushes the missing commits

A user needs a token, and no permission of AWS. docs/design/import-git.md has the rules of the
conversion.
"""
