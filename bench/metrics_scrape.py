"""What fetching an agent's page of metrics costs, with as many Services as a large cluster has.

an agent's collector over SERVICES announced addresses  ->  milliseconds, octets
"""
