"""How the mini encoders are trained; the weights that ship come from here."""
