"""Defences that change the input of a trained net (ma2025 table 6.11), one file each; attacks do not see them."""
