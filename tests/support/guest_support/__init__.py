"""What is done in virtual machines, and what of it is kept."""
