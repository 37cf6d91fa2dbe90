"""DALF in a program that was written for OpenCV's features: the marked line is all that changes."""
from pathlib import Path

import cv2

from dalf_core import DALF

data = Path(__file__).parent / "data" / "color"
a, b = (cv2.imread(str(data / name)) for name in ("0.jpg", "1.jpg"))

detector = DALF(top_k=1024)                                     # was: cv2.SIFT_create(nfeatures=1024)
keypoints_a, descriptors_a = detector.detectAndCompute(a)
keypoints_b, descriptors_b = detector.detectAndCompute(b)
matches = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(descriptors_a, descriptors_b)
cv2.imwrite("opencv_matches.jpg", cv2.drawMatches(a, keypoints_a, b, keypoints_b, matches[:200], None))
print(f"{len(matches)} matches, opencv_matches.jpg")
