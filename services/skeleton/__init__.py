"""What the four services share, so that they do not drift: barrier, faults, ledger, problem documents, health."""
