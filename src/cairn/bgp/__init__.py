"""BGP-4 without sockets: bytes and time in, bytes and events out.

    octets, configuration, routes, now  ->  speaker.Speaker  ->  octets, events, best paths

Layout      framing, message, capability, attribute, nlri: codecs; negotiate: what a session
            agreed on; transitions, session, peer: the machine of RFC 4271 s8; rib, decide: the
            routes; speaker: all of it together.
Not here    TCP, MD5 and the clock (cairn.drive), the kernel's routes (cairn.netlink).
"""
