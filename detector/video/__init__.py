"""Videos, streams and pictures in, results out."""

import cv2  # noqa: F401 - before PyAV: both wheels bring an X11 library, and with PyAV's a window of OpenCV hangs
