"""What belongs to a client and not to its connection: today its identifier and its will.

One directory in the process of the writer knows which worker's connection has which
client identifier (`claims`); every worker asks it (`claims_client`) over the stream that
its writes go through too (`claims_service` answers).
"""
