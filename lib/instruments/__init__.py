"""Instruments: pure functions from weights, runs and index tensors to one value a prompt.

None of them knows what task the model does, which heads matter, or what value would be right. Shapes are in words:
"layer head batch". All of them leave their inputs as they found them.
"""
