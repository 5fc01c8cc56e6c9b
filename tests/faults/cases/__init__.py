"""The cases, by what the fault strikes."""
from cases import brokers, clients, network, workers  # noqa: F401
