"""The routing information bases: what peers said, what was chosen, what peers are told.

    UPDATEs  ->  AdjIn  ->  LocRib  ->  AdjOut  ->  UPDATEs

Standards   RFC 4271 s3.2, s9
"""
