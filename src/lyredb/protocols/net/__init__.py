"""Sockets before any protocol: who is let in, PROXY protocol, TLS.

An accepted connection passes `admission` (how many, from where, how fast), `proxy` (who
the peer really is), `secure` (TLS), and then belongs to the protocol that listens.
"""

from lyredb.protocols.net.admission import Admission, AdmissionLimits
from lyredb.protocols.net.certificates import Certificates
from lyredb.protocols.net.network import Network
from lyredb.protocols.net.settings import NET_SETTINGS

__all__ = ["NET_SETTINGS", "Admission", "AdmissionLimits", "Certificates", "Network"]
