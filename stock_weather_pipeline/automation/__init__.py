"""What starts runs: which work is left to do, and how a run is carried out in this process."""
