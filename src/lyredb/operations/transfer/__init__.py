"""Import and export: many records from and to files, in bounded memory.

A file is read, checked and encoded in a process of its own (`reader`), batch by batch;
the process that writes gets mutations and commits each batch together with how far the file
has been read (`position`). So an import that was ended, however, goes on where it stands.
"""
