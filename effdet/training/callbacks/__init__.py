"""What happens around the training step, one file each."""
