"""The inventory service: what is on the shelf, what is held for whom, and what has left the house."""
