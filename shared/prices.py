"""The prices of AWS in picodollars. No other module contains a price.

They are for us-east-1, on demand, without free tiers. Each price is from AWS's offer files of the
date next to it. A picodollar is 10^-12 dollars. All prices, and half a read unit, are whole
picodollars.
"""

AS_OF = "2026-10-03"
"""The newest of the dates below."""

DOLLAR = 10**12

HTTP_API_REQUEST = 1_000_000  # 2026-09-11: the first 300 million a month, for each 512 KB begun
METERED_BYTES = 512 * 1024
LAMBDA_REQUEST = 200_000  # 2026-09-11
LAMBDA_GB_SECOND = 13_333_400  # 2026-09-19, arm64
WRITE_UNIT = 625_000  # 2026-07-30, on demand
READ_UNIT = 125_000  # 2026-07-30, on demand
S3_PUT = 5_000_000  # 2026-07-28: PUT, COPY, POST, LIST
S3_GET = 400_000  # 2026-07-28: GET and the rest; DELETE is free
S3_GB_MONTH = 23_000_000_000  # 2026-07-28: the first 50 TB
DATA_OUT_BYTE = 90  # 2026-09-19: to the internet, the first 10 TB; data in is free
LOG_BYTE = 500  # 2026-10-03, read for us-east-2: CloudWatch Logs, ingestion

LOG_BYTES = 1_100
"""Log bytes of one request, from the templates of both logs: 270 bytes of the hub, 330 of the
gateway, 320 of Lambda (START, END and REPORT), and 26 bytes that CloudWatch adds to each line,
rounded up."""


def request(memory_mb: int, seconds: float, bytes_in: int, bytes_out: int) -> int:
    """The cost of one request through the gateway to a function, without the function's AWS
    calls.
    """
    metered = max(1, -(-(bytes_in + bytes_out) // METERED_BYTES))
    compute = LAMBDA_GB_SECOND * seconds * memory_mb / 1024
    return (
        HTTP_API_REQUEST * metered
        + LAMBDA_REQUEST
        + round(compute)
        + LOG_BYTE * LOG_BYTES
        + DATA_OUT_BYTE * bytes_out
    )


def storage(size: int, days: int) -> int:
    """The cost in picodollars of storing `size` bytes in S3 for `days` days."""
    return -(-S3_GB_MONTH * size * days // (30 * 10**9))
