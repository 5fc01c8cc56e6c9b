"""The cases, by what the fault strikes."""
from cases import (brokers, clients, clocks, crowds, deliveries, ends, feedback, hostile, memory, network,  # noqa: F401
                   recovery, services, slow, uploads, workers)
