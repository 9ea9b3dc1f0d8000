-- A Prosody without accounts: it carries the component and speaks with other XMPP servers, nothing else.
-- docs/federating.md says what it needs.
modules_enabled = { "tls", "saslauth", "dialback" }
c2s_ports = {}
-- Only servers whose certificate proves their name.
s2s_secure_auth = true

component_ports = { 5347 }
component_interfaces = { ENV_COMPONENT_INTERFACE or "127.0.0.1" }

-- Prosody insists on a host. Nobody can log in to this one.
VirtualHost "localhost"

Component "up.example.org"
    component_secret = ENV_COMPONENT_SECRET
