"""Multi-token prediction: layers after a GPT's last one that learn to predict tokens further ahead.

DeepSeek-V3 (arXiv 2412.19437), section 2.2. `planned` is the arithmetic, without torch; `layer` and `targets` are the
network.
"""
