"""The command line: one name, one table of commands.

argv  ->  a command's module  ->  exit status
"""
