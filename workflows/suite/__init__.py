"""The suite workflow."""
