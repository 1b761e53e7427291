"""Engine child processes: start them, keep them on a lifeline, know when they are ready, talk."""
