"""A file for each family, which ends in `FAMILY`; shelf.py has all of them."""
