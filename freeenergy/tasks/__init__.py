"""Graphs of tasks: run, resumed, shown."""
