"""What instruments and claims are held against: random models, plain hook loops, recreated incidents."""
