"""Transform: vocabularies, the graph that serving shares, and the transformed samples."""
