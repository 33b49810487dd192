"""Backups of a ParadeDB database: the program that makes, keeps, restores and verifies them."""
