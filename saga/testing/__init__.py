"""Public: what a user's own tests need to put an order saga under faults and to know how it must end."""
