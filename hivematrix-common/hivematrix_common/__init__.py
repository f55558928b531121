"""What two or more HiveMatrix services use. It imports no service."""
