"""The weights of VGG16 for traitlens: vgg16-oxford.safetensors in this folder; there is no code."""
