# Written by hand: no notebook exports this file.
from . import drawings as drawings  # architectures draw themselves, whichever module of the room is imported first
