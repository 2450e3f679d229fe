"""The payment service: holds on customers' money, captures of them, and double-entry books."""
