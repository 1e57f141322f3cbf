"""torchvision's detectors (Faster R-CNN, Mask R-CNN, RetinaNet) on our backbones."""
