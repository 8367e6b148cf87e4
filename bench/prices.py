"""What AWS charges, and what a request comes to. The only place with a price in it.

us-east-1, on demand, beyond every free tier, in US dollars. As read from AWS's offer files on the dates beside
them; storage is not in here, since a request does not cause it to be paid again.
"""

import math
from dataclasses import dataclass

AS_OF = "2026-10-03"
"""The newest of the dates below."""
REGION = "us-east-1"

HTTP_API_REQUEST = 1.00e-6  # 2026-09-11: the first 300 million a month, for each 512 KB begun
LAMBDA_REQUEST = 0.20e-6  # 2026-09-11
LAMBDA_GB_SECOND = 13.3334e-6  # 2026-09-19, arm64
WRITE_UNIT = 0.625e-6  # 2026-07-30, on demand
READ_UNIT = 0.125e-6  # 2026-07-30, on demand
S3_PUT = 5.00e-6  # 2026-07-28: PUT, COPY, POST, LIST
S3_GET = 0.40e-6  # 2026-07-28: GET and the rest; DELETE is free
DATA_OUT_BYTE = 0.09e-9  # 2026-09-19: to the internet, the first 10 TB; data in is free
LOG_BYTE = 0.50e-9  # 2026-10-03, read for us-east-2: CloudWatch Logs, taken in

METERED_BYTES = 512 * 1024
LOG_BYTES = 1_100
"""A request's lines, counted on the templates of the two logs: ours 250 bytes, the gateway's 330, Lambda's START,
END and REPORT 320, and 26 bytes that CloudWatch adds to each line, rounded up."""

DYNAMODB_MS = 5
S3_MS = 20
"""The stated model of latency: what one call takes, however large. A request waits for its longest chain."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars, by service. Add two with `+`."""

    gateway: float = 0
    compute: float = 0
    dynamodb: float = 0
    s3: float = 0
    logs: float = 0
    data_out: float = 0

    def __add__(self, other: "Bill") -> "Bill":
        mine, others = self._parts(), other._parts()
        return Bill(*(a + b for a, b in zip(mine, others, strict=True)))

    @property
    def without_data_out(self) -> float:
        """All of it but the bytes to the internet, which no design of the hub makes fewer than what is asked for."""
        return sum(self._parts()) - self.data_out

    def _parts(self) -> tuple[float, ...]:
        return self.gateway, self.compute, self.dynamodb, self.s3, self.logs, self.data_out


def request(
    *,
    memory_mb: int,
    seconds: float,
    read_units: float,
    write_units: float,
    s3_puts: int,
    s3_gets: int,
    bytes_in: int,
    bytes_out: int,
) -> Bill:
    """One request through the gateway to a function of this memory that runs for so long."""
    return Bill(
        gateway=HTTP_API_REQUEST * max(1, math.ceil((bytes_in + bytes_out) / METERED_BYTES)),
        compute=LAMBDA_REQUEST + LAMBDA_GB_SECOND * seconds * memory_mb / 1024,
        dynamodb=READ_UNIT * read_units + WRITE_UNIT * write_units,
        s3=S3_PUT * s3_puts + S3_GET * s3_gets,
        logs=LOG_BYTE * LOG_BYTES,
        data_out=DATA_OUT_BYTE * bytes_out,
    )
