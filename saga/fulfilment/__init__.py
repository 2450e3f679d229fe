"""The product: what an order is, whom it takes to fulfil it, and in which order they are asked."""
