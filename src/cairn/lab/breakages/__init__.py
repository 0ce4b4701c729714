"""All that can be broken in a lab, by where it is broken.

    wire (the switch)   host (kernel and processes)   router (its configuration)   objects (the API)

Invariants  Whatever the software under test configures is broken from outside of it alone: as a
            person, a cable or another program would.
"""
