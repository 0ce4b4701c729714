"""All that can be broken in a lab, by where it is broken.

    target  ->  wire (the switch), host (its kernel), router (its file), objects (the API), broken

Invariants  Whatever the software under test configures is broken from outside of it alone: as a
            person, a cable or another program would.
"""
