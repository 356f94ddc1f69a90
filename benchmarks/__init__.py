"""Measures of what Playhead costs, each as a ratio against a floor taken in the same run."""
