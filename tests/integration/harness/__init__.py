"""What the integration tests are built of: a private Dovecot, a Postern in front of it, certificates, clients.

Everything lives in one short directory of the test's own, listens on loopback, and is stopped by process id."""
