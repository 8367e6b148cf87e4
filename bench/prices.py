"""The cost of a request in US dollars, by service. The prices are those of `shared/prices.py`."""

import math
from dataclasses import dataclass

from shared import prices

AS_OF = prices.AS_OF
HTTP_API_REQUEST = prices.HTTP_API_REQUEST / prices.DOLLAR
LAMBDA_REQUEST = prices.LAMBDA_REQUEST / prices.DOLLAR
LAMBDA_GB_SECOND = prices.LAMBDA_GB_SECOND / prices.DOLLAR
WRITE_UNIT = prices.WRITE_UNIT / prices.DOLLAR
READ_UNIT = prices.READ_UNIT / prices.DOLLAR
S3_PUT = prices.S3_PUT / prices.DOLLAR
S3_GET = prices.S3_GET / prices.DOLLAR
DATA_OUT_BYTE = prices.DATA_OUT_BYTE / prices.DOLLAR
LOG_REQUEST = prices.LOG_BYTE * prices.LOG_BYTES / prices.DOLLAR

DYNAMODB_MS = 5
S3_MS = 20
"""The model of latency: the time of one call, of any size.

A request waits for its longest chain of calls.
"""


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars by service. `+` adds two bills."""

    gateway: float = 0
    compute: float = 0
    dynamodb: float = 0
    s3: float = 0
    logs: float = 0
    data_out: float = 0

    def __add__(self, other: "Bill") -> "Bill":
        pairs = zip(self._parts(), other._parts(), strict=True)
        return Bill(*(a + b for a, b in pairs))

    @property
    def without_data_out(self) -> float:
        """The sum without the bytes to the internet, since no design of the hub can send fewer than
        requested."""
        return sum(self._parts()) - self.data_out

    def _parts(self) -> tuple[float, ...]:
        return self.gateway, self.compute, self.dynamodb, self.s3, self.logs, self.data_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The metered usage of one request: of its function, of DynamoDB, of S3 and of the network."""

    memory_mb: int
    seconds: float
    read_units: float
    write_units: float
    s3_puts: int
    s3_gets: int
    bytes_in: int
    bytes_out: int


def request(usage: Usage) -> Bill:
    """The cost of one request through API Gateway."""
    metered = math.ceil((usage.bytes_in + usage.bytes_out) / prices.METERED_BYTES)
    return Bill(
        gateway=HTTP_API_REQUEST * max(1, metered),
        compute=LAMBDA_REQUEST + LAMBDA_GB_SECOND * usage.seconds * usage.memory_mb / 1024,
        dynamodb=READ_UNIT * usage.read_units + WRITE_UNIT * usage.write_units,
        s3=S3_PUT * usage.s3_puts + S3_GET * usage.s3_gets,
        logs=LOG_REQUEST,
        data_out=DATA_OUT_BYTE * usage.bytes_out,
    )
