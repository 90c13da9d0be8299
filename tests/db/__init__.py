"""Tests of what is durable: the queue, its leases, its clocks, the partitions and the migrations."""
