"""The lab's images: what runs in a pod when its image is named.

image name  ->  program on this machine
"""
