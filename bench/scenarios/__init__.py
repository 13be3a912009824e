"""What is measured, one scenario a function, each against the same two servers."""
