"""`views`: prints or makes the views."""
