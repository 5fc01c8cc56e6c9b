"""The cases, by what the fault strikes."""
from cases import brokers, workers  # noqa: F401
