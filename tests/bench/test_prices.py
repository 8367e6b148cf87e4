"""A bill is the sum of its parts. The example is calculated by hand from the prices of AWS."""

import pytest

from bench import prices
from bench.prices import Bill, Usage


def test_a_request_costs_the_sum_of_its_usage():
    """A push: 120 ms of 1 GB, two writes, one read, one PUT, 1 MB each way."""
    usage = Usage(
        memory_mb=1024,
        seconds=0.12,
        read_units=1,
        write_units=2,
        s3_puts=1,
        s3_gets=10,
        bytes_in=1024 * 1024,
        bytes_out=1_000_000,
    )
    bill = prices.request(usage)
    assert bill.gateway == pytest.approx(4e-6)  # 2 MB in steps of 512 KB
    assert bill.compute == pytest.approx(0.2e-6 + 1.600008e-6)
    assert bill.dynamodb == pytest.approx(0.125e-6 + 1.25e-6)
    assert bill.s3 == pytest.approx(5e-6 + 4e-6)
    assert bill.data_out == pytest.approx(90e-6)
    assert bill.without_data_out == pytest.approx(4e-6 + 1.800008e-6 + 1.375e-6 + 9e-6 + bill.logs)


def test_bills_add_up_part_by_part():
    assert Bill(1, 2, 3, 4, 5, 6) + Bill(10, 20, 30, 40, 50, 60) == Bill(11, 22, 33, 44, 55, 66)


def test_an_empty_request_is_metered_once():
    usage = Usage(
        memory_mb=256,
        seconds=0,
        read_units=0,
        write_units=0,
        s3_puts=0,
        s3_gets=0,
        bytes_in=0,
        bytes_out=0,
    )
    assert prices.request(usage).gateway == prices.HTTP_API_REQUEST
