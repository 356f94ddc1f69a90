"""dograh's formats: import of its workflow exports, and its run log."""
