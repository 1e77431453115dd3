"""Faults under load, in the manner of Jepsen: a workload, a fault, and a checker that counts."""
