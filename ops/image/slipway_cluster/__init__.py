"""What runs in a cluster's containers: starts the engines of a mode, keeps them running, and ends them in order."""
