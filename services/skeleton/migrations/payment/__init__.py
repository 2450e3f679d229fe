"""The revisions of the payment service's tables."""
