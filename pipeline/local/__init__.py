"""What only a run on this machine needs: console, report, generated ratings."""
