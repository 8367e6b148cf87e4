"""Upkeep of the hub, by a schedule: the work that pushes and deletions have made due.

It has no route. The reply is the numbers of visited repositories. Nothing reads it, but an operator
who invokes the function by hand.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shared import lambdas
from shared.engines import selection
from shared.maintenance import upkeep

clock = time.time
"""The clock of the function."""


async def run(left_seconds: float) -> Mapping[str, Any]:
    """Do the due work, for at most `left_seconds`."""
    stores = await selection.stores()
    if not stores.settings.upkeep:
        return {"is_disabled": True}
    return asdict(await upkeep.run(stores, clock, clock() + left_seconds))


handler = lambdas.job_of(run)
