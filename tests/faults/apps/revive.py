"""A program that lives after the others: it logs one record, and ends when it is told to."""

import os
import sys

import probe

probe.set_up()
probe.write(f"revived-{os.getpid()}")
sys.stdin.readline()
