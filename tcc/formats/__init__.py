"""Readers and writers of the field's file formats, and the sample that a data set gives."""
