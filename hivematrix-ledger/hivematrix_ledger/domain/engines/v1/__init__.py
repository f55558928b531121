"""Engine 1: `compute_bill(inputs)`. README.md beside this file says what `inputs` holds. Released: never edited."""

from .bill import VERSION, Bill, NoBill, compute_bill

__all__ = ["VERSION", "Bill", "NoBill", "compute_bill"]
