"""What operators do: users and roles, backup and restore, check and upgrade, status.

Plain functions over a data directory, or over an engine and its sequencer. The command
line and the control socket both call these, so that a command does the same whether a
server runs or not. Knows no protocol and prints nothing.
"""
