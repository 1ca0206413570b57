"""The HTTP routes: reconstruction, encoding, status and administration."""
