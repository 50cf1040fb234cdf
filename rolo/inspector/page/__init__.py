"""The files of the page, as they are served."""
