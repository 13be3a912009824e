"""Applications: a folder of tables, a web folder and settings, loaded as a package."""
