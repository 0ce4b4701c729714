"""Who has which address on an Ethernet segment: ARP and neighbour discovery, sans-IO.

    frames  <->  questions, answers, announcements

Standards   RFC 826, RFC 5227 (IPv4); RFC 4861, RFC 4862 (IPv6)
Not here    Sockets (netlink.packet_socket), the answers to others' questions (bpf/lib/ping.h,
            bpf/lib/neighbour.h).
"""
