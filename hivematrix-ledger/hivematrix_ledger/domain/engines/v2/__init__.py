"""Engine 2: corrections. README.md beside this file says what `inputs` holds. Released: never edited."""

from .correction import VERSION, compute_bill
from .credit import FORMAT

__all__ = ["FORMAT", "VERSION", "compute_bill"]
