"""The command line: arguments, help, output. What a command does is in other rooms."""
