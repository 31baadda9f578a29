"""Image corruptions after ImageNet-C (Hendrycks and Dietterich, ICLR 2019), one file per family."""
