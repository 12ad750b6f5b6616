"""What the performance figures in the README come from: `make bench`, and README.md beside this file."""
