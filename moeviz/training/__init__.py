"""How the demo model was made: `python -m moeviz.training --help`. The app never imports this room.

Read tokenizer and data (what goes in), model, losses and optimizer (what is moved), recipe and loop
(how long and how fast), then evaluate, specialise, emergence and card (what came out).
"""
