"""What a killed pod left in the folders of its outputs.

A pod that is killed cannot clean up, and a retry of its step gets the same folders, with whatever
was written: temporary folders of Beam, shards of a job that was half done. A reader of all files of
a folder would take them for data.
"""

from absl import logging
from tfx.dsl.io import fileio


def remove(uri: str) -> None:
    """Removes the folder or file of an output, before its step starts."""
    if not fileio.exists(uri):
        return
    logging.warning("%s is of a pod that was killed; removed.", uri)
    if fileio.isdir(uri):
        fileio.rmtree(uri)
    else:
        fileio.remove(uri)
