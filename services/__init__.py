"""The mock participants: inventory, tax, shipping and payment, each with its own database. They meet over HTTP only."""
