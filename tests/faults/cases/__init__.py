"""The cases, by what the fault strikes."""
from cases import brokers, clients, crowds, hostile, network, workers  # noqa: F401
