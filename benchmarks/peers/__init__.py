"""What runs in the processes of the two sides."""
