"""The cases, by what the fault strikes."""
from cases import brokers, clients, clocks, crowds, ends, hostile, network, recovery, workers  # noqa: F401
